// Transcript view: words colored by confidence and played on click, and file downloads.

export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function confidenceClass(confidence) {
  if (confidence >= 0.85) return "sure";
  if (confidence >= 0.6) return "likely";
  return confidence >= 0.35 ? "unsure" : "doubtful";
}

// Problems that the guard can find in the first output of a segment.
const REASONS = {
  loop: "repetition",
  gap: "skipped speech",
  early_end: "early end",
  unspoken: "words without speech",
  unsure: "low confidence",
};
const REMEDIES = {
  beam: "; decoded again with a wider beam", ctc: "; decoded with CTC alone",
  pieces: "; decoded in two parts", cut: "; removed",
};

export class TranscriptView {
  constructor(place, player, onSegment) {
    this.place = place;
    this.player = player;
    this.onSegment = onSegment;
    this.words = [];
    this.current = null;
    place.addEventListener("keydown", (event) => this.#move(event));
    player.addEventListener("timeupdate", () => this.#follow());
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
      const remedy = REMEDIES[segment.remedy] ?? "";
      note.textContent = (REASONS[segment.reason] ?? segment.reason) + remedy;
      text.append(note);
    }
    row.append(time, text);
    row.segment = segment;
    this.place.append(row);
  }

  #word(word, segment) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = `word ${confidenceClass(word.confidence)}`;
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

  #follow() {
    const time = this.player.currentTime;
    const playing = this.words.find((word) => word.start <= time && time < word.end);
    const button = playing?.button ?? null;
    if (button === this.current) return;
    this.current?.classList.remove("now");
    button?.classList.add("now");
    this.current = button;
  }

  /** Highlight the segment whose attention is shown. */
  mark(segment) {
    for (const row of this.place.children) {
      row.firstChild.setAttribute("aria-current", String(row.segment === segment));
    }
  }
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
