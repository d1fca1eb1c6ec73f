"""Bodies of requests, with limits on size and transfer time.

A recording is held in memory up to 1 MB, and beyond that in an unnamed temporary file, which the
operating system removes when it is closed, even after a crash. Client file names are never used as
paths.
"""

import asyncio
import json
import os
import re
from dataclasses import dataclass
from io import SEEK_SET, BufferedReader, RawIOBase
from threading import Event
from typing import Any, BinaryIO

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from asr_s2s.serve.fields import Fields, parse
from asr_s2s.serve.refusals import (
    OUT_OF_RESOURCES,
    RefusedError,
    overloaded_error,
    quoted,
    stopping_error,
)

MOST_FIELDS = 64
"""Maximum fields of a form."""
LARGEST_FIELD = 64 * 1024
"""Maximum bytes of a form field that is not a file."""
LARGEST_JSON = 1024 * 1024
"""Maximum bytes of a JSON body."""
GRACE_SECONDS = 20.0
"""Seconds that an upload may take beyond its transfer time at `SLOWEST_RATE`."""
SLOWEST_RATE = 16 * 1024
"""Minimum transfer rate, in bytes per second."""
_POLL_SECONDS = 0.5  # interval of checks whether the server is shutting down


@dataclass(frozen=True)
class Upload:
    """An uploaded recording."""

    file: BinaryIO
    name: str
    """Display name for messages; not a path."""
    fields: dict[str, list[Any]]
    """Values of the other form fields, without [] at the ends of their names."""


class _ReadOnly(RawIOBase):
    """Read-only view of a file; FFmpeg would otherwise treat it as writable."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self.file.seek(offset, whence)
        return self.file.tell()

    def tell(self) -> int:
        return self.file.tell()

    def close(self) -> None:
        self.file.close()
        super().close()


class _BoundedBody:
    """ASGI receive function that limits the size and transfer time of a request body.

    Args:
        request: the request.
        largest: maximum bytes of the body.
        ended: set when the server is shutting down.

    Raises:
        RefusedError: the body is too large or too slow, or the client pauses during shutdown.
    """

    def __init__(self, request: Request, largest: int, ended: Event) -> None:
        self.receive: Receive = request.receive
        self.largest = largest
        self.ended = ended
        self.loop = asyncio.get_running_loop()
        self.started = self.loop.time()
        self.received = 0
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > largest:
            raise self._too_large()

    async def __call__(self) -> Message:
        while True:
            left = self.started + GRACE_SECONDS + self.received / SLOWEST_RATE - self.loop.time()
            if left <= 0:
                raise RefusedError(408, "The upload was too slow. Send it again.", "too_slow")
            try:
                async with asyncio.timeout(min(left, _POLL_SECONDS)):
                    message = await self.receive()
            except TimeoutError:
                if self.ended.is_set():
                    raise stopping_error() from None
                continue
            self.received += len(message.get("body", b""))
            if self.received > self.largest:
                raise self._too_large()
            return message

    def _too_large(self) -> RefusedError:
        megabytes = self.largest / 1024**2
        message = (
            f"The request is larger than {megabytes:g} MB. Send a shorter recording, or split it."
        )
        return RefusedError(413, message, "too_large")


async def read_upload(request: Request, largest: int, ended: Event) -> Upload:
    """Read a form with a recording; the caller closes its file.

    Args:
        request: the request.
        largest: maximum bytes of the body.
        ended: set when the server is shutting down.

    Raises:
        RefusedError: the form is too large, too slow, invalid, or has no recording.
    """
    bounded = Request(request.scope, _BoundedBody(request, largest, ended))
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RefusedError(400, "Send the recording as multipart/form-data.", "invalid_form")
    try:
        form = await bounded.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=LARGEST_FIELD)
    except (HTTPException, ValueError, LookupError) as error:  # the latter two: odd encodings
        reason = error.detail if isinstance(error, HTTPException) else "It cannot be decoded."
        message = f"Invalid form: {reason} Send the file and its fields as multipart/form-data."
        raise RefusedError(400, message, "invalid_form") from error
    except OSError as error:
        raise _not_stored(error) from error
    fields: dict[str, list[Any]] = {}
    for name, value in form.multi_items():
        fields.setdefault(name.removesuffix("[]"), []).append(value)
    files = fields.pop("file", [])
    problem = None
    if not any(isinstance(file, UploadFile) for file in files):
        problem = ("The field 'file' is missing. Send the recording in it.", "no_file")
    elif len(files) > 1:
        problem = (f"file: expected one value, found {len(files)}.", "invalid_value")
    elif not files[0].size:
        problem = ("The recording is empty (0 bytes).", "invalid_audio")
    if problem is not None:
        await form.close()
        raise RefusedError(400, *problem, param="file")
    (file,) = files
    return Upload(BufferedReader(_ReadOnly(file.file)), shown_name(file.filename or ""), fields)


def _not_stored(error: OSError) -> RefusedError:
    """Error for an upload that cannot be stored."""
    if error.errno in OUT_OF_RESOURCES:
        return overloaded_error()
    reason = os.strerror(error.errno) if error.errno else "no folder for temporary files"
    message = f"The server cannot store the upload ({reason}). Send it again later."
    return RefusedError(507, message, "no_space")


def shown_name(name: str) -> str:
    """Shorten a client's file name for display: no folders or control characters."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(c if c.isprintable() else "\ufffd" for c in last)[:80].strip()
    return shown or "recording"


async def read_json(request: Request, kind: type[Fields], ended: Event) -> Fields:
    """Read and validate a JSON body.

    Args:
        request: the request.
        kind: model of the fields.
        ended: set when the server is shutting down.

    Raises:
        RefusedError: the body is too large, too slow, invalid JSON, or has an invalid field.
    """
    bounded = Request(request.scope, _BoundedBody(request, LARGEST_JSON, ended))
    try:
        values = json.loads(await bounded.body(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "The body is not valid JSON.", "invalid_json") from error
    return parse(kind, values)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object of its keys and values.

    Raises:
        RefusedError: a key is given twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for key in keys if keys.count(key) > 1)
        message = f"The key {quoted(key)} is given twice."
        raise RefusedError(400, message, "invalid_json", param=quoted(key))
    return values
