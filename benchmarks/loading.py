"""Measure the speed of reading, augmenting and batching audio, without training.

    python benchmarks/loading.py [--workers 0 1 2] [--rounds 3] [MANIFEST]

Without a manifest, FLAC recordings of 2 to 14 s are made from a sample of this repository. Each
setting reads them once per round, including the start of its worker processes, and settings take
turns within a round. Medians are printed and written to benchmarks/RESULTS.md.
"""

import argparse
import json
import platform
import random
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from lhotse import CutSet
from report import RESULTS, processor, write_section

import asr_s2s
from asr_s2s.audio.augment import WaveformAugment
from asr_s2s.audio.decode import read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.config import AugmentConfig, DataConfig
from asr_s2s.data.batches import training_batches
from asr_s2s.data.datasets import SpeechDataset
from asr_s2s.data.manifest import cut_text, read_manifest
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import CharacterTokenizer

SAMPLE = Path(__file__).parent.parent / "docs" / "samples" / "digits.wav"
SHORTEST, LONGEST = 2.0, 14.0
"""Range of durations of the recordings made, in seconds."""
AUGMENTED = {
    "nothing": None,
    "speed, gain": AugmentConfig(),
    "speed, gain, noise": AugmentConfig(noise_probability=1.0),
}
"""Augmentation of waveforms by name; SpecAugment is part of the model."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifest", nargs="?", type=Path)
    parser.add_argument("--recordings", type=int, default=400, help="recordings to make")
    parser.add_argument("--batch-seconds", type=float, default=100.0)
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS, help="results file")
    options = parser.parse_args()

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        manifest = options.manifest or make(Path(folder), options.recordings)
        cuts = read_manifest(manifest)
        settings = [(workers, name) for name in AUGMENTED for workers in options.workers]
        seconds: dict[tuple[int, str], list[float]] = {setting: [] for setting in settings}
        for number in range(options.rounds + 1):
            for setting in settings:
                elapsed = load(cuts, *setting, epoch=number + 1, options=options)
                if number > 0:  # the first round fills the file cache
                    seconds[setting].append(elapsed)
    report = write_report(options, len(cuts), sum(cut.duration for cut in cuts), seconds)
    print(report)
    write_section("loading", report, options.results)


def make(folder: Path, count: int) -> Path:
    """Write recordings that repeat the sample from random offsets, and return their manifest."""
    rng = random.Random(1)
    samples = read_audio(SAMPLE)
    rows = []
    for number in range(count):
        length = round(rng.uniform(SHORTEST, LONGEST) * SAMPLE_RATE)
        start = rng.randrange(len(samples))
        repeated = np.resize(np.roll(samples, -start), length)
        soundfile.write(folder / f"{number}.flac", repeated, SAMPLE_RATE)
        rows.append({"id": str(number), "audio": f"{number}.flac", "text": "three one four"})
    manifest = folder / "made.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return manifest


def load(
    cuts: CutSet, workers: int, augmented: str, epoch: int, options: argparse.Namespace
) -> float:
    """Seconds to read one epoch of batches."""
    changes = AUGMENTED[augmented]
    tokenizer = CharacterTokenizer("".join(cut_text(cut) for cut in cuts))
    dataset = SpeechDataset(
        Output(tokenizer, normalizer("verbatim")),
        WaveformAugment(changes) if changes is not None else None,
    )
    config = DataConfig(batch_seconds=options.batch_seconds, workers=workers)
    started = time.perf_counter()
    read = sum(
        len(batch.ids)
        for batch in training_batches(cuts, dataset, config, seed=1, epoch=epoch, skip=0)
    )
    elapsed = time.perf_counter() - started
    assert read == len(cuts), f"{len(cuts) - read} recordings could not be read"
    return elapsed


def write_report(
    options: argparse.Namespace,
    count: int,
    total: float,
    seconds: dict[tuple[int, str], list[float]],
) -> str:
    """Format the table as Markdown."""
    rows = [
        [f"{total / statistics.median(seconds[workers, name]):.0f}" for workers in options.workers]
        for name in AUGMENTED
    ]
    header = [f"{n} {'worker' if n == 1 else 'workers'}" for n in options.workers]
    return "\n".join(
        [
            "# Speed of loading",
            "",
            f"`{shlex.join(['python', 'benchmarks/loading.py', *sys.argv[1:]])}`",
            "",
            f"Seconds of audio read, augmented and batched per second: {count} recordings of "
            f"{total / count:.1f} s on average, batches of {options.batch_seconds:g} s; medians of "
            f"{options.rounds} interleaved rounds; {processor()}; Python "
            f"{platform.python_version()}, asr_s2s {asr_s2s.__version__}. With 0 workers the "
            "training process reads.",
            "",
            f"| augmentation | {' | '.join(header)} |",
            "|---" * (len(header) + 1) + "|",
            *(f"| {name} | {' | '.join(row)} |" for name, row in zip(AUGMENTED, rows, strict=True)),
        ]
    )


if __name__ == "__main__":
    main()
