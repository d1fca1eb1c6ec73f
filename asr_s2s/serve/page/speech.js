// The speech-to-text tab.

import { attention, transcribe } from "./client.js";
import { Picture } from "./picture.js";
import { probeDuration } from "./playback.js";
import { recorder } from "./recorder.js";
import { TranscriptView, clock, copyButton, downloads } from "./transcript.js";

const AUTO_DRAW_BYTES = 20 * 1024 ** 2; // drawing attention uploads the recording again

const find = (id) => document.getElementById(id);

export function speechTab({ choice, showError }) {
  const player = find("player");
  const view = new TranscriptView(find("transcript"), player, show);
  const picture = new Picture(find("canvas"), find("playhead"), player);
  let work = null; // controller of the transcription in progress
  let drawing = null;
  let recording = null;
  let shownSegment = null;
  let finished = null; // transcript
  let lastStatus = "";
  copyButton(find("copy"), () => finished.text);

  async function begin(file) {
    work?.abort();
    const controller = new AbortController();
    work = controller;
    const options = { ...choice(), prompt: find("prompt").value };
    const started = performance.now();
    const url = URL.createObjectURL(file);
    let duration = NaN;
    probeDuration(url).then((seconds) => { duration = seconds; });
    let shown = false; // until then, the last transcript stays
    const replace = () => {
      shown = true;
      reset(file, url);
    };
    find("speech-error").hidden = true;
    for (const id of ["result", "progress", "cancel"]) find(id).hidden = false;
    showProgress(file, 0, duration);
    try {
      let transcript = null;
      for await (const event of transcribe(file, options, controller.signal)) {
        if (!shown) replace();
        if (event.type === "transcript.text.done") transcript = event;
        else {
          view.add(event.segment);
          showProgress(file, event.segment.end, duration);
          if (!shownSegment && file.size <= AUTO_DRAW_BYTES) show(event.segment);
        }
      }
      if (!transcript) throw new Error("The connection ended before the transcript was complete.");
      finish(file, transcript, (performance.now() - started) / 1000);
    } catch (error) {
      if (error.name === "AbortError") {
        if (work === controller) find("speech-status").textContent = `Stopped: ${file.name}`;
      } else {
        find("result").hidden = !find("transcript").childElementCount;
        find("speech-status").textContent = shown ? "Incomplete." : lastStatus;
        showError("speech-error", error);
      }
      if (!shown) URL.revokeObjectURL(url);
    } finally {
      if (work === controller) {
        work = null;
        find("progress").hidden = find("cancel").hidden = true;
        if (!find("transcript").childElementCount && !shown) find("result").hidden = true;
      }
    }
  }

  /** Remove the last transcript, and play the new recording. */
  function reset(file, url) {
    drawing?.abort();
    recording = file;
    shownSegment = null;
    finished = null;
    URL.revokeObjectURL(player.src);
    player.src = url;
    view.clear();
    picture.clear();
    for (const id of ["warning", "after", "attention"]) find(id).hidden = true;
  }

  /** Show how many seconds of a recording are transcribed, as a percentage if both are known. */
  function showProgress(file, seconds, duration) {
    const bar = find("progress");
    const known = seconds > 0 && Number.isFinite(duration);
    const percent = Math.min(100, Math.round((100 * seconds) / duration));
    if (known) bar.value = percent / 100;
    else bar.removeAttribute("value");
    const progress = known ? `: ${percent} %` : " …";
    find("speech-status").textContent = `Transcribing ${file.name}${progress}`;
  }

  function finish(file, transcript, seconds) {
    finished = transcript;
    lastStatus = `${file.name} · ${clock(transcript.duration)} in ${seconds.toFixed(1)} s`;
    find("speech-status").textContent = lastStatus;
    find("warning").hidden = !transcript.warning;
    find("warning").textContent = transcript.warning ?? "";
    find("after").hidden = !transcript.segments.length;
    find("legend").hidden = !view.hasDoubts;
    downloads(find("downloads"), transcript, file.name);
    if (transcript.segments.length && !shownSegment) {
      find("attention").hidden = find("draw").hidden = false;
      find("draw").onclick = () => show(transcript.segments[0]);
    }
  }

  async function show(segment) {
    if (segment.start === shownSegment?.start || !segment.text) return;
    shownSegment = segment;
    drawing?.abort();
    const controller = new AbortController();
    drawing = controller;
    view.mark(segment);
    find("attention").hidden = false;
    find("draw").hidden = true;
    const status = find("attention-status");
    status.textContent = "Computing attention …";
    const { text, start, end } = segment;
    try {
      const duration = Math.min(30, end - start);
      picture.draw(await attention(recording, { ...choice(), text, start, duration }, controller.signal), segment);
      status.textContent = `${clock(start)} to ${clock(end)}`;
    } catch (error) {
      if (error.name === "AbortError") return;
      shownSegment = null;
      picture.clear();
      status.textContent = error.message;
    }
  }

  const drop = find("drop");
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) {
    drop.addEventListener(name, () => drop.classList.remove("over"));
  }
  // A file dropped outside the box must not navigate away from the page.
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) begin(event.dataTransfer.files[0]);
  });
  find("choose").addEventListener("click", () => find("file").click());
  find("file").addEventListener("change", (event) => {
    if (event.target.files.length) begin(event.target.files[0]);
    event.target.value = "";
  });
  find("cancel").addEventListener("click", () => work?.abort());
  recorder(find("record"), {
    onRecording: begin,
    onError: (message) => showError("speech-error", new Error(message)),
  });
}
