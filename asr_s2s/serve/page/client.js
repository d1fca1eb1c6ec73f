// Client of the server's API.

export class RequestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const TOKEN = "asr_s2s token";

export function keepToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

export function keptToken() {
  return sessionStorage.getItem(TOKEN);
}

async function request(path, options = {}) {
  const token = keptToken();
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError(0, "The server does not respond. Check that it is running.");
  }
  if (answer.ok) return answer;
  let message = `The server responded with status ${answer.status}.`;
  try {
    message = (await answer.json()).error.message;
  } catch { /* no JSON: the response may come from a proxy */ }
  throw new RequestError(answer.status, message);
}

export async function models() {
  return (await (await request("/v1/models")).json()).data;
}

/** Open a session of live transcription. Browsers can send a token in a subprotocol only. */
export function openLive() {
  const protocols = ["realtime"];
  const token = keptToken();
  const escaped = (character) => `%${character.charCodeAt(0).toString(16)}`;
  if (token) protocols.push(`openai-insecure-api-key.${encodeURIComponent(token).replace(/[()]/g, escaped)}`);
  const address = new URL("/v1/realtime", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  return new WebSocket(address, protocols);
}

function form(file, fields) {
  const body = new FormData();
  for (const [name, value] of fields) if (value !== "") body.append(name, value);
  body.append("file", file, file.name);
  return body;
}

/** Yield the events of a transcript as they arrive. */
export async function* transcribe(file, { model, language, prompt }, signal) {
  const body = form(file, [
    ["model", model], ["language", language], ["prompt", prompt], ["stream", "true"],
    ["response_format", "verbose_json"],
    ["timestamp_granularities[]", "word"], ["timestamp_granularities[]", "segment"],
    ["include[]", "srt"], ["include[]", "vtt"],
  ]);
  const answer = await request("/v1/audio/transcriptions", { method: "POST", body, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const events = (buffer + value).split("\n\n");
    buffer = events.pop();
    for (const event of events) {
      const values = JSON.parse(event.slice("data: ".length));
      if (values.error) throw new RequestError(500, values.error.message);
      yield values;
    }
  }
}

export async function attention(file, { model, language, text, start, duration }, signal) {
  const body = form(file, [
    ["model", model], ["language", language], ["text", text], ["start", start], ["duration", duration],
  ]);
  return (await request("/v1/attention", { method: "POST", body, signal })).json();
}

export async function translate(lines, { model, language }) {
  const answer = await request("/v1/translate", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text: lines, model, language: language || null, alignment: true }),
  });
  return (await answer.json()).translations;
}

/** Decode a matrix: bytes 0-255 stand for values from `low` to `high`. */
export function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.bytes), (character) => character.charCodeAt(0));
  return { ...packed, bytes };
}
