// Microphone recording, started and stopped by a button.

import { clock } from "./transcript.js";

export function recorder(button, { onRecording, onError }) {
  const label = button.querySelector("span");
  let running = null;
  let timer = 0;

  async function begin() {
    if (!navigator.mediaDevices) {
      onError("Recording needs a page from https or localhost.");
      return;
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      onError(`The microphone cannot be used: ${error.message}.`);
      return;
    }
    const parts = [];
    const started = performance.now();
    running = new MediaRecorder(stream);
    running.addEventListener("dataavailable", (event) => parts.push(event.data));
    running.addEventListener("stop", () => {
      stream.getTracks().forEach((track) => track.stop());
      clearInterval(timer);
      button.classList.remove("on");
      label.textContent = "Record";
      const type = running.mimeType;
      running = null;
      const suffix = type.includes("mp4") ? "m4a" : type.includes("ogg") ? "ogg" : "webm";
      onRecording(new File(parts, `recording.${suffix}`, { type }));
    });
    running.start(1000);
    button.classList.add("on");
    const showTime = () => { label.textContent = `Stop  ${clock((performance.now() - started) / 1000)}`; };
    showTime();
    timer = setInterval(showTime, 500);
  }

  button.addEventListener("click", () => (running ? running.stop() : begin()));
}
