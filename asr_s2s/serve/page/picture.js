// Draws attention weights over the log-mel spectrogram on a canvas.

import { unpack } from "./client.js";

const LEFT = 34; // pixels for the tokens
const BOTTOM = 22; // pixels for the time axis
const SPECTROGRAM_COLORS = [[11, 16, 32], [38, 52, 104], [92, 122, 196], [186, 206, 246]];
const WEIGHT_COLOR = [255, 178, 64];

function interpolate(palette, part) {
  const place = part * (palette.length - 1);
  const low = Math.min(Math.floor(place), palette.length - 2);
  return palette[low].map((value, channel) => value + (place - low) * (palette[low + 1][channel] - value));
}

function paint(width, height, color) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) image.data.set(color(x, y), 4 * (y * width + x));
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function spectrogram(logMel) {
  const { bytes, rows: frames, columns: bins } = unpack(logMel);
  const sorted = bytes.slice().sort();
  const low = sorted[Math.floor(0.15 * sorted.length)];
  const high = sorted[Math.floor(0.995 * sorted.length)];
  return paint(frames, bins, (x, y) => {
    const value = bytes[x * bins + bins - 1 - y];
    const part = Math.min(1, Math.max(0, (value - low) / Math.max(1, high - low)));
    return [...interpolate(SPECTROGRAM_COLORS, part), 255];
  });
}

function weightImage(weights) {
  const { bytes, rows, columns } = unpack(weights);
  return paint(columns, rows, (x, y) => [...WEIGHT_COLOR, 235 * Math.sqrt(bytes[y * columns + x] / 255)]);
}

export function displayToken(token) {
  if (token === "</s>") return "end";
  if (token === " " || token === "\u2581") return "";
  return token.replace("\u2581", "");
}

export class Picture {
  constructor(canvas, playhead, player) {
    this.canvas = canvas;
    this.playhead = playhead;
    this.player = player;
    this.drawn = null;
    new ResizeObserver(() => this.#paint()).observe(canvas.parentElement);
    player.addEventListener("timeupdate", () => this.#follow());
    canvas.addEventListener("click", (event) => this.#seek(event));
  }

  clear() {
    this.drawn = null;
    this.playhead.hidden = true;
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Draw the attention weights of a segment. */
  draw(answer, segment) {
    this.drawn = {
      ...answer, segment, log: spectrogram(answer.sound.log_mel), overlay: weightImage(answer.weights),
    };
    this.canvas.setAttribute(
      "aria-label",
      `Spectrogram of "${segment.text}" with the attention weights of each token`,
    );
    this.#paint();
    this.#follow();
  }

  #paint() {
    if (!this.drawn) return;
    const { sound, output, weights, log, overlay, segment } = this.drawn;
    const scale = window.devicePixelRatio || 1;
    const width = this.canvas.parentElement.clientWidth;
    const height = Math.min(480, Math.max(220, 13 * output.length)) + BOTTOM;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    this.canvas.style.height = `${height}px`;
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    context.fillStyle = "#0b1020";
    context.fillRect(0, 0, width, height);

    const room = width - LEFT;
    const tall = height - BOTTOM;
    const perSecond = room / sound.seconds;
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, room, tall);
    context.clip();
    context.globalAlpha = 0.85;
    context.drawImage(log, LEFT, 0, (log.width / 100) * perSecond, tall);
    context.globalAlpha = 1;
    const begin = LEFT + (sound.first - sound.step / 2) * perSecond;
    context.drawImage(overlay, begin, 0, weights.columns * sound.step * perSecond, tall);
    context.restore();

    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "right";
    context.fillStyle = "#cdd6ee";
    const row = tall / output.length;
    const every = Math.ceil(9 / row);
    output.forEach((token, index) => {
      if (index % every === 0) context.fillText(displayToken(token), LEFT - 7, (index + 0.5) * row);
    });
    context.textAlign = "center";
    context.fillStyle = "#93a0c2";
    const step = [0.5, 1, 2, 5, 10].find((value) => value * perSecond > 55) ?? 10;
    for (let time = Math.ceil(segment.start / step) * step; time < segment.end; time += step) {
      const x = LEFT + (time - segment.start) * perSecond;
      if (x < LEFT + 12 || x > width - 14) continue;
      context.fillText(`${time.toFixed(step < 1 ? 1 : 0)} s`, x, tall + BOTTOM / 2);
    }
  }

  #follow() {
    if (!this.drawn) return;
    const { segment, sound } = this.drawn;
    const part = (this.player.currentTime - segment.start) / sound.seconds;
    this.playhead.hidden = part <= 0 || part >= 1;
    this.playhead.style.left = `${LEFT + part * (this.canvas.clientWidth - LEFT)}px`;
  }

  #seek(event) {
    if (!this.drawn) return;
    const part = (event.offsetX - LEFT) / (this.canvas.clientWidth - LEFT);
    this.player.currentTime = this.drawn.segment.start + Math.max(0, part) * this.drawn.sound.seconds;
    this.player.play().catch(() => {});
  }
}
