// Draws attention weights over the log-mel spectrogram on a canvas.

import { unpack } from "./client.js";
import { whilePlaying } from "./playback.js";

const GAP = 7; // pixels between the tokens and the picture
const WIDEST_LABEL = 80; // pixels; longer tokens are narrowed
const LINE = 13; // pixels between tokens
const FONT = "11px system-ui, sans-serif";
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
    this.left = 0; // pixels for the tokens
    new ResizeObserver(() => this.#paint()).observe(canvas.parentElement);
    whilePlaying(player, () => this.#follow());
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
    const { sound, output, weights, log, overlay } = this.drawn;
    const scale = window.devicePixelRatio || 1;
    const width = this.canvas.parentElement.clientWidth;
    const height = Math.min(480, Math.max(220, LINE * output.length)) + BOTTOM;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    this.canvas.style.height = `${height}px`;
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    context.fillStyle = "#0b1020";
    context.fillRect(0, 0, width, height);

    context.font = FONT;
    const labels = output.map(displayToken);
    const widest = Math.max(...labels.map((label) => context.measureText(label).width));
    this.left = Math.ceil(Math.min(WIDEST_LABEL, widest)) + 2 * GAP;
    const { left } = this;
    const room = width - left;
    const tall = height - BOTTOM;
    const perSecond = room / sound.seconds;
    context.save();
    context.beginPath();
    context.rect(left, 0, room, tall);
    context.clip();
    context.globalAlpha = 0.85;
    context.drawImage(log, left, 0, (log.width / 100) * perSecond, tall);
    context.globalAlpha = 1;
    const begin = left + (sound.first - sound.step / 2) * perSecond;
    context.drawImage(overlay, begin, 0, weights.columns * sound.step * perSecond, tall);
    context.restore();

    context.textBaseline = "middle";
    context.textAlign = "right";
    context.fillStyle = "#cdd6ee";
    const row = tall / output.length;
    const every = Math.ceil(LINE / row);
    labels.forEach((label, index) => {
      if (index % every) return;
      const middle = Math.min(tall - LINE / 2, Math.max(LINE / 2, (index + 0.5) * row));
      context.fillText(label, left - GAP, middle, WIDEST_LABEL);
    });
    this.#paintTimes(context, left, width, tall, perSecond);
  }

  /** Label the time axis; labels keep apart, and within the picture. */
  #paintTimes(context, left, width, tall, perSecond) {
    const { segment } = this.drawn;
    context.textAlign = "center";
    context.fillStyle = "#93a0c2";
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20].find((value) => value * perSecond > 55) ?? 30;
    const digits = step < 1 ? 1 : 0;
    const first = Math.ceil(segment.start / step - 1e-6);
    for (let number = first; number * step < segment.end; number += 1) {
      const label = `${(number * step).toFixed(digits)} s`;
      const half = context.measureText(label).width / 2;
      const x = left + (number * step - segment.start) * perSecond;
      if (x - half < 0 || x + half > width) continue;
      context.fillText(label, x, tall + BOTTOM / 2);
    }
  }

  #follow() {
    if (!this.drawn) return;
    const { segment, sound } = this.drawn;
    const part = (this.player.currentTime - segment.start) / sound.seconds;
    this.playhead.hidden = part <= 0 || part >= 1;
    this.playhead.style.left = `${this.left + part * (this.canvas.clientWidth - this.left)}px`;
  }

  #seek(event) {
    if (!this.drawn) return;
    const part = (event.offsetX - this.left) / (this.canvas.clientWidth - this.left);
    this.player.currentTime = this.drawn.segment.start + Math.max(0, part) * this.drawn.sound.seconds;
    this.player.play().catch(() => {});
  }
}
