"""Measure how time and memory grow with length, batch, beam and vocabulary.

    python benchmarks/scaling.py [--factors 1 2 4 8] [--rounds 3] [--plot benchmarks/scaling.svg]

One size at a time is multiplied, starting from the speech workloads of `against_peers.py`: 16
utterances of 8 s, 500 tokens, beam 10 with CTC prefix scores. The number of output tokens grows
with length. Each size runs in processes of its own, and all sizes take turns within a round. The
exponent is the slope of a line through the logarithms: 1 means twice the time for twice the size.
The table is printed and written to benchmarks/RESULTS.md, the curves are plotted.
"""

import argparse
import platform
import shlex
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from against_peers import Measured, Worker
from peers.systems import SYSTEMS
from peers.work import Work, all_works
from report import RESULTS, processor, write_section

HERE = Path(__file__).parent
GROWN = ("length", "batch", "beam", "vocabulary")


class Curve(NamedTuple):
    """Measurements of a workload as one of its sizes grows."""

    work: str
    size: str
    values: list[int]
    seconds: list[float]
    megabytes: list[float]
    """Peak memory minus memory before the workload."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--factors", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--sizes", nargs="+", choices=GROWN, default=list(GROWN))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--input-feeding", action="store_true")
    parser.add_argument("--plot", type=Path, default=HERE / "scaling.svg")
    parser.add_argument("--results", type=Path, default=RESULTS, help="results file")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if len(set(options.factors)) < 2:
        parser.error("--factors needs at least two different values")

    works = {work.name: work for work in all_works(options.tiny) if work.kind == "speech"}
    training = works["training step"]
    decoding = list(works.values())[-1]
    curves = []
    for title, work in (("training", training), ("decoding", decoding)):
        for size in options.sizes:
            if work.training and size == "beam":
                continue
            curves.append(measure(title, work, size, options))
            print(title, size, curves[-1].seconds, file=sys.stderr)
    draw(curves, options.plot)
    report = write_report(options, curves)
    print(report)
    write_section("scaling", report, options.results)


def grow(work: Work, size: str, factor: int) -> Work:
    """Multiply one size of a workload; outputs grow with the length of the source."""
    value = getattr(work, size) * factor
    if size == "length":
        tokens, steps = work.tokens * factor, work.steps * factor
        return replace(work, length=value, tokens=tokens, steps=steps)
    if size == "batch":
        return replace(work, batch=value)
    if size == "beam":
        return replace(work, beam=value)
    return replace(work, vocabulary=value)


def measure(title: str, work: Work, size: str, options: argparse.Namespace) -> Curve:
    """Run a workload at all sizes in rounds, one process at a time to limit memory."""
    name = "ours-feeding" if options.input_feeding else "ours"
    grown = [grow(work, size, factor) for factor in options.factors]
    measured: list[list[Measured]] = [[] for _ in grown]
    for number in range(options.rounds):
        for index in np.roll(range(len(grown)), number):
            worker = Worker(SYSTEMS[name], grown[index], options)
            try:
                worker.time_once()
                measured[index].append(worker.finish())
            finally:
                worker.stop()
    return Curve(
        title,
        size,
        [getattr(one, size) for one in grown],
        [statistics.median(one.median for one in rounds) for rounds in measured],
        [statistics.median(one.peak - one.loaded for one in rounds) for rounds in measured],
    )


def exponent(sizes: list[int], values: list[float]) -> float:
    """Exponent p of values that grow as size ** p, by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def draw(curves: list[Curve], path: Path) -> None:
    """Plot seconds and memory against the factor of the size, with logarithmic axes."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    works = list(dict.fromkeys(curve.work for curve in curves))
    figure, axes = plt.subplots(
        2, len(works), figsize=(4.2 * len(works), 6.4), squeeze=False, layout="constrained"
    )
    for column, work in enumerate(works):
        for curve in (curve for curve in curves if curve.work == work):
            factors = [value / curve.values[0] for value in curve.values]
            axes[0][column].loglog(factors, curve.seconds, marker="o", label=curve.size)
            axes[1][column].loglog(factors, curve.megabytes, marker="o", label=curve.size)
        axes[0][column].set(title=work, ylabel="seconds")
        axes[1][column].set(ylabel="MB", xlabel="factor of the size")
        for axis in axes[:, column]:
            axis.set_xticks(factors, [f"{factor:g}" for factor in factors])
            axis.set_xticks([], minor=True)
            axis.grid(alpha=0.3)
        axes[0][column].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def write_report(options: argparse.Namespace, curves: list[Curve]) -> str:
    """Format the table as Markdown."""
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else processor()
    rows = [
        f"| {curve.work} | {curve.size} | {listed(curve.values, 'd')} | "
        f"{listed(curve.seconds, '.3g')} | {exponent(curve.values, curve.seconds):.2f} | "
        f"{listed(curve.megabytes, '.0f')} | {exponent(curve.values, curve.megabytes):.2f} |"
        for curve in curves
    ]
    try:
        plot = options.plot.resolve().relative_to(options.results.resolve().parent)
    except ValueError:
        plot = options.plot
    return "\n".join(
        [
            "# How time and memory grow",
            "",
            f"`{shlex.join(['python', 'benchmarks/scaling.py', *sys.argv[1:]])}`",
            "",
            "The speech workloads of `against_peers.py`, one size multiplied at a time; medians "
            f"of {options.rounds} interleaved rounds; {where}, {options.threads} threads; Python "
            f"{platform.python_version()}, torch {torch.__version__}. Memory is peak minus "
            "memory before the workload. Length is in frames of 10 ms.",
            "",
            "| work | size | values | seconds | exponent | MB | exponent |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"![Seconds and memory against size]({plot.as_posix()})",
        ]
    )


def listed(values: list[float] | list[int], form: str) -> str:
    """Format numbers as a comma-separated list."""
    return ", ".join(format(value, form) for value in values)


if __name__ == "__main__":
    main()
