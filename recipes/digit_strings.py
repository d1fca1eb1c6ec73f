"""Join recordings of single digits to connected-digit strings.

Shared by the recipes whose corpus has one spoken digit per file. Recordings keep their levels; the
strings vary in the silence kept around each word and in the pauses between words. String i of a
split depends only on the seed, the split and i, so a longer list begins with the shorter one, and
a second run writes the same bytes.
"""

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from asr_s2s.errors import AudioError, UserError

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLITS = ("train", "valid", "test")
SHORTEST_STRING = 3
LONGEST_STRING = 8
LONGEST_PAUSE = 0.5
"""Longest pause in seconds."""
NO_PAUSE_PROBABILITY = 0.25
TRIM_MARGIN = 0.05
"""Seconds kept on each side of a word that is trimmed completely."""
TAPER = 0.005
"""Seconds of fade at both ends of a recording, to avoid clicks at joins."""
FRAME = 0.01
"""Frame length for measuring energy, in seconds."""

messages = Console(stderr=True, emoji=False)


@dataclass(frozen=True)
class Clip:
    """A recording of one digit."""

    id: str
    audio: Path
    duration: float
    """Duration in seconds."""
    text: str
    """Spoken digit, one of `WORDS`."""
    speaker: str


@dataclass(frozen=True)
class Style:
    """Trims and pauses for joining the recordings of one string."""

    trims: tuple[float, ...]
    """Fraction of removable silence to remove from each recording: 0 keeps all, 1 keeps
    `TRIM_MARGIN` on each side of the word."""
    pauses: tuple[float, ...]
    """Seconds before the first recording, between recordings and after the last."""
    noisy_pauses: bool
    """Whether pauses contain noise at the noise floor of the recordings, or digital silence."""


StyleDraw = Callable[[np.random.Generator, int, int], Style]
"""Function that draws a style from (generator, index of the string in its split, digits in it)."""


def draw_pauses(rng: np.random.Generator, digits: int) -> tuple[float, ...]:
    """Draw `digits` + 1 pauses in seconds; some of them are 0."""
    pauses = rng.uniform(0, LONGEST_PAUSE, digits + 1)
    pauses[rng.random(digits + 1) < NO_PAUSE_PROBABILITY] = 0
    return tuple(pauses.tolist())


def write_corpus(
    clips: Mapping[str, Sequence[Clip]],
    output: Path,
    *,
    name: str,
    strings: Mapping[str, int],
    styles: Mapping[str, StyleDraw],
    one_speaker: bool,
    seed: int,
) -> None:
    """Write `{split}_single.jsonl`, `{split}_connected.jsonl` and the audio of the strings.

    Args:
        clips: recordings of each split; a string joins recordings of its own split only.
        output: folder to write; audio paths in manifests are relative to it, or absolute.
        name: prefix of the ids of the strings.
        strings: number of strings of each split.
        styles: function that draws the styles of each split.
        one_speaker: whether each string has one speaker; otherwise speakers are mixed.
        seed: seed of all random choices.

    Raises:
        UserError: a digit has no recording, a recording cannot be read, or `output` cannot be
            written.
    """
    for split in SPLITS:
        _require_every_digit(clips[split], split, one_speaker)
    try:
        for number, split in enumerate(SPLITS):
            folder = output / "audio" / split
            folder.mkdir(parents=True, exist_ok=True)
            write_manifest(output / f"{split}_single.jsonl", map(single_row, clips[split]))
            pools = _pools(clips[split], one_speaker)
            recordings: dict[Path, tuple[NDArray[np.float32], int]] = {}
            rows = []
            for i in track(
                range(strings[split]),
                f"{split} strings",
                console=messages,
                disable=not strings[split],
            ):
                rng = np.random.default_rng([seed, number, i])
                speaker = list(pools)[rng.integers(len(pools))]
                chosen = draw_clips(rng, pools[speaker])
                style = styles[split](rng, i, len(chosen))
                for clip in chosen:
                    if clip.audio not in recordings:
                        recordings[clip.audio] = read_clip(clip.audio)
                    _require_rate(clip, recordings[clip.audio][1], recordings[chosen[0].audio][1])
                audio, rate = join([recordings[clip.audio] for clip in chosen], style, rng)
                identifier = f"{name}-{split}-{i:05d}"
                path = folder / f"{identifier}.flac"
                write_flac(path, audio, rate)
                rows.append(
                    {
                        "id": identifier,
                        "audio": path.relative_to(output).as_posix(),
                        "duration": len(audio) / rate,
                        "text": " ".join(clip.text for clip in chosen),
                        "speaker": speaker,
                        "parts": [clip.id for clip in chosen],
                    }
                )
            write_manifest(output / f"{split}_connected.jsonl", rows)
    except OSError as error:
        where = error.filename or output
        raise UserError(
            where, f"cannot be written: {error.strerror}", "Choose another output folder"
        ) from error
    for split in SPLITS:
        messages.print(f"{split}: {len(clips[split])} single digits, {strings[split]} strings")


def draw_clips(rng: np.random.Generator, pool: Mapping[str, Sequence[Clip]]) -> list[Clip]:
    """Draw 3 to 8 recordings: digits are uniform, then the recordings of each digit."""
    digits = rng.integers(len(WORDS), size=rng.integers(SHORTEST_STRING, LONGEST_STRING + 1))
    return [pool[WORDS[digit]][rng.integers(len(pool[WORDS[digit]]))] for digit in digits]


