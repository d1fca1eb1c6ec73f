"""Measure the error of word times on strings of joined single words.

    python benchmarks/word_times.py MANIFEST [--model english] [--strings 60]

MANIFEST lists recordings of one word each. Silence around the words is trimmed, and five words at a
time, of one speaker if there are enough, are joined with pauses of 0, 0.1 or 0.3 s, so that the
true times are known. Prints the median absolute errors of the words that are recognized correctly.
"""

import argparse
import random
import sys
from collections import defaultdict
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np

import asr_s2s
from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform
from asr_s2s.data.manifest import cut_speaker, cut_text, read_cut_audio, read_manifest
from asr_s2s.errors import EXIT_BAD_INPUT, UserError
from asr_s2s.pipeline import Transcript

WORDS = 5
PAUSES = (0.0, 0.1, 0.3)
QUIET_DB = 30
"""Level below the peak, in dB, at which the ends of a recording are trimmed."""


class Joined(NamedTuple):
    """A waveform of joined words with their true times."""

    samples: Waveform
    words: list[str]
    times: list[tuple[float, float]]
    """Beginning and end of each word, in seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="english")
    parser.add_argument("--strings", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        strings = join(options.manifest, options.strings, options.seed)
        model = asr_s2s.load(options.model, "cpu")
        print(report(strings, [model.transcribe(s.samples, words=True) for s in strings]))
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT) from None


def join(manifest: Path, count: int, seed: int) -> list[Joined]:
    """Join strings of randomly drawn words.

    Raises:
        UserError: the manifest or a recording cannot be used, or too few have a single word.
    """
    rng = random.Random(seed)
    speakers: dict[str, list[tuple[str, Waveform]]] = defaultdict(list)
    for cut in read_manifest(manifest):
        text = cut_text(cut)
        if len(text.split()) == 1:
            samples, _ = librosa.effects.trim(read_cut_audio(cut), top_db=QUIET_DB)
            speakers[cut_speaker(cut) or ""].append((text, samples))
    pools = [words for words in speakers.values() if len(words) >= WORDS]
    pools = pools or [[word for words in speakers.values() for word in words]]
    if len(pools[0]) < WORDS:
        raise UserError(manifest, f"fewer than {WORDS} recordings of a single word", "Add more")
    strings = []
    for _ in range(count):
        parts, times, position = [], [], 0
        chosen = rng.sample(rng.choice(pools), WORDS)
        for _, samples in chosen:
            pause = round(rng.choice(PAUSES) * SAMPLE_RATE)
            parts += [np.zeros(pause, np.float32), samples]
            start, position = position + pause, position + pause + len(samples)
            times.append((start / SAMPLE_RATE, position / SAMPLE_RATE))
        strings.append(Joined(np.concatenate(parts), [word for word, _ in chosen], times))
    return strings


def report(strings: list[Joined], results: list[Transcript]) -> str:
    """Format the number of recognized words and the median errors."""
    errors: list[tuple[float, float]] = []
    for string, result in zip(strings, results, strict=True):
        found = [word for segment in result.segments for word in segment.words]
        matched = SequenceMatcher(None, string.words, [word.text for word in found], autojunk=False)
        for place, other, size in matched.get_matching_blocks():
            for (begin, end), word in zip(
                string.times[place : place + size], found[other : other + size], strict=True
            ):
                errors.append((abs(word.start - begin), abs(word.end - end)))
    words = sum(len(string.words) for string in strings)
    if not errors:
        return f"none of {words} words was recognized"
    begins, ends = np.median(errors, axis=0)
    return (
        f"{len(errors)} of {words} words recognized\n"
        f"median error of beginnings {begins:.3f} s, of ends {ends:.3f} s"
    )


if __name__ == "__main__":
    main()
