"""Profile asr_s2s on the workloads of `against_peers.py`, by kind of operation.

    python benchmarks/where_time_goes.py [--work asr_decode ...]

Each workload runs with 8-bit weights (decoding) or in bfloat16 (training, if the processor supports
it), as in the fastest column of `against_peers.py`, with and without PyTorch's profiler. The time
of tensor operations is summed by kind; the rest of the time is attributed to Python. The table is
printed and written to benchmarks/RESULTS.md.
"""

import argparse
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from against_peers import GROUPS
from peers import with_ours
from peers.work import Setting, Work, all_works
from report import RESULTS, processor, write_section
from torch.profiler import ProfilerActivity, profile

from asr_s2s.nn.low_precision import multiplies_bf16

KINDS = {
    "LSTM layers": ("aten::mkldnn_rnn_layer",),
    "matrix products": (
        *("quantized::linear", "mkldnn::_linear_pointwise"),
        *("aten::mm", "aten::addmm", "aten::bmm"),
    ),
    "top-k and sort": ("aten::topk", "aten::sort"),
}
"""Prefixes of operation names, by kind."""
OTHERS = "other operations"
RUNS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS, help="results file")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    rows = [row(work) for work in all_works(options.tiny) if work.group in options.work]
    report = "\n".join(
        [
            "# Where the time goes",
            "",
            f"`{shlex.join(['python', 'benchmarks/where_time_goes.py', *sys.argv[1:]])}`",
            "",
            f"The workloads of `against_peers.py`, decoding with 8-bit weights and training in "
            f"{training_precision()}, each with a query layer. Percentages are shares of the time; "
            f"the last two columns are the number of other operations and the mean time of one. "
            f"{processor()}, {options.threads} threads; "
            f"Python {platform.python_version()}, torch {torch.__version__}.",
            "",
            f"| work | seconds | {' | '.join(KINDS)} | {OTHERS} | Python | number | µs each |",
            "|---" * (len(KINDS) + 6) + "|",
            *rows,
        ]
    )
    print(report)
    write_section("where_time_goes", report, options.results)


def row(work: Work) -> str:
    """Measure a workload and format its row of the table."""
    torch.manual_seed(0)
    precision = training_precision() if work.training else "int8"
    case = with_ours.build(work, Setting(torch.device("cpu"), precision))
    for _ in range(2):
        case.run()
    seconds = statistics.median(timed(case.run) for _ in range(RUNS))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        profiled = timed(case.run)
    spent, count = dict.fromkeys([*KINDS, OTHERS], 0.0), 0
    for operation in profiler.key_averages():
        kind = next((k for k, names in KINDS.items() if operation.key.startswith(names)), OTHERS)
        spent[kind] += operation.self_cpu_time_total / 1e6
        count += operation.count if kind == OTHERS else 0
    python = max(0.0, profiled - sum(spent.values()))
    parts = [f"{part / profiled:.0%}" for part in (*spent.values(), python)]
    title = f"{work.kind}, {work.name}"
    each = 1e6 * spent[OTHERS] / max(count, 1)
    return f"| {title} | {seconds:.4g} | {' | '.join(parts)} | {count} | {each:.1f} |"


def training_precision() -> str:
    """Precision that training uses on this processor."""
    return "bf16" if multiplies_bf16() else "fp32"


def timed(run: Callable[[], object]) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
