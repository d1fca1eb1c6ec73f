"""Synthesize sentences with the English voices of Flite, Festival and eSpeak NG.

    python recipes/english/synthesize.py PROMPTS ... --hours 50 --held-out DEV --output FOLDER

PROMPTS are lines of text (.txt, .gz, .xz), or tables with text in the second column (.tsv). The
sentence, voice, rate, pitch, room, noise, bandwidth and level of each utterance depend only on the
seed and the index of the utterance. Utterances are made in parts, in parallel. Existing parts are
kept, so an interrupted run resumes, and a run of more hours extends a shorter one. --voice and
--without-voice choose voices, so that tests can have others than training. FOLDER gets
`audio/`, `parts/` and `train.jsonl`.
"""

import gzip
import hashlib
import json
import lzma
import multiprocessing
import os
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer
from rich.console import Console
from rich.progress import Progress
from rooms import Samples, add_background, limit_band, reverberate, set_level, shift_voice
from voices import Request, Voice, installed_voices, speak

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus_rows import write_rows

from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.data.manifest import cut_text, iter_manifest
from asr_s2s.data.overlap import HeldOut
from asr_s2s.errors import ManifestError, UserError
from asr_s2s.text.normalize import english

PART = 25
"""Utterances per part."""
ENGINES = {"flite": 0.4, "festival": 0.25, "espeak-ng": 0.35}
"""Relative frequency of each synthesizer, if it is installed."""
WORDS = (2, 30)
"""Minimum and maximum number of words of a prompt."""
SECONDS = (0.4, 20.0)
"""Minimum and maximum duration of an utterance, in seconds."""
PAUSE = 0.4
"""Longest silence before and after the speech, in seconds."""
SPEAKABLE = re.compile(r"[A-Za-z ,.;:!?'\"()-]+")

messages = Console(stderr=True, highlight=False, emoji=False)


@dataclass(frozen=True)
class Work:
    """Inputs shared by all parts."""

    prompts: list[str]
    voices: dict[str, list[Voice]]
    output: Path
    seed: int


def synthesize(
    prompts: Annotated[list[Path], typer.Argument(help="Lines to speak (.txt, .tsv, .gz, .xz).")],
    output: Annotated[Path, typer.Option(help="Output folder for audio and manifest.")],
    hours: Annotated[float, typer.Option(min=0.001, help="Hours of speech to synthesize.")] = 10.0,
    once: Annotated[
        bool, typer.Option("--once", help="Speak each sentence once, whatever the hours.")
    ] = False,
    voice: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of voices to use, such as 'flite-*'; may be repeated."),
    ] = None,
    without_voice: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of voices to leave out; may be repeated."),
    ] = None,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(help="Manifest whose transcripts prompts must not overlap; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random choices.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Parallel processes.")] = os.cpu_count() or 1,
) -> None:
    """Synthesize speech for training, and write its manifest."""
    sentences, dropped = read_prompts(prompts, held_out or [], seed)
    skipped = f"; skipped {dropped:,} that overlap held-out transcripts" if dropped else ""
    messages.print(f"{len(sentences):,} prompts{skipped}")
    if not sentences:
        raise UserError(prompts[0], "no usable prompt was found", "Provide other prompts")
    voices = choose_voices(installed_voices(), voice or ["*"], without_voice or [])
    work = Work(sentences, voices, output, seed)
    claim(work)
    rows = list(make_hours(work, hours, jobs, len(sentences) if once else None))
    write_rows(output / "train.jsonl", rows)


def choose_voices(
    voices: dict[str, list[Voice]], wanted: list[str], unwanted: list[str]
) -> dict[str, list[Voice]]:
    """Return the voices whose names match a wanted pattern and no unwanted one.

    Raises:
        UserError: there is none.
    """

    def matches(voice: Voice, patterns: list[str]) -> bool:
        return any(fnmatchcase(str(voice), pattern) for pattern in patterns)

    chosen = {
        engine: [one for one in own if matches(one, wanted) and not matches(one, unwanted)]
        for engine, own in voices.items()
    }
    chosen = {engine: own for engine, own in chosen.items() if own}
    if not chosen:
        names = ", ".join(str(one) for own in voices.values() for one in own)
        raise UserError("--voice", f"no voice matches; there are {names}", "Change the patterns")
    return chosen


