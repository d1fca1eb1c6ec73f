"""Measure the real-time factor of transcription from files on disk.

    python benchmarks/transcribe.py [--model digits] [--rounds 5] [--threads 2] [RECORDING ...]

Every setting transcribes the same recordings once per round, and settings take turns within a
round, so that other load on the machine affects them equally. Medians over rounds are printed and
written to benchmarks/RESULTS.md.
"""

import argparse
import platform
import resource
import statistics
import time
from pathlib import Path

import torch
from report import processor, write_section

import asr_s2s
from asr_s2s.audio.decode import probe
from asr_s2s.pipeline import Transcriber

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "docs" / "samples" / "digits.wav"
BEAMS = (1, 10)
BATCHES = (1, 16)
RECORDINGS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recordings", nargs="*", type=Path, default=[SAMPLE])
    parser.add_argument("--model", default="digits")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    recognizer = asr_s2s.load(options.model, options.device)
    files = options.recordings * max(1, RECORDINGS // len(options.recordings))
    seconds = [probe(path).duration for path in files]
    settings = [(beam, batch) for beam in BEAMS for batch in BATCHES]
    times: dict[tuple[int, int], list[float]] = {setting: [] for setting in settings}
    for number in range(options.rounds + 1):
        for setting in settings:
            elapsed = transcribe(recognizer, files, seconds, *setting)
            if number > 0:  # the first round is a warm-up
                times[setting].append(elapsed)
    report = table(options, sum(seconds), len(files), times)
    print(report)
    write_section("transcribe", report)


def transcribe(
    recognizer: Transcriber, files: list[Path], seconds: list[float], beam: int, batch: int
) -> float:
    """Seconds to read and transcribe the files."""
    started = time.perf_counter()
    for _ in recognizer.stream(files, beam_size=beam, batch_seconds=1.001 * max(seconds) * batch):
        pass
    return time.perf_counter() - started


def table(
    options: argparse.Namespace,
    total: float,
    count: int,
    times: dict[tuple[int, int], list[float]],
) -> str:
    """Format the report as Markdown."""
    reference = statistics.median(times[1, 1])
    rows = [
        f"| {beam} | {batch} | {statistics.median(t) / total:.4f} | "
        f"{total / statistics.median(t):.0f} | {reference / statistics.median(t):.2f} |"
        for (beam, batch), t in times.items()
    ]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else processor()
    return "\n".join(
        [
            "# Speed of transcription",
            "",
            f"`python benchmarks/transcribe.py --model {options.model} --device {options.device} "
            f"--rounds {options.rounds} --threads {options.threads}`",
            "",
            f"{count} recordings of {total / count:.1f} s on average, read from disk; "
            f"medians of {options.rounds} interleaved rounds; {where}, {options.threads} threads; "
            f"Python {platform.python_version()}, torch {torch.__version__}, "
            f"asr_s2s {asr_s2s.__version__}; peak memory {memory:.0f} MB.",
            "",
            "| beam | batch | real-time factor | seconds of audio per second | speed relative to "
            "beam 1, batch 1 |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
