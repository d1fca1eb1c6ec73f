"""`asr-s2s listen` with PCM from a pipe, as FFmpeg writes it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asr_s2s.audio.decode import read_audio
from asr_s2s.cli.listen import Printer
from asr_s2s.live import LiveUpdate
from asr_s2s.pipeline import Word
from asr_s2s.search.confidence import Evidence
from tests.support.commands import run_command
from tests.support.limits import TIMEOUT


@pytest.fixture(scope="module")
def pcm() -> bytes:
    sample = Path(__file__).parents[2] / "docs" / "samples" / "digits.wav"
    return (read_audio(sample) * 32767).astype("<i2").tobytes()


@pytest.fixture
def reference(sample: Path) -> str:
    return sample.with_suffix(".txt").read_text().strip()


def test_pcm_from_a_pipe_is_transcribed(pcm: bytes, reference: str) -> None:
    done = run_command("listen", "-", "--model", "digits", stdin=pcm)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().split() == reference.split()
    assert b"\x1b" not in done.stdout


def test_another_rate_and_half_a_sample_at_the_end(pcm: bytes, reference: str) -> None:
    doubled = np.repeat(np.frombuffer(pcm, "<i2"), 2).tobytes() + b"\0"
    done = run_command("listen", "-", "--model", "digits", "--rate", 32000, stdin=doubled)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().split() == reference.split()


def test_no_audio_prints_nothing() -> None:
    done = run_command("listen", "-", "--model", "digits", stdin=b"")
    assert (done.returncode, done.stdout) == (0, b"")


def test_ctrl_c_prints_the_last_words(pcm: bytes, reference: str) -> None:
    command = [sys.executable, "-m", "asr_s2s", "listen", "-", "--model", "digits"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(pcm + bytes(32_000) + pcm)
        process.stdin.flush()
        first = process.stdout.read(1)  # of the first utterance; the pipe stays open
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(TIMEOUT) == 0
    # At most 2 s of the second utterance were still in the pipe.
    words, expected = (first + rest).decode().split(), reference.split()
    assert words[: len(expected)] == expected
    assert len(words) > len(expected)


@pytest.mark.parametrize("source", ["talk.wav", "mic"])
def test_another_source_is_refused(source: str) -> None:
    done = run_command("listen", source, "--model", "digits")
    assert done.returncode == 1
    assert b"asr-s2s transcribe" in done.stderr


class Terminal:
    """A file that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_tentative_words_are_redrawn_on_a_terminal() -> None:
    def words(*texts: str) -> tuple[Word, ...]:
        return tuple(Word(t, 0.0, 0.0, 1.0, Evidence(0.0, 0.0, 0.0, 0.0)) for t in texts)

    terminal = Terminal()
    printer = Printer(terminal)  # type: ignore[arg-type]
    printer.show(LiveUpdate((), words("one", "too")))
    assert terminal.text == "\x1b[2mone too\x1b[0m"
    printer.show(LiveUpdate(words("one"), words("two")))
    assert terminal.text.endswith("\x1b[7D\x1b[Kone\x1b[2m two\x1b[0m")
    printer.show(LiveUpdate(words("two"), (), True))
    assert terminal.text.endswith("\x1b[4D\x1b[K two\n")
