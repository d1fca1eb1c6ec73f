"""The command `asr-s2s explain`, run as a process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import run_text_command


def explain(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return run_text_command("explain", *arguments, stdin=stdin)


def test_a_sentence_is_explained_and_checked(tmp_path: Path) -> None:
    options = ("--model", "en-de", "--output-text", "Ein Hund.", "--device", "cpu", "--check")
    done = explain("-", *options, "-o", tmp_path / "new" / "e.json", stdin="A dog.\n")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("integrated gradients are complete within 0.")
    assert lines[1].startswith("rank correlation with random weights: ")
    assert lines[2] == f"written to {tmp_path / 'new' / 'e.json'}"
    record = json.loads((tmp_path / "new" / "e.json").read_text("utf-8"))
    assert record["source"] == ["A", "dog."]
    assert record["seconds"] is record["times"] is None
    assert [word["text"] for word in record["words"]] == ["Ein", "Hund."]
    for word in record["words"]:
        gain = word["log_prob"] - word["baseline_log_prob"]
        assert sum(word["integrated_gradients"]) == pytest.approx(gain, rel=0.011)
        assert len(word["occlusion"]) == 2
    assert set(record["random_weights"]) == {"integrated_gradients", "occlusion"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("x", "--model", "en-de", "-o", "a.pdf"), "a.pdf: expected a file that ends in .png"),
        (("lost.wav", "--model", "digits"), "lost.wav: there is no such file"),
        ((" ", "--model", "en-de"), "SOURCE: there is no text"),
        (("x", "--model", "en-de", "--output-text", " "), "there is no word to explain"),
    ],
)
def test_user_errors_are_one_line_on_stderr(arguments: tuple[str, ...], problem: str) -> None:
    done = explain(*arguments)
    assert done.returncode == 1
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_captum_is_reported_with_its_installation(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'captum' else find(name, *rest)\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import sitecustomize; "
    program = f"{code}from asr_s2s.cli.main import main; main()"
    command = [sys.executable, "-c", program, "explain", "x", "--model", "en-de"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "asr-s2s: captum: it is not installed. Install it with pip install 'asr-s2s[explain]'.\n"
    )