def join(
    recordings: Sequence[tuple[NDArray[np.float32], int]], style: Style, rng: np.random.Generator
) -> tuple[NDArray[np.float32], int]:
    """Join recordings to one waveform `(samples,)`; returns it with its sampling rate in Hz.

    Args:
        recordings: (waveform `(samples,)`, sampling rate) of each recording, all of one rate.
        style: trims and pauses.
        rng: generator of the noise in the pauses.
    """
    rate = recordings[0][1]
    level = 0.0
    if style.noisy_pauses:
        level = min(noise_floor(waveform, rate) for waveform, _ in recordings)
    parts = []
    for i, pause in enumerate(style.pauses):
        noise = level * rng.standard_normal(round(pause * rate))
        parts.append(noise.astype(np.float32))
        if i < len(recordings):
            parts.append(taper(trim(recordings[i][0], rate, style.trims[i]), rate))
    return np.concatenate(parts), rate


def trim(waveform: NDArray[np.float32], rate: int, amount: float) -> NDArray[np.float32]:
    """Remove part of the silence around a word.

    Args:
        waveform: `(samples,)`.
        rate: sampling rate in Hz.
        amount: 0 removes nothing, 1 removes all but `TRIM_MARGIN` on each side.
    """
    decibels = 20 * np.log10(frame_levels(waveform, rate) + 1e-6)
    peak = decibels.max()
    floor = max(np.percentile(decibels, 10), peak - 60)
    # Weak fricatives and stops ("six", "eight") are up to 25 dB below the vowel. A recording with
    # noise above that level is not trimmed.
    threshold = min(floor + 0.3 * (peak - floor), peak - 25)
    loud = np.flatnonzero(decibels > threshold)
    frame = round(FRAME * rate)
    margin = round(TRIM_MARGIN * rate)
    start = max(0, loud[0] * frame - margin)
    end = min(len(waveform), (loud[-1] + 1) * frame + margin)
    return waveform[round(amount * start) : len(waveform) - round(amount * (len(waveform) - end))]


def noise_floor(waveform: NDArray[np.float32], rate: int) -> float:
    """Root mean square of the quietest frame."""
    return float(frame_levels(waveform, rate).min())


def frame_levels(waveform: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Root mean square of each 10 ms frame, `(frames,)`; a remainder belongs to the last frame."""
    frame = round(FRAME * rate)
    starts = np.arange(0, max(len(waveform) - frame + 1, 1), frame)
    squares = np.add.reduceat(waveform.astype(np.float64) ** 2, starts)
    lengths = np.diff(np.append(starts, len(waveform)))
    return np.sqrt(squares / lengths)


def taper(waveform: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Fade the first and the last `TAPER` seconds."""
    length = min(round(TAPER * rate), len(waveform) // 2)
    ramp = np.linspace(0, 1, length, dtype=np.float32)
    shaped = waveform.copy()
    shaped[:length] *= ramp
    shaped[len(shaped) - length :] *= ramp[::-1]
    return shaped


def clip_duration(path: Path) -> float:
    """Duration of an audio file in seconds, from its header.

    Raises:
        AudioError: the file is missing, not audio, or empty.
    """
    try:
        duration: float = soundfile.info(path).duration
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(path) from error
    if duration == 0:
        raise AudioError(path, "the recording is empty", "Fetch the corpus again")
    return duration


def read_clip(path: Path) -> tuple[NDArray[np.float32], int]:
    """Read a waveform `(samples,)` in [-1, 1] and its sampling rate in Hz.

    Raises:
        AudioError: the file is missing, not audio, or has several channels.
    """
    try:
        waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(path) from error
    if waveform.shape[1] != 1:
        raise AudioError(
            path, f"expected one channel, found {waveform.shape[1]}", "Fetch the corpus again"
        )
    return waveform[:, 0], rate


def write_flac(path: Path, waveform: NDArray[np.float32], rate: int) -> None:
    """Write 16-bit FLAC atomically."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1, 1), rate, format="FLAC", subtype="PCM_16")
    _write(path, buffer.getvalue())


def write_manifest(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line, atomically."""
    _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def _unreadable(path: Path) -> AudioError:
    found = "not a readable audio file" if path.is_file() else "recording not found"
    return AudioError(path, found, "Fetch the corpus again")


def single_row(clip: Clip) -> dict[str, Any]:
    """Manifest row of a single digit."""
    return {
        "id": clip.id,
        "audio": str(clip.audio.resolve()),
        "duration": clip.duration,
        "text": clip.text,
        "speaker": clip.speaker,
    }


def _require_rate(clip: Clip, rate: int, expected: int) -> None:
    if rate != expected:
        raise AudioError(
            clip.audio,
            f"found a sampling rate of {rate} Hz, expected {expected} Hz as in other recordings",
            "Fetch the corpus again",
        )


def _pools(clips: Sequence[Clip], one_speaker: bool) -> dict[str, dict[str, list[Clip]]]:
    """Group the recordings of a split by speaker (or "mixed"), then by digit."""
    pools: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        pools[clip.speaker if one_speaker else "mixed"][clip.text].append(clip)
    return pools


def _require_every_digit(clips: Sequence[Clip], split: str, one_speaker: bool) -> None:
    pools = _pools(clips, one_speaker) or {"mixed": {}}
    for speaker, pool in pools.items():
        missing = [word for word in WORDS if word not in pool]
        if missing:
            whose = f" of speaker {speaker}" if one_speaker else ""
            raise UserError(
                f"{split} split",
                f"no recording{whose} of: {', '.join(missing)}",
                "Fetch the whole corpus",
            )
