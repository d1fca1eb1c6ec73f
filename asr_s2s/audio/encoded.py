"""Access to the bytes of encoded recordings, and errors shared by the readers."""

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from asr_s2s.errors import AudioError

BLOCK = 1 << 18  # samples per channel read at once; bounds memory
LENGTH_TOLERANCE = 0.25  # s; headers of complete files are off by less
COPY_AGAIN = "Copy or download it again; `ffmpeg -i` may recover the rest into a new file"


def open_source(source: str | Path | BinaryIO, name: str) -> str | BinaryIO:
    """Return the path of a regular file, or else a seekable stream of the content.

    Raises:
        AudioError: the path is a folder, does not exist, or cannot be opened.
    """
    if not isinstance(source, str | Path):
        if not source.seekable():
            return io.BytesIO(source.read())
        source.seek(0)
        return source
    path = Path(source)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(name, "this is a folder, not a recording", "Give the files in it")
        return str(path) if stat.S_ISREG(mode) else io.BytesIO(path.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: OSError | ValueError) -> AudioError:
    if isinstance(error, FileNotFoundError):
        return AudioError(name, "there is no such file", "Check the path")
    reason = getattr(error, "strerror", None) or str(error)
    return AudioError(name, f"cannot be opened: {reason}", "Check the path and its permissions")


@contextmanager
def bytes_of(source: str | BinaryIO) -> Iterator[BinaryIO]:
    """Open the encoded bytes at their beginning; the position of a stream is restored on exit."""
    if isinstance(source, str):
        with Path(source).open("rb") as stream:
            yield stream
        return
    position = source.tell()
    source.seek(0)
    try:
        yield source
    finally:
        source.seek(position)


def cut_short(name: str, found: float, promised: float) -> AudioError:
    problem = f"is cut short: it contains {found:.2f} s of {promised:.2f} s"
    return AudioError(name, problem, COPY_AGAIN)
