"""Connected-digit strings joined from recordings of single digits.

Shared by the recipes whose corpus holds one spoken digit a file. A string keeps the recordings as
they are, level differences included; what varies is how much of the silence around each word stays
and how long the pauses between the words are. String number i of a split depends on the seed, the
split and i alone, so a longer list begins with the shorter one, and a second run writes the same
bytes.
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
"""Seconds."""
NO_PAUSE_PROBABILITY = 0.25
TRIM_MARGIN = 0.05
"""Seconds kept on each side of a word that is trimmed as far as it goes."""
TAPER = 0.005
"""Seconds of fade at both ends of a recording, so that joins do not click."""
FRAME = 0.01
"""Seconds over which energy is measured."""

messages = Console(stderr=True, emoji=False)


@dataclass(frozen=True)
class Clip:
    """A recording of one digit."""

    id: str
    audio: Path
    duration: float
    """Seconds."""
    text: str
    """One of `WORDS`."""
    speaker: str


@dataclass(frozen=True)
class Style:
    """How the recordings of one string are joined."""

    trims: tuple[float, ...]
    """Per recording, the part of its removable silence to remove: 0 leaves it whole, 1 leaves
    `TRIM_MARGIN` on each side of the word."""
    pauses: tuple[float, ...]
    """Seconds before the first recording, between recordings and after the last."""
    noisy_pauses: bool
    """Pauses hold noise at the recordings' own floor; otherwise digital silence."""


StyleDraw = Callable[[np.random.Generator, int, int], Style]
"""Chooses a style from (random generator, number of the string in its split, digits in it)."""


def draw_pauses(rng: np.random.Generator, digits: int) -> tuple[float, ...]:
    """Seconds of pause around `digits` words, some of them none at all."""
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
        clips: the recordings of each split; a string joins recordings of its own split only.
        output: folder to write; manifests name their audio relative to it, or absolutely.
        name: first part of the identifiers of the strings.
        strings: how many strings each split gets.
        styles: how the strings of each split are joined.
        one_speaker: every string keeps to one speaker; otherwise speakers are mixed.
        seed: of all random choices.

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
            sounds: dict[Path, tuple[NDArray[np.float32], int]] = {}
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
                    if clip.audio not in sounds:
                        sounds[clip.audio] = read_clip(clip.audio)
                    _require_rate(clip, sounds[clip.audio][1], sounds[chosen[0].audio][1])
                audio, rate = join([sounds[clip.audio] for clip in chosen], style, rng)
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
    """3 to 8 recordings: each digit equally likely, then each of its recordings."""
    digits = rng.integers(len(WORDS), size=rng.integers(SHORTEST_STRING, LONGEST_STRING + 1))
    return [pool[WORDS[digit]][rng.integers(len(pool[WORDS[digit]]))] for digit in digits]


def join(
    sounds: Sequence[tuple[NDArray[np.float32], int]], style: Style, rng: np.random.Generator
) -> tuple[NDArray[np.float32], int]:
    """One waveform `(samples,)` from several, and its sampling rate in Hz.

    Args:
        sounds: (waveform `(samples,)`, sampling rate) of each recording, all of one rate.
        style: the trims and pauses.
        rng: source of the noise in the pauses.
    """
    rate = sounds[0][1]
    level = min(noise_floor(waveform, rate) for waveform, _ in sounds) if style.noisy_pauses else 0
    parts = []
    for i, pause in enumerate(style.pauses):
        noise = level * rng.standard_normal(round(pause * rate))
        parts.append(noise.astype(np.float32))
        if i < len(sounds):
            parts.append(taper(trim(sounds[i][0], rate, style.trims[i]), rate))
    return np.concatenate(parts), rate


def trim(waveform: NDArray[np.float32], rate: int, amount: float) -> NDArray[np.float32]:
    """Remove part of the silence around a word.

    Args:
        waveform: `(samples,)`.
        rate: samples per second.
        amount: 0 removes nothing, 1 all but `TRIM_MARGIN` on each side.
    """
    decibels = 20 * np.log10(frame_levels(waveform, rate) + 1e-6)
    peak = decibels.max()
    floor = max(np.percentile(decibels, 10), peak - 60)
    # Weak fricatives and stops ("six", "eight") lie up to 25 dB under the vowel; a recording whose
    # noise reaches that high is left whole rather than cut into.
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
    """Root mean square of each 10 ms frame, `(frames,)`; a remainder joins the last frame."""
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
    """Seconds of audio in a file, from its header.

    Raises:
        AudioError: the file is missing, is no audio, or is empty.
    """
    try:
        duration: float = soundfile.info(path).duration
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(path) from error
    if duration == 0:
        raise AudioError(path, "the recording is empty", "Fetch the corpus again")
    return duration


def read_clip(path: Path) -> tuple[NDArray[np.float32], int]:
    """Waveform `(samples,)` in [-1, 1] and its own sampling rate in Hz.

    Raises:
        AudioError: the file is missing, is no audio, or has several channels.
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
    """Write 16-bit FLAC; the file appears whole or not at all."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1, 1), rate, format="FLAC", subtype="PCM_16")
    _write(path, buffer.getvalue())


def write_manifest(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line; the file appears whole or not at all."""
    _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def _unreadable(path: Path) -> AudioError:
    found = "is no audio that can be read" if path.is_file() else "there is no such recording"
    return AudioError(path, found, "Fetch the corpus again")


def single_row(clip: Clip) -> dict[str, Any]:
    """The manifest row of a single digit."""
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
            f"its sampling rate is {rate} Hz, that of other recordings {expected} Hz",
            "Fetch the corpus again",
        )


def _pools(clips: Sequence[Clip], one_speaker: bool) -> dict[str, dict[str, list[Clip]]]:
    """The recordings a string may draw from: by speaker (or "mixed"), then by digit."""
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
                f"there is no recording{whose} for: {', '.join(missing)}",
                "Fetch the whole corpus",
            )
