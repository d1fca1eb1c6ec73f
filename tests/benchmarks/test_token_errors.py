"""The benchmark of token error rates, on the shipped sample."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.limits import TIMEOUT

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "token_errors.py"


def test_the_token_error_rate_of_the_shipped_sample(sample: Path, tmp_path: Path) -> None:
    text = sample.with_suffix(".txt").read_text().strip()
    manifest = tmp_path / "sample.jsonl"
    manifest.write_text(json.dumps({"audio": str(sample), "text": text}) + "\n")
    done = subprocess.run(
        [sys.executable, SCRIPT, manifest, "--model", "digits"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    name, rate, count = done.stdout.strip().split("\t")
    assert (name, count) == ("sample", "1 utterances")
    assert 0.0 <= float(rate.removesuffix(" %")) < 30.0
