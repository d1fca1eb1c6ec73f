"""Count the words that a model outputs for audio without speech.

    python benchmarks/without_speech.py --model english --babble MANIFEST [--minutes 10]

The audio is silence, white noise at four levels, babble of eight speakers (recordings of MANIFEST,
too dense to be intelligible), and tones: steady tones, telephone tone pairs, and sweeps. Each kind
is one recording of --minutes, transcribed like any other. Prints the number of words, which should
be 0, and the reasons found by the guard.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import asr_s2s
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.data.manifest import read_cut_audio, read_manifest

Samples = NDArray[np.float32]
TALKERS = 8
TONE_SECONDS = 5
FREQUENCIES = (100, 200, 440, 700, 1000, 1500, 2000, 3000, 4000)
PAIRS = ((350, 440), (697, 1209), (770, 1336), (852, 1477), (941, 1633))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="digits")
    parser.add_argument("--babble", type=Path, required=True, help="manifest of recordings")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--device")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    count = round(60 * options.minutes * SAMPLE_RATE)
    recordings = {
        "silence": np.zeros(count, np.float32),
        "white noise": white_noise(count, rng),
        "babble": babble(count, options.babble, rng),
        "tones": tones(count),
    }
    recognizer = asr_s2s.load(options.model, options.device)
    print("| audio | words | segments with words | segments | reasons found by the guard |")
    print("|---|---|---|---|---|")
    for name, samples in recordings.items():
        result = recognizer.transcribe(samples)
        written = [segment for segment in result.segments if segment.text]
        found = Counter(segment.reason.value for segment in result.segments if segment.reason)
        reasons = ", ".join(f"{reason} {times}" for reason, times in found.most_common())
        words = len(result.text.split())
        print(f"| {name} | {words} | {len(written)} | {len(result.segments)} | {reasons} |")


def white_noise(count: int, rng: np.random.Generator) -> Samples:
    """White noise, a quarter each at -60, -40, -20 and -10 dB relative to full scale."""
    parts = [
        10 ** (level / 20) * rng.standard_normal(len(places))
        for level, places in zip((-60, -40, -20, -10), np.array_split(range(count), 4), strict=True)
    ]
    return np.clip(np.concatenate(parts), -1, 1).astype(np.float32)


def babble(count: int, manifest: Path, rng: np.random.Generator) -> Samples:
    """Sum of `TALKERS` streams of recordings of a manifest, each recording at the same power."""
    cuts = read_manifest(manifest)
    total = np.zeros(count, np.float32)
    for _ in range(TALKERS):
        filled = 0
        while filled < count:
            samples = read_cut_audio(cuts[int(rng.integers(len(cuts)))])
            samples = samples[: count - filled] / max(float(np.sqrt(np.mean(samples**2))), 1e-6)
            total[filled : filled + len(samples)] += samples
            filled += len(samples)
    return total * np.float32(0.3 / np.abs(total).max())


def tones(count: int) -> Samples:
    """Steady tones, pairs of tones, and a sweep over the frequencies of speech, repeated."""
    size = TONE_SECONDS * SAMPLE_RATE
    time = np.arange(size) / SAMPLE_RATE
    parts = [np.sin(2 * np.pi * frequency * time) for frequency in FREQUENCIES]
    parts += [sum(np.sin(2 * np.pi * one * time) for one in pair) / 2 for pair in PAIRS]
    sweep = 100 * (4000 / 100) ** (time / TONE_SECONDS)
    parts.append(np.sin(2 * np.pi * np.cumsum(sweep) / SAMPLE_RATE))
    return np.resize(0.3 * np.concatenate(parts), count).astype(np.float32)


if __name__ == "__main__":
    main()
