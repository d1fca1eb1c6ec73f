"""What all commands share: standard output, messages and help."""

import ast
import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import asr_s2s
from asr_s2s.cli.main import main
from asr_s2s.translator import READ_AHEAD

PACKAGE = Path(asr_s2s.__file__).parent
RECIPES = PACKAGE.parent / "recipes"


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    """Run a command in this process on a standard output of ASCII; what it wrote, as UTF-8."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    monkeypatch.setattr(sys, "argv", ["asr-s2s", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    sys.stdout.flush()
    return written.getvalue().decode()


@pytest.mark.parametrize(
    "arguments", ["transcribe a.wav", "translate", "evaluate --reference a --hypothesis b"]
)
def test_closed_standard_output_is_one_message(arguments: str) -> None:
    line = f"{sys.executable} -m asr_s2s {arguments} >&-"
    done = subprocess.run(["bash", "-c", line], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.startswith(b"asr-s2s: standard output: it is closed.")
    assert done.stderr.count(b"\n") == 1


def test_output_is_utf8_wherever_it_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = shutil.copytree(PACKAGE / "pretrained" / "digits", tmp_path / "zwölf")
    assert str(folder) in run_main(monkeypatch, "info", folder)


def test_help_says_when_piped_lines_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    told = " ".join(run_main(monkeypatch, "translate", "--help").split())
    assert f"{READ_AHEAD:,} lines are read before the first is answered" in told


def test_no_message_takes_parts_of_names_for_emoji() -> None:
    """rich would print file:100: as a file and a picture."""
    for path in [*PACKAGE.rglob("*.py"), *RECIPES.rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Console":
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert options.get("emoji") == "False", f"{path}:{node.lineno}"
