// Live transcription: words appear while one speaks, committed ones dark, tentative ones pale.

import { openLive } from "./client.js";
import { copyButton } from "./transcript.js";

const find = (id) => document.getElementById(id);

/** Base64 of 16-bit samples. */
function encode(samples) {
  return btoa(String.fromCharCode(...new Uint8Array(samples.buffer)));
}

export function live({ choice, showError }) {
  const button = find("live");
  const label = button.querySelector("span");
  const paragraphs = find("live-text");
  let session = null; // socket, stream and audio context while one speaks
  copyButton(find("copy-live"), () => [...paragraphs.querySelectorAll(".committed")].map(({ textContent }) => textContent).join("\n"));

  /** Paragraph of an item, with its committed and tentative words. */
  function paragraph(id) {
    let found = [...paragraphs.children].find(({ dataset }) => dataset.item === id);
    if (!found) {
      found = document.createElement("p");
      found.dataset.item = id;
      for (const name of ["committed", "tentative"]) {
        const part = document.createElement("span");
        part.className = name;
        found.append(part);
      }
      paragraphs.append(found);
    }
    return { committed: found.firstChild, tentative: found.lastChild };
  }

  function show({ type, item_id: item, delta, text, transcript, error }) {
    switch (type.split(".").pop()) {
      case "delta":
        paragraph(item).committed.textContent += delta;
        break;
      case "tentative": {
        const { committed, tentative } = paragraph(item);
        tentative.textContent = text && committed.textContent ? ` ${text}` : text;
        break;
      }
      case "completed": {
        const { committed, tentative } = paragraph(item);
        committed.textContent = transcript;
        tentative.textContent = "";
        if (!transcript) committed.parentElement.remove();
        break;
      }
      case "cleared": // after the last words
        session?.socket.close();
        break;
      case "error":
        if (error.code !== "input_audio_buffer_commit_empty") showError("speech-error", new Error(error.message));
        break;
      default:
    }
  }

  async function begin() {
    if (!navigator.mediaDevices) throw new Error("Live text needs a page from https or localhost.");
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      throw new Error(`The microphone cannot be used: ${error.message}.`);
    }
    const context = new AudioContext();
    await context.audioWorklet.addModule("/page/capture.js");
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    const socket = openLive();
    session = { socket, stream, context };
    const send = (type, fields) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, ...fields }));
    };
    session.commit = () => {
      send("input_audio_buffer.commit");
      send("input_audio_buffer.clear");
    };
    socket.addEventListener("open", () => {
      const { model, language } = choice();
      const input = { format: { type: "audio/pcm", rate: context.sampleRate }, transcription: { model, language } };
      send("session.update", { session: { type: "transcription", audio: { input } } });
      capture.port.onmessage = ({ data }) => send("input_audio_buffer.append", { audio: encode(data) });
      context.createMediaStreamSource(stream).connect(capture);
      find("live-status").textContent = "Listening";
    });
    socket.addEventListener("message", ({ data }) => show(JSON.parse(data)));
    socket.addEventListener("close", ({ code }) => {
      release();
      if (code === 1006) showError("speech-error", new Error("The connection was refused or lost; the server may lack the package websockets."));
      find("live-status").textContent = "";
      session = null;
      button.disabled = false;
    });
    paragraphs.replaceChildren();
    find("live-result").hidden = false;
    button.classList.add("on");
    label.textContent = "Stop";
  }

  /** Release the microphone. */
  function release() {
    session.stream.getTracks().forEach((track) => track.stop());
    if (session.context.state !== "closed") session.context.close();
    button.classList.remove("on");
    label.textContent = "Live";
  }

  /** Stop listening, and close the session after its last words. */
  function end() {
    button.disabled = true;
    release();
    if (session.socket.readyState === WebSocket.OPEN) session.commit();
    else session.socket.close();
  }

  button.addEventListener("click", async () => {
    if (session) {
      end();
      return;
    }
    find("speech-error").hidden = true;
    button.disabled = true;
    try {
      await begin();
    } catch (error) {
      showError("speech-error", error);
    }
    button.disabled = false;
  });
}