def read_prompts(paths: list[Path], held_out: list[Path], seed: int) -> tuple[list[str], int]:
    """Read usable sentences without duplicates, in random order, and count those that overlap.

    Raises:
        UserError: a file cannot be read.
    """
    items = [item for manifest in held_out for item in iter_manifest(manifest)]
    cuts = [item for item in items if not isinstance(item, ManifestError)]
    if len(cuts) < len(items):
        messages.print(f"{len(items) - len(cuts):,} held-out rows are invalid; see asr-s2s check")
    forbidden = HeldOut(cut_text(cut) for cut in cuts)
    sentences: dict[str, str] = {}
    dropped = 0
    for path in paths:
        for line in _lines(path):
            text = english(line)
            words = len(text.split())
            if not WORDS[0] <= words <= WORDS[1] or not SPEAKABLE.fullmatch(line):
                continue
            if forbidden.overlap(text):
                dropped += 1
            else:
                sentences.setdefault(text, line)
    ordered = list(sentences.values())
    np.random.default_rng(seed).shuffle(ordered)
    return ordered, dropped


def _lines(path: Path) -> Iterator[str]:
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    table = ".tsv" in path.suffixes
    try:
        with openers.get(path.suffix, open)(path, "rt", encoding="utf-8") as file:
            for line in file:
                columns = line.rstrip("\n").split("\t")
                yield " ".join((columns[1] if table and len(columns) > 1 else columns[0]).split())
    except (OSError, UnicodeDecodeError, lzma.LZMAError, EOFError) as error:
        raise UserError(path, f"cannot be read ({error})", "Provide UTF-8 text") from error


def claim(work: Work) -> None:
    """Record the settings of this run in the output folder.

    Raises:
        UserError: the folder has parts made with another seed, other prompts or other voices.
    """
    voices = [str(voice) for voices in work.voices.values() for voice in voices]
    digest = hashlib.sha256("\n".join([*work.prompts, *voices]).encode()).hexdigest()
    settings = {"seed": work.seed, "part": PART, "prompts and voices": digest}
    record = work.output / "settings.json"
    if record.exists() and json.loads(record.read_text("utf-8")) != settings:
        raise UserError(
            work.output,
            "found speech made with another seed, other prompts or other voices",
            "Choose another folder, or remove this one",
        )
    for name in ("audio", "parts"):
        (work.output / name).mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(settings), "utf-8")


