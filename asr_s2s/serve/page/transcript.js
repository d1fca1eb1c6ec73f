// Transcript view: the least sure words are marked, words are played on click, and downloads.

import { whilePlaying } from "./playback.js";

export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

const DOUBTED_SHARE = 0.1; // part of the words that is marked, the least sure ones
const SURE = 0.85; // confidence from which a word is never marked

// Problems that the guard can find in the first output of a segment, and what was done about them.
const REASONS = {
  loop: "The model repeated itself here",
  gap: "Some speech may be missing here",
  early_end: "The end of this part may be missing",
  unspoken: "Some of these words may not have been said",
  unsure: "The model is unsure of this part",
};
const REMEDIES = {
  beam: "this is its second, more careful attempt",
  ctc: "this is a second attempt, by ear alone",
  pieces: "this is a second attempt, in two parts",
  cut: "such words were removed",
};

/** Explain a segment's problem in a sentence. */
export function explain({ reason, remedy }) {
  const remedied = REMEDIES[remedy] ? `; ${REMEDIES[remedy]}` : "";
  return `${REASONS[reason] ?? `Problem: ${reason}`}${remedied}.`;
}

export class TranscriptView {
  constructor(place, player, onSegment) {
    this.place = place;
    this.player = player;
    this.onSegment = onSegment;
    this.words = [];
    this.current = null;
    place.addEventListener("keydown", (event) => this.#move(event));
    whilePlaying(player, () => this.#follow());
  }

  clear() {
    this.place.replaceChildren();
    this.words = [];
    this.current = null;
  }

  /** Append a segment. */
  add(segment) {
    const row = document.createElement("div");
    row.className = "segment";
    const time = document.createElement("button");
    time.type = "button";
    time.textContent = clock(segment.start);
    time.setAttribute("aria-label", `Segment from ${clock(segment.start)}: show its attention`);
    time.addEventListener("click", () => this.onSegment(segment));
    const text = document.createElement("p");
    for (const word of segment.words ?? []) {
      text.append(this.#word(word, segment), " ");
    }
    if (segment.reason) {
      const note = document.createElement("small");
      note.textContent = explain(segment);
      text.append(note);
    }
    row.append(time, text);
    row.segment = segment;
    this.place.append(row);
    this.#markDoubts();
  }

  /** Whether a word is marked. */
  get hasDoubts() {
    return this.words.some(({ button }) => button.classList.contains("doubtful"));
  }

  /** Mark the least sure words of all so far. */
  #markDoubts() {
    const count = Math.ceil(DOUBTED_SHARE * this.words.length);
    const unsure = this.words.filter((word) => word.confidence < SURE);
    const doubted = new Set(unsure.sort((a, b) => a.confidence - b.confidence).slice(0, count));
    for (const word of this.words) word.button.classList.toggle("doubtful", doubted.has(word));
  }

  #word(word, segment) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "word";
    button.textContent = word.text.trim();
    const percent = Math.round(100 * word.confidence);
    button.title = `${percent} % · ${word.start.toFixed(2)} s`;
    button.setAttribute("aria-label", `${button.textContent}, ${percent} percent`);
    button.tabIndex = this.words.length ? -1 : 0; // one tab stop for all words; arrow keys move between them
    button.addEventListener("click", () => {
      this.player.currentTime = word.start;
      this.player.play().catch(() => {}); // the browser may not support this format
      this.onSegment(segment);
      this.#setTabStop(button);
    });
    this.words.push({ ...word, button });
    return button;
  }

  #setTabStop(button) {
    for (const word of this.words) word.button.tabIndex = word.button === button ? 0 : -1;
  }

  #move(event) {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const at = this.words.findIndex((word) => word.button === document.activeElement);
    const last = this.words.length - 1;
    let next = at + (steps[event.key] ?? 0);
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = last;
    if (at < 0 || next === at) return;
    event.preventDefault();
    const { button } = this.words[Math.min(last, Math.max(0, next))];
    this.#setTabStop(button);
    button.focus();
  }

  /** Highlight the word that is played. */
  #follow() {
    const time = this.player.currentTime;
    const playing = this.words.find((word) => word.start <= time && time < word.end);
    const button = playing?.button ?? null;
    if (button !== this.current) {
      this.current?.classList.remove("now");
      button?.classList.add("now");
      this.current = button;
      if (button && !this.player.paused) this.#reveal(button);
    }
  }

  /** Scroll the transcript, but not the page, to a word. */
  #reveal(button) {
    const top = button.offsetTop;
    const { scrollTop, clientHeight } = this.place;
    if (top < scrollTop || top + button.offsetHeight > scrollTop + clientHeight) {
      this.place.scrollTop = top - clientHeight / 3;
    }
  }

  /** Highlight the segment whose attention is shown. */
  mark(segment) {
    for (const row of this.place.children) {
      row.firstChild.setAttribute("aria-current", String(row.segment === segment));
    }
  }
}

/** Make a button copy the text that a function returns. */
export function copyButton(button, text) {
  const label = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copying needs https or localhost";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

/** Create the download buttons of a finished transcript. */
export function downloads(place, transcript, name) {
  const { srt, vtt, type, ...rest } = transcript;
  const files = { txt: `${transcript.text}\n`, srt, vtt, json: `${JSON.stringify(rest, null, 2)}\n` };
  const stem = name.replace(/\.[^.]*$/, "") || "transcript";
  place.replaceChildren(...Object.entries(files).map(([suffix, content]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `.${suffix}`;
    button.setAttribute("aria-label", `Download ${suffix}`);
    button.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([content], { type: "text/plain;charset=utf-8" }));
      link.download = `${stem}.${suffix}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
    return button;
  }));
}
