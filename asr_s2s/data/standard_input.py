"""Standard input, and files in its place, as sources of recordings and of text."""

import codecs
import io
import os
import select
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from asr_s2s.errors import AudioError, TextError
from asr_s2s.text_files import UTF16

STDIN = "-"
"""Source name of standard input."""
AUDIO_BEGINNINGS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"\0\0\0")
"""First bytes of recordings: WAV, FLAC, Ogg, MP3, WebM and MP4; each is followed by zero bytes."""
MARKS = (*UTF16, codecs.BOM_UTF8)
"""Byte order marks."""
BLOCK = 65_536
"""Maximum bytes read at once."""


def read_recording() -> BinaryIO:
    """Read all of standard input into memory, as audio readers need to seek.

    Raises:
        AudioError: standard input is closed.
    """
    if sys.stdin is None:
        raise AudioError(STDIN, "standard input is closed", "Pipe a recording to the command")
    data = io.BytesIO(sys.stdin.buffer.read())
    data.name = STDIN
    return data


class Lines:
    """Lines of a file or of standard input, in UTF-8, or in UTF-16 with a byte order mark.

    Bytes that are not valid UTF-8 are removed, and an error for the line is added to `errors`.

    Args:
        source: a file, or - for standard input.

    Raises:
        ManifestError: the file does not exist or cannot be read.
        TextError: while lines are read: standard input is closed, or is a recording.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.errors: list[TextError] = []
        self.total: int | None = None
        """Number of lines of a file; None for standard input."""
        self._splitter = _Splitter()
        self._ended = False
        if source != STDIN:
            from asr_s2s.text_files import read_bytes

            self._splitter.add(read_bytes(Path(source), "text file"))
            self._end()
            self.total = len(self._splitter.lines)

    def waiting(self) -> bool:
        """Return whether the next line, or the end, can be read without waiting for it."""
        while not self._splitter.lines and not self._ended and self._readable():
            self._read()
        return bool(self._splitter.lines) or self._ended

    def __iter__(self) -> Iterator[str]:
        if not self._ended and sys.stdin is None:
            raise TextError(STDIN, "standard input is closed", "Pipe text to the command")
        number = 0
        while True:
            while not self._splitter.lines and not self._ended:
                self._read()
            if not self._splitter.lines:
                return
            number += 1
            line = self._splitter.lines.popleft()
            if number == 1 and line.startswith(AUDIO_BEGINNINGS) and b"\0" in line:
                raise TextError(
                    self.source,
                    "this is a recording, not text",
                    "Transcribe it with asr-s2s transcribe, and translate its output",
                )
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                problem = f"byte {error.start + 1} is not UTF-8; invalid bytes were removed"
                self.errors.append(
                    TextError(f"{self.source}:{number}", problem, "Save the text as UTF-8")
                )
                yield line.decode("utf-8", errors="ignore")

    def _read(self) -> None:
        """Read what is there of standard input, or wait for more."""
        # Unlike the buffer of `sys.stdin`, which waits for a whole block or the end.
        block = os.read(sys.stdin.fileno(), BLOCK)
        if block:
            self._splitter.add(block)
        else:
            self._end()

    def _end(self) -> None:
        self._splitter.finish()
        self._ended = True

    @staticmethod
    def _readable() -> bool:
        """Return whether reading standard input does not block."""
        try:
            return bool(select.select([sys.stdin.fileno()], [], [], 0)[0])
        except OSError:  # Windows can tell this of sockets only
            return True


class _Splitter:
    """Splits blocks of bytes into lines of UTF-8 without their ends, `lines`."""

    def __init__(self) -> None:
        self.lines: deque[bytes] = deque()
        self._start: bytes | None = b""
        """Bytes that may be the beginning of a byte order mark; None once the encoding is known."""
        self._rest = b""
        """Beginning of a line."""
        self._utf16: codecs.IncrementalDecoder | None = None

    def add(self, block: bytes) -> None:
        """Add a block of bytes."""
        if self._start is not None:
            self._start += block
            if any(len(self._start) < len(m) and m.startswith(self._start) for m in MARKS):
                return
            block = self._detect()
        self._split(block)

    def finish(self) -> None:
        """Add the last line, if it has no end."""
        if self._start:
            self._split(self._detect())
        if self._utf16 is not None and self._utf16.getstate()[0]:
            self._rest += b"\xff"  # half a character is reported as a byte that is not UTF-8
        if self._rest:
            self.lines.append(self._rest.rstrip(b"\r"))
        self._rest = b""

    def _detect(self) -> bytes:
        """Find the encoding; returns the first bytes without a byte order mark of UTF-8."""
        start, self._start = self._start or b"", None
        if start.startswith(UTF16):
            self._utf16 = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        return start.removeprefix(codecs.BOM_UTF8)

    def _split(self, block: bytes) -> None:
        if self._utf16 is not None:
            # Half of a surrogate pair becomes bytes that are not UTF-8, and is reported as such.
            block = self._utf16.decode(block).encode("utf-8", "surrogatepass")
        *lines, self._rest = (self._rest + block).split(b"\n")
        self.lines.extend(line.rstrip(b"\r") for line in lines)
