"""`asr-s2s translate` in pipes: a program that waits for each answer, and encodings of text."""

import codecs
import subprocess
import sys
from pathlib import Path

import pytest

from asr_s2s.text_files import read_lines
from asr_s2s.translator import Translator
from tests.support.limits import TIMEOUT
from tests.support.text_models import write_text_model

LINES = ["x y", "", "zz\u2028y", "x\x0by", " ", "y\x85z\x1cx\u00a0", "x\x0cz"]
"""Lines with characters that end a line for `str.splitlines`, and blank ones."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_model(tmp_path_factory.mktemp("pipes") / "model")


@pytest.fixture(scope="module")
def expected(model: Path) -> str:
    return "".join(f"{one.text}\n" for one in Translator.load(model, "cpu").translate(LINES))


def command(model: Path, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "asr_s2s", "translate", *map(str, arguments), "--model",
            str(model), "--device", "cpu"]  # fmt: skip


def test_a_program_that_writes_a_line_and_waits_gets_its_answer(model: Path, expected: str) -> None:
    with subprocess.Popen(
        command(model, "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        answers = b""
        for line in LINES:
            content = f"{line}\n".encode()
            process.stdin.write(content[:1])  # not a line yet
            process.stdin.flush()
            process.stdin.write(content[1:])
            process.stdin.flush()
            answers += process.stdout.readline()  # a test that hangs here has failed
        process.stdin.write(b"x y\nz z\n\nx")
        process.stdin.flush()
        several = [process.stdout.readline() for _ in range(3)]
        process.stdin.close()
        last = process.stdout.readline()
        assert process.wait(TIMEOUT) == 0
    assert answers.decode() == expected
    translator = Translator.load(model, "cpu")
    assert [answer.decode().rstrip("\n") for answer in (*several, last)] == [
        one.text for one in translator.translate(["x y", "z z", "", "x"])
    ]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-8", codecs.BOM_UTF8), ("utf-8", b""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_i_answers_line_i_in_any_encoding(
    model: Path, expected: str, tmp_path: Path, encoding: str, mark: bytes, ending: str
) -> None:
    content = mark + ending.join(LINES).encode(encoding)
    (tmp_path / "text.txt").write_bytes(content)
    assert read_lines(tmp_path / "text.txt") == LINES
    for arguments in (["-"], [tmp_path / "text.txt"]):
        done = subprocess.run(
            command(model, *arguments), input=content, capture_output=True, timeout=TIMEOUT
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode() == expected


def test_half_a_character_of_utf16_is_reported(model: Path) -> None:
    content = codecs.BOM_UTF16_LE + "x y\n".encode("utf-16-le") + b"z"
    done = subprocess.run(command(model, "-"), input=content, capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 1
    assert done.stdout.count(b"\n") == 2
    assert done.stderr.startswith(b"asr-s2s: -:2:") and b"Traceback" not in done.stderr


def test_empty_input_gives_no_output(model: Path) -> None:
    done = subprocess.run(command(model, "-"), input=b"", capture_output=True, timeout=TIMEOUT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
