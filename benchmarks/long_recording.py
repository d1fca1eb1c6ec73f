"""Measure peak memory and real-time factor on a recording of 3 minutes and one of 3 hours.

    python benchmarks/long_recording.py [--model digits] [--minutes 3 180] [RECORDING ...]

The given recordings (default: a sample) are joined with silences of 1 to 3 s into one FLAC file per
length. Each file is transcribed in a process of its own. The time excludes loading the model. Peak
memory is read from /proc, so Linux is required.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
import torch

import asr_s2s
from asr_s2s.audio.decode import probe, read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE

SAMPLE = Path(__file__).parent.parent / "docs" / "samples" / "digits.wav"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recordings", nargs="*", type=Path, default=[SAMPLE])
    parser.add_argument("--model", default="digits")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--beam-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", nargs="+", type=float, default=[3.0, 180.0])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        measure(options)
        return
    print("| recording | real-time factor | peak memory |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for minutes in options.minutes:
            path = Path(folder) / "joined.flac"
            write_joined(path, options.recordings, 60 * minutes)
            subprocess.run([sys.executable, *sys.argv, "--one", str(path)], check=True)


def write_joined(path: Path, recordings: list[Path], seconds: float) -> None:
    """Write recordings in turn, with silences between them, until `seconds` are reached."""
    rng = np.random.default_rng(0)
    written = 0
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for recording in cycle(recordings):
            if written >= seconds * SAMPLE_RATE:
                return
            silence = np.zeros(round(rng.uniform(1, 3) * SAMPLE_RATE), np.float32)
            for samples in (read_audio(recording), silence):
                file.write(samples)
                written += len(samples)


def measure(options: argparse.Namespace) -> None:
    """Transcribe one recording in this process, and print its row of the table."""
    torch.set_num_threads(options.threads)
    recognizer = asr_s2s.load(options.model, options.device)
    started = time.perf_counter()
    recognizer.transcribe(options.one, beam_size=options.beam_size)
    elapsed = time.perf_counter() - started
    seconds = probe(options.one).duration
    # resource.getrusage is unsuitable: the peak of a child starts at the memory of its parent.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(f"| {seconds / 60:.3g} min | {elapsed / seconds:.4f} | {int(peak[1]) / 1024:.0f} MB |")


if __name__ == "__main__":
    main()
