"""Compare training and decoding speed with other toolkits, on the same work at the same sizes.

    benchmarks/peers/install.sh
    python benchmarks/against_peers.py [--work asr_train ...] [--systems ours ...] [--rounds 5]

Each system runs each workload in a process of its own, with random weights, on random sources of
equal length, for a fixed number of steps, which is checked. All systems take turns within a round,
so that other load on the machine affects them equally. The tables are printed and written to
benchmarks/RESULTS.md.
"""

import argparse
import contextlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from peers.systems import SYSTEMS, System
from peers.work import Work, all_works
from report import RESULTS, processor, write_section

HERE = Path(__file__).parent
GROUPS = ("asr_train", "asr_decode", "text_train", "text_decode")
SECONDS = 0.3
"""Minimum duration of a system's turn, which is at least one run of the workload."""


class WorkerError(Exception):
    """A system failed on a workload."""


@dataclass
class Measured:
    """Time and memory of one system on one workload."""

    version: str
    torch: str
    seconds: list[float] = field(default_factory=list)
    """Mean time of a run in each round."""
    loaded: float = 0.0
    """Memory before the workload, in MB."""
    peak: float = 0.0
    """Peak memory, in MB."""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


class Worker:
    """Process that runs one workload on one system."""

    def __init__(self, system: System, work: Work, options: argparse.Namespace) -> None:
        command = [system.python, "-m", "peers.worker", system.module, json.dumps(asdict(work))]
        command += [*system.options, "--precision", system.precision]
        command += ["--device", options.device, "--threads", str(options.threads)]
        environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
        if system.environment is None:
            paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
            if work.training:  # as `asr-s2s train` does
                environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `stop` closes it
        self.process = subprocess.Popen(
            command,
            cwd=HERE,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.measured = Measured(**self.answer())

    def answer(self) -> dict[str, Any]:
        """Read the next line of the process.

        Raises:
            WorkerError: the process ended; the message is the last line of its standard error.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise WorkerError((self.errors.read().strip().splitlines() or ["no error message"])[-1])
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **question: Any) -> dict[str, Any]:
        """Send a request and return the answer."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the process ended: `answer` reports why
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        return self.answer()

    def time_once(self) -> None:
        """Time one turn and record it."""
        self.measured.seconds.append(self.ask(seconds=SECONDS)["seconds"])

    def finish(self) -> Measured:
        """End the measurement and return it, with memory."""
        memory = self.ask(end=True)
        self.measured.loaded, self.measured.peak = memory["loaded"], memory["peak"]
        return self.measured

    def stop(self) -> None:
        """Kill the process and wait for its end."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=("fp32", "bf16", "int8"),
        help="precisions of asr_s2s to run (default: all)",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=RESULTS, help="results file")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.precision:
        options.systems = [
            name
            for name in options.systems
            if SYSTEMS[name].precision in options.precision or not name.startswith("ours")
        ]

    notes: dict[str, None] = {}  # ordered set
    measured: dict[tuple[Work, str], Measured] = {}
    for work in all_works(options.tiny):
        if work.group not in options.work:
            continue
        for name, result in measure(work, options, notes).items():
            measured[work, name] = result
            print(f"{work.kind} {work.name}: {name} {result.median:.4f} s", file=sys.stderr)
    report = write_report(options, measured, list(notes))
    print(report)
    write_section("against_peers", report, options.results)


def measure(work: Work, options: argparse.Namespace, notes: dict[str, None]) -> dict[str, Measured]:
    """Run a workload in rounds on all systems that support it; failures are added to the notes."""
    workers: dict[str, Worker] = {}
    done: dict[str, Measured] = {}

    def fail(name: str, error: WorkerError) -> None:
        label = SYSTEMS[name].label
        notes[f"{label} failed on {work.kind} {work.name}: {error}."] = None

    for name in options.systems:
        system = SYSTEMS[name]
        if work.kind not in system.kinds or not system.supports(work.training):
            continue
        if system.precision == "int8" and options.device != "cpu":
            continue
        if not system.python.is_file():
            notes[f"{system.label} is not installed: `peers/install.sh {name}`."] = None
            continue
        try:
            workers[name] = Worker(system, work, options)
        except WorkerError as error:
            fail(name, error)
    try:
        for number in range(options.rounds):
            names = list(workers)
            first = number % max(1, len(names))  # rotate the order
            for name in names[first:] + names[:first]:
                try:
                    workers[name].time_once()
                except WorkerError as error:
                    fail(name, error)
                    workers.pop(name).stop()
        for name, worker in workers.items():
            try:
                done[name] = worker.finish()
            except WorkerError as error:
                fail(name, error)
    finally:
        for worker in workers.values():
            worker.stop()
    return done


def write_report(
    options: argparse.Namespace, measured: dict[tuple[Work, str], Measured], notes: list[str]
) -> str:
    """Format the tables as Markdown."""
    cuda = options.device.startswith("cuda")
    versions = dict.fromkeys(m.version for m in measured.values())
    torches = sorted({m.torch for m in measured.values()})
    where = torch.cuda.get_device_name() if cuda else processor()
    parts = [
        "# Speed compared with other toolkits",
        f"`{shlex.join(['python', 'benchmarks/against_peers.py', *sys.argv[1:]])}`",
        f"Medians of {options.rounds} interleaved rounds; in parentheses, the time relative to the "
        f"first column. {where}, {options.threads} threads; Python {platform.python_version()}, "
        f"torch {', '.join(torches)}; "
        f"{', '.join(v for v in versions if not v.startswith('torch'))}. "
        "Precision is fp32 unless bf16 or int8 is given.",
    ]
    for kind, title in (("speech", "Speech to text"), ("text", "Text to text")):
        works = list(dict.fromkeys(work for work, _ in measured if work.kind == kind))
        if not works:
            continue
        names = [n for n in options.systems if any((work, n) in measured for work in works)]
        parts.append(f"## {title}\n\n{SIZES[kind]}")
        seconds = [[time_cell(measured, work, name, names[0]) for name in names] for work in works]
        parts.append(table("seconds", works, names, seconds))
        memory = [[memory_cell(measured, work, name) for name in names] for work in works]
        held = "of tensors on the GPU" if cuda else "of the process"
        parts.append(f"Peak memory {held} in MB; in parentheses, memory before the workload.")
        parts.append(table("MB", works, names, memory))
    return "\n\n".join([*parts, DIFFERENCES, *(f"- {note}" for note in notes)])


def table(corner: str, works: list[Work], names: list[str], cells: list[list[str]]) -> str:
    """Format a table with a row per workload and a column per system."""
    rows = [[corner, *(SYSTEMS[name].label for name in names)], ["---"] * (len(names) + 1)]
    rows += [[work.name, *row] for work, row in zip(works, cells, strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def time_cell(
    measured: dict[tuple[Work, str], Measured], work: Work, name: str, reference: str
) -> str:
    """Format median seconds and their ratio to the reference."""
    if (work, name) not in measured:
        return "-"
    seconds = measured[work, name].median
    if name == reference or (work, reference) not in measured:
        return f"{seconds:.4g}"
    return f"{seconds:.4g} ({seconds / measured[work, reference].median:.2f})"


def memory_cell(measured: dict[tuple[Work, str], Measured], work: Work, name: str) -> str:
    """Format peak memory and memory before the workload, in MB."""
    if (work, name) not in measured:
        return "-"
    return f"{measured[work, name].peak:.0f} ({measured[work, name].loaded:.0f})"


SIZES = {
    "speech": "80 mel bins, 8 s per utterance; 3 BiLSTM layers of 256 units per direction over "
    "400, 200 and 100 steps (time reduction 8); LSTM decoder of 256 units, 500 tokens. Training: "
    "16 utterances of 40 tokens, joint CTC (0.3). Decoding: 60 steps; with CTC, prefix scores "
    "(0.3) of 20 candidates per hypothesis.",
    "text": "15 source tokens; 2 BiLSTM layers of 256 units per direction, LSTM decoder of 256 "
    "units, 8,000 tokens. Training: 64 pairs of 15 tokens. Decoding: 20 steps.",
}
DIFFERENCES = """Differences between the systems:

- Inputs are log-mel features or token ids. A training step is forward, backward, clipping and
  AdamW, without dropout and SpecAugment.
- `ours` has a query layer and additive attention. `ours, input feeding` resembles its peers: one
  layer that reads the previous context and, for speech, location-aware attention as in SpeechBrain
  and ESPnet. bf16 is autocast in training. int8 is 8-bit weights in decoding, which are
  multiplied in 8 bits, or in bf16 on processors with AMX.
- SpeechBrain has no pyramidal encoder: pairs of frames are joined between its LSTM layers. Beam 1
  without CTC is its greedy searcher.
- ESPnet (`espnet.nets`) drops every second frame instead of joining pairs and projects 512 channels
  to 512; pairs are joined for its first layer. On a GPU it computes CTC prefix scores of the whole
  vocabulary.
- OpenNMT-py requires a decoder like its encoder: linear layers between them project 512 channels
  to 256.
- fairseq is omitted: neither it nor its fork `fairseq-fixed` could be installed on Python 3.11.
- The last column has the matrix products of `ours` only, in the same order of steps."""


if __name__ == "__main__":
    main()
