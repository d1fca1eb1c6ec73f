"""Standard input, and files in its place, as sources of recordings and of text."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from asr_s2s.errors import AudioError, TextError

STDIN = "-"
"""Source name of standard input."""
AUDIO_BEGINNINGS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"\0\0\0")
"""First bytes of recordings: WAV, FLAC, Ogg, MP3, WebM and MP4; each is followed by zero bytes."""


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
    """Lines of a file or of standard input.

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
        self._content: list[bytes] | None = None
        self.typed = source == STDIN and sys.stdin is not None and sys.stdin.isatty()
        """Whether lines come from a terminal, so that each must be translated at once."""
        if source != STDIN:
            from asr_s2s.text_files import read_bytes

            self._content = read_bytes(Path(source), "text file").split(b"\n")
            if not self._content[-1]:
                self._content.pop()
            self.total = len(self._content)

    def __iter__(self) -> Iterator[str]:
        if self._content is None and sys.stdin is None:
            raise TextError(STDIN, "standard input is closed", "Pipe text to the command")
        raw = self._content if self._content is not None else sys.stdin.buffer
        for number, line in enumerate(raw, start=1):
            line = line.rstrip(b"\r\n")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
                if line.startswith(AUDIO_BEGINNINGS) and b"\0" in line:
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
