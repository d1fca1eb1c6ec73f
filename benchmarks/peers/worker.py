"""Run one workload on one system in this process, controlled by JSON lines.

    cd benchmarks; python -m peers.worker MODULE WORK

WORK is a `Work` as a JSON object. The process writes a line when it is ready. To each request
`{"seconds": s}` it answers the mean time of at least one run and at least s seconds of runs;
to `{"end": true}` it answers its memory and exits.
"""

import argparse
import importlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import torch
from peers.case import Case, Count
from peers.work import Setting, Work


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("work", type=json.loads)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--input-feeding", action="store_true")
    options = parser.parse_args()

    # Output of the system goes to standard error, so that standard output has answers only.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    device = torch.device(options.device)
    setting = Setting(device, options.precision, options.input_feeding)
    work = Work(**options.work)
    system = importlib.import_module(f"peers.{options.module}")
    loaded = memory(device, peak=False)
    case: Case = system.build(work, setting)
    for _ in range(3 if work.training else 1):  # warm-up: memory is allocated by the third step
        case.run()
    if case.output_layer is not None:
        count = Count(case.output_layer)
        case.run()
        count.check(work)
    answer(version=system.version(), torch=torch.__version__)
    for line in sys.stdin:
        request = json.loads(line)
        if "end" in request:
            answer(loaded=loaded, peak=memory(device, peak=True))
            return
        answer(seconds=measure(case, device, request["seconds"]))


def measure(case: Case, device: torch.device, least: float) -> float:
    """Mean seconds of a run, over at least `least` seconds."""
    runs, started = 0, time.perf_counter()
    while True:
        case.run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        runs += 1
        elapsed = time.perf_counter() - started
        if elapsed >= least:
            return elapsed / runs


def memory(device: torch.device, peak: bool) -> float:
    """Current or peak memory in MB: of the process, or of tensors on the GPU."""
    if device.type == "cuda":
        held = torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
        return held / 1024**2
    # resource.getrusage is unsuitable: the peak of a child starts at the memory of its parent.
    key = "VmHWM" if peak else "VmRSS"
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
