"""Chained Ogg files: several recordings one after another, as radio streams are saved.

Decoders open such a file as its first recording only (a "link" in RFC 3533), so links are found
here and read one by one. Links may differ in codec, sample rate and channels.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from asr_s2s.audio.encoded import bytes_of

_FIRST_PAGE = re.compile(rb"OggS\0[\x02\x06]")  # the flag of the first page of a logical stream
_HEADER = 27  # bytes of a page before its table of sizes
_CHUNK = 1 << 20  # bytes


@contextmanager
def chained_links(source: str | BinaryIO) -> Iterator[list[BinaryIO]]:
    """Yield the links of a chained Ogg file as streams of their own; none for other files.

    Links without audio, which contain headers only, are left out.
    """
    with bytes_of(source) as stream:
        begins = _link_offsets(stream)
        ends = [*begins[1:], stream.seek(0, io.SEEK_END)]
        stream.seek(0)
        views = [_view(stream, *span) for span in zip(begins, ends, strict=True)]
        yield [view for view in views if _has_audio(view)] if len(views) > 1 else []


def _view(stream: BinaryIO, begin: int, end: int) -> BinaryIO:
    return io.BufferedReader(_ByteRange(stream, begin, end))


class _ByteRange(io.RawIOBase):
    """Read-only view of the bytes from `begin` to `end` of a stream, which may be shared."""

    def __init__(self, stream: BinaryIO, begin: int, end: int) -> None:
        self._stream, self._begin, self._size = stream, begin, end - begin
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._stream.seek(self._begin + self._position)
        count = min(len(buffer), max(0, self._size - self._position))
        content = self._stream.read(count)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def _link_offsets(stream: BinaryIO) -> list[int]:
    """Offsets at which links begin; a link may begin with the first pages of several streams."""
    if stream.read(4) != b"OggS":
        return [0]
    offsets = [0]
    end = 0  # of the last first page
    for begin in _first_pages(stream):
        if begin != end and begin > 0:
            offsets.append(begin)
        stream.seek(begin)
        header = stream.read(_HEADER + 255)
        end = begin + _HEADER + header[26] + sum(header[_HEADER : _HEADER + header[26]])
    return offsets


def _first_pages(stream: BinaryIO) -> list[int]:
    found = []
    stream.seek(0)
    base, held = 0, b""  # offset of `held`, which overlaps so that no match is divided
    while chunk := stream.read(_CHUNK):
        held += chunk
        found += [base + match.start() for match in _FIRST_PAGE.finditer(held)]
        base += max(0, len(held) - 5)
        held = held[-5:]
    return [begin for begin in found if _is_page(stream, begin)]


def _is_page(stream: BinaryIO, begin: int) -> bool:
    stream.seek(begin)
    return len(stream.read(_HEADER)) == _HEADER


def _has_audio(link: BinaryIO) -> bool:
    """Whether the last page counts samples; its position is 0 or -1 in a link of headers."""
    link.seek(max(0, link.seek(0, io.SEEK_END) - 65_307))  # maximum page size
    tail = link.read()
    link.seek(0)
    page = tail[max(0, tail.rfind(b"OggS")) :]
    return len(page) < _HEADER or int.from_bytes(page[6:14], "little", signed=True) > 0
