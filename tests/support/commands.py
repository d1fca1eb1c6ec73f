"""Runs commands and scripts in processes forked from this one, which need not import torch again.

Such a process has its own streams, exit code, working directory and memory. Tests of what happens
when Python starts, or of signals, start a real one instead.
"""

import logging
import os
import runpy
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import NoReturn

import torch

from asr_s2s.cli.main import main


def run_command(
    *arguments: object, stdin: bytes = b"", cwd: Path | None = None
) -> CompletedProcess[bytes]:
    """Run `asr-s2s` with these arguments, with standard input from a pipe."""
    return _run(main, ["asr-s2s", *map(str, arguments)], stdin, cwd)


def run_text_command(
    *arguments: object, stdin: str = "", cwd: Path | None = None
) -> CompletedProcess[str]:
    """Run `asr-s2s` as `run_command` does, with input and output as text."""
    return _as_text(run_command(*arguments, stdin=stdin.encode(), cwd=cwd))


def run_script(script: Path, *arguments: object) -> CompletedProcess[str]:
    """Run a Python script with these arguments."""

    def run() -> None:
        sys.path.insert(0, str(script.parent))
        runpy.run_path(str(script), run_name="__main__")

    return _as_text(_run(run, [str(script), *map(str, arguments)], b"", None))


def _as_text(done: CompletedProcess[bytes]) -> CompletedProcess[str]:
    return CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def _run(
    program: Callable[[], None], words: list[str], stdin: bytes, cwd: Path | None
) -> CompletedProcess[bytes]:
    """Run a function in a forked process, with `words` as `sys.argv`."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            os.close(writing)
            _become(program, words, (reading, output.fileno(), errors.fileno()), cwd)
        os.close(reading)
        feeder = threading.Thread(target=_feed, args=(writing, stdin))
        feeder.start()
        try:
            _, status = os.waitpid(child, 0)
        except BaseException:  # a test that times out
            os.kill(child, signal.SIGKILL)
            raise
        feeder.join()
        output.seek(0)
        errors.seek(0)
        code = os.waitstatus_to_exitcode(status)
        return CompletedProcess(words, code, output.read(), errors.read())


def _feed(writing: int, data: bytes) -> None:
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data)
    except BrokenPipeError:  # the command did not read all of it
        pass


def _become(
    program: Callable[[], None],
    words: list[str],
    streams: tuple[int, int, int],
    cwd: Path | None,
) -> NoReturn:
    """Turn this forked process into that of a program, and end it.

    Args:
        streams: file descriptors of standard input, output and error.
    """
    code: object = 1
    try:
        for descriptor, stream in enumerate(streams):
            os.dup2(stream, descriptor)
        sys.stdin = open(0)  # noqa: SIM115 - open to the end of the process
        sys.stdout = open(1, "w")  # noqa: SIM115
        sys.stderr = open(2, "w", errors="backslashreplace")  # noqa: SIM115
        _undo_pytest()
        # With GLIBC_TUNABLES set, `train` does not start again.
        os.environ |= {"COLUMNS": "200", "GLIBC_TUNABLES": ""}
        torch.set_num_threads(1)  # the threads of the parent do not exist here
        os.chdir(cwd or os.curdir)
        sys.argv = words
        program()
        code = 0
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _undo_pytest() -> None:
    """Restore Python's own treatment of warnings, log messages and signals."""
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    warnings.showwarning = lambda message, category, file, line, *_: print(
        warnings.formatwarning(message, category, file, line), file=sys.stderr
    )
    logging.getLogger().handlers.clear()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
