"""Error messages of `asr-s2s serve` when it cannot start."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import Server


def error_message(*options: str, before: str = "pass") -> str:
    """Run the command, which must exit with code 1; returns its standard error output.

    `before` is Python code to run first.
    """
    arguments = ["asr-s2s", "serve", *options]
    program = f"import sys; {before}; sys.argv = {arguments!r}"
    program += "; from asr_s2s.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 1
    return done.stderr.decode()


def test_a_missing_extra_is_named_with_its_install_command() -> None:
    message = error_message(before="sys.modules['uvicorn'] = None")
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
def test_an_invalid_option_gives_a_one_line_error(options: tuple[str, ...], problem: str) -> None:
    message = error_message(*options)
    assert message.startswith(f"asr-s2s: {problem}")
    assert message.count("\n") == 1


def test_two_models_with_the_same_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="two models are called digits"):
        Server(tmp_path, "--model", "digits", "--model", "digits")
