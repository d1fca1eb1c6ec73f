"""`asr-s2s serve` where it cannot begin."""

import subprocess
import sys
from pathlib import Path

import pytest
from servers import Server


def said(*options: str, before: str = "pass") -> str:
    """What the command writes to standard error before it ends with exit code 1."""
    arguments = ["asr-s2s", "serve", *options]
    program = f"import sys; {before}; sys.argv = {arguments!r}"
    program += "; from asr_s2s.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 1
    return done.stderr.decode()


def test_without_its_extra_it_says_what_to_install() -> None:
    message = said(before="sys.modules['uvicorn'] = None")
    assert message.count("\n") == 1
    assert "it needs uvicorn" in message
    assert "pip install 'asr-s2s[serve]'" in message


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--token", "\u00e9t\u00e9"), "--token: expected printable ASCII"),
        (("--host", "192.0.2.1"), "--host 192.0.2.1 --port 8000: cannot listen there"),
        (("--port", "0", "--model", "nowhere"), "nowhere: there is no such model folder"),
    ],
)
def test_what_it_cannot_use_is_one_message(options: tuple[str, ...], problem: str) -> None:
    message = said(*options)
    assert message.startswith(f"asr-s2s: {problem}")
    assert message.count("\n") == 1


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="two models are called digits"):
        Server(tmp_path, "--model", "digits", "--model", "digits")
