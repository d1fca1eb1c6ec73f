"""Behavior that all commands share: standard output, messages, help and shell completion."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import asr_s2s
from asr_s2s.cli.main import app, main
from asr_s2s.translator import READ_AHEAD

PACKAGE = Path(asr_s2s.__file__).parent
RECIPES = PACKAGE.parent / "recipes"
DOCS = PACKAGE.parent / "docs"


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    """Run a command in this process with standard output in ASCII, and return its output."""
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


def test_output_is_utf8_in_any_locale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = shutil.copytree(PACKAGE / "pretrained" / "digits", tmp_path / "zwölf")
    assert str(folder) in run_main(monkeypatch, "info", folder)


def test_help_names_the_number_of_piped_lines_read_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = " ".join(run_main(monkeypatch, "translate", "--help").split())
    assert f"{READ_AHEAD:,} lines are read at a time" in text


def test_list_of_commands_has_complete_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = run_main(monkeypatch, "--help").partition("Commands:\n")[2]
    descriptions = {words[0]: words[-1] for words in map(str.split, listed.splitlines())}
    assert list(descriptions) == [command.name for command in get_command(app).commands.values()]
    assert all(last.endswith(".") and "..." not in last for last in descriptions.values())


@pytest.mark.parametrize("name", get_command(app).commands)
def test_help_has_the_placeholders_of_the_documentation(name: str) -> None:
    text = CliRunner().invoke(app, [name, "--help"], prog_name="asr-s2s").stdout
    section = (DOCS / "commands.md").read_text("utf-8").partition(f"\n## {name}\n")[2]
    section = section.partition("\n## ")[0]
    usage, *placeholders = re.findall(r"^(asr-s2s .*)$|^\| `(.*?)` \|", section, re.MULTILINE)
    assert f"Usage: {usage[0]}\n" in text
    assert placeholders
    for _, placeholder in placeholders:
        assert f"\n  {placeholder}" in text


def test_shell_completion_lists_commands_and_options() -> None:
    program = Path(sys.executable).with_name("asr-s2s")
    for words, expected in (("tra", "train transcribe translate"), ("train --dev", "--device")):
        environment = os.environ | {
            "_ASR_S2S_COMPLETE": "complete_bash",
            "COMP_WORDS": f"asr-s2s {words}",
            "COMP_CWORD": str(len(words.split())),
        }
        done = subprocess.run([program], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert sorted(done.stdout.split()) == sorted(expected.split())
    # Otherwise the shell is the one that runs the tests.
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(
        [program, "--show-completion", "bash"], env=environment, capture_output=True, text=True
    )
    assert script.returncode == 0, script.stderr
    assert "_ASR_S2S_COMPLETE=complete_bash" in script.stdout


def test_help_takes_less_than_half_a_second_of_processor_time() -> None:
    resource = pytest.importorskip("resource")
    program = Path(sys.executable).with_name("asr-s2s")
    subprocess.run([program, "--help"], capture_output=True, check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.5


def test_consoles_do_not_replace_parts_of_file_names_by_emoji() -> None:
    """By default, rich replaces `:100:` in a file name by an emoji."""
    for path in [*PACKAGE.rglob("*.py"), *RECIPES.rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Console":
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert options.get("emoji") == "False", f"{path}:{node.lineno}"
