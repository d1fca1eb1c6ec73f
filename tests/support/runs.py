"""Helpers that start, kill and resume training runs in real processes, as users do."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import asr_s2s.train.loop  # noqa: F401 - so that forked runs need not import it
from tests.support.commands import run_text_command
from tests.support.limits import TIMEOUT

SEVERAL = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
# One thread, as a different order of summation changes the last bit.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def start(corpus: Path, output: Path, *overrides: str, processes: int = 1) -> subprocess.Popen[str]:
    launcher = [*SEVERAL, str(processes)] if processes > 1 else []
    arguments = [str(corpus / "config.yaml"), *overrides, "-o", str(output)]
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "asr_s2s", "train", *arguments],
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def run(corpus: Path, output: Path, *overrides: str, processes: int = 1) -> tuple[int, str]:
    if processes == 1:
        done = run_text_command("train", corpus / "config.yaml", *overrides, "-o", output)
        return done.returncode, done.stderr
    process = start(corpus, output, *overrides, processes=processes)
    _, messages = process.communicate(timeout=TIMEOUT)
    return process.returncode, messages


def wait_for_step(output: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Wait until the run has logged a step, and so has saved the one before."""
    metrics = output / "metrics.jsonl"
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        lines = metrics.read_text().splitlines() if metrics.is_file() else []
        if any(json.loads(line)["step"] >= step for line in lines if line.endswith("}")):
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    pytest.fail(f"step {step} was not reached")


def training_state(output: Path) -> dict[str, object]:
    return torch.load(output / "last.pt", weights_only=True)


def logged(output: Path) -> list[dict[str, object]]:
    """Return the logged metrics, except speeds."""
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.endswith("_per_second")} for row in rows]


def assert_same(left: object, right: object) -> None:
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)
    else:
        assert left == right