def make_hours(
    work: Work, hours: float, jobs: int, utterances: int | None
) -> Iterator[dict[str, Any]]:
    """Yield manifest rows of parts 0, 1, ... until `hours` are reached, or of the first
    `utterances`, if this is given; those that cannot be synthesized are missing."""
    seconds, number = 0.0, 0
    last = None if utterances is None else -(-utterances // PART)
    context = multiprocessing.get_context("spawn")
    columns = Progress.get_default_columns()
    with (
        context.Pool(jobs, _begin, (work,)) as pool,
        Progress(*columns, console=messages, disable=not messages.is_terminal) as bar,
    ):
        task = bar.add_task("synthesizing", total=hours * 3600)
        while seconds < hours * 3600 if last is None else number < last:
            # Tasks of half a minute each limit the work discarded at the end.
            numbers = range(number, min(number + 2 * jobs, last or number + 2 * jobs))
            number = numbers.stop
            for part, rows in zip(numbers, pool.imap(make_part, numbers), strict=True):
                if last is None and seconds >= hours * 3600:
                    break
                if utterances is not None and part == last - 1:  # it begins the next round
                    rows = [row for row in rows if _index(row) < utterances]
                made = sum(row["duration"] for row in rows)
                seconds += made
                bar.advance(task, made)
                yield from rows


def _index(row: dict[str, Any]) -> int:
    """Return the index of an utterance, which its id consists of."""
    part, place = row["id"].split("-")[1:]
    return int(part) * PART + int(place)


_work: Work


def _begin(work: Work) -> None:
    global _work
    _work = work


def make_part(number: int) -> list[dict[str, Any]]:
    """Synthesize one part, unless it exists, and return its manifest rows."""
    work = _work
    record = work.output / "parts" / f"{number:05}.jsonl"
    if record.exists():
        return [json.loads(line) for line in record.read_text("utf-8").splitlines()]
    indices = range(number * PART, (number + 1) * PART)
    rngs = [np.random.default_rng([work.seed, index]) for index in indices]
    texts = [work.prompts[index % len(work.prompts)] for index in indices]
    voices = [_draw_voice(work.voices, rng) for rng in rngs]
    spoken = _speak_all(texts, voices, rngs)
    folder = work.output / "audio" / f"{number:05}"
    folder.mkdir(exist_ok=True)
    rows = []
    clean = [samples for samples in spoken if samples is not None]
    for place, samples in enumerate(spoken):
        if samples is None or not SECONDS[0] <= len(samples) / SAMPLE_RATE <= SECONDS[1]:
            continue
        path = folder / f"{place:02}.flac"
        samples = record_in_room(samples, clean, rngs[place])
        soundfile.write(path, samples, SAMPLE_RATE)
        rows.append(
            {
                "id": f"synthetic-{number:05}-{place:02}",
                "audio": str(path.relative_to(work.output)),
                "duration": round(len(samples) / SAMPLE_RATE, 3),
                "text": english(texts[place]),
                "speaker": str(voices[place]),
                "corpus": "synthetic",
            }
        )
    unfinished = record.with_suffix(".unfinished")
    unfinished.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    unfinished.replace(record)
    return rows


def _draw_voice(voices: dict[str, list[Voice]], rng: np.random.Generator) -> Voice:
    chances = np.array([ENGINES[engine] for engine in voices])
    engine = list(voices)[rng.choice(len(chances), p=chances / chances.sum())]
    return voices[engine][rng.integers(len(voices[engine]))]


def _speak_all(
    texts: list[str], voices: list[Voice], rngs: list[np.random.Generator]
) -> list[Samples | None]:
    """Synthesize each sentence with its voice, at a random rate and vocal tract length, and add
    silence around it."""
    shifts = [float(np.exp(rng.normal(0.0, 0.07))) for rng in rngs]
    stretches = [float(np.exp(rng.normal(0.0, 0.15))) for rng in rngs]
    groups: defaultdict[Voice, list[int]] = defaultdict(list)
    for place, voice in enumerate(voices):
        groups[voice].append(place)
    spoken: list[Samples | None] = [None] * len(texts)
    with tempfile.TemporaryDirectory() as temporary:
        for voice, places in groups.items():
            # The shift shortens the sentence; a longer stretch compensates.
            requests = [Request(texts[i], stretches[i] * shifts[i]) for i in places]
            for place, samples in zip(places, speak(voice, requests, Path(temporary)), strict=True):
                if samples is not None and len(samples):
                    before, after = (rngs[place].uniform(0.0, PAUSE, 2) * SAMPLE_RATE).astype(int)
                    shifted = shift_voice(samples, shifts[place])
                    spoken[place] = np.pad(shifted, (before, after))
    return spoken


def record_in_room(samples: Samples, others: list[Samples], rng: np.random.Generator) -> Samples:
    """Simulate room, noise, bandwidth and level; half stay without reverberation."""
    if rng.random() < 0.5:
        samples = reverberate(samples, rng)
    if rng.random() < 0.6:
        samples = add_background(samples, others, rng)
    if rng.random() < 0.25:
        samples = limit_band(samples, rng)
    return set_level(samples, rng)


if __name__ == "__main__":
    try:
        typer.run(synthesize)
    except UserError as error:
        messages.print(f"synthesize: {error}", markup=False, soft_wrap=True)
        raise SystemExit(1) from None
