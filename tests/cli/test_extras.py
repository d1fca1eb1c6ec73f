"""The package without its extras: core commands work, others name the extra that they need."""

import subprocess
import sys
from pathlib import Path

import pytest

from asr_s2s.cli.main import EXTRAS
from tests.support.limits import TIMEOUT

RUN = """
import sys
for name in {missing}:
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
sys.argv = ["asr-s2s", *{arguments}]
from asr_s2s.cli.main import main
main()
"""


def run_without_extras(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    missing = [name for modules in EXTRAS.values() for name in modules]
    script = RUN.format(missing=missing, arguments=[str(argument) for argument in arguments])
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=TIMEOUT
    )


def test_transcribing_needs_no_extra(sample: Path) -> None:
    done = run_without_extras("transcribe", sample, "--model", "digits", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert sample.with_suffix(".txt").read_text().strip() in done.stdout


def test_the_microphone_names_its_extra() -> None:
    done = run_without_extras("listen", "--model", "digits")
    assert done.returncode == 1
    assert "asr-s2s[live]" in done.stderr
    assert "Traceback" not in done.stderr


def test_translating_needs_no_extra(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("two dogs are playing in the snow.\n")
    done = run_without_extras("translate", text, "--model", "en-de")
    assert done.returncode == 0, done.stderr
    assert "hunde" in done.stdout.lower()


@pytest.mark.parametrize(
    ("command", "name", "options"),
    [
        ("train", "a.yaml", ()),
        ("check", "a.jsonl", ()),
        ("evaluate", "a.jsonl", ("--model", "digits")),
    ],
)
def test_other_commands_name_their_extra(
    command: str, name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text("{}\n")
    done = run_without_extras(command, path, *options)
    assert done.returncode == 1
    assert "asr-s2s[train]" in done.stderr
    assert "Traceback" not in done.stderr
