"""What clients send: bodies of bounded size and patience, in forms and in JSON.

A recording is held in memory up to 1 MB and beyond that in a file without a name, which the system
removes when it is closed, however that comes about. No name that a client gives is ever a path.
"""

import asyncio
import json
import re
from dataclasses import dataclass
from io import SEEK_SET, BufferedReader, RawIOBase
from threading import Event
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from asr_s2s.serve.refusals import RefusedError, bad_field, stopping

MOST_FIELDS = 64
LARGEST_FIELD = 64 * 1024
"""Bytes of a field that is no file."""
LARGEST_JSON = 1024 * 1024
PATIENCE = 20.0
"""Seconds that a sender may take on top of what his bytes take at the slowest pace."""
SLOWEST = 16 * 1024
"""Bytes a second."""
_GLANCE = 0.5  # s between looks at whether the server stops

Fields = TypeVar("Fields", bound=BaseModel)


@dataclass(frozen=True)
class Upload:
    """A recording as it was sent."""

    file: BinaryIO
    name: str
    """For messages only."""
    fields: dict[str, Any]
    """The form's other fields: strings, and lists of them where the name ends in []."""


class _ReadOnly(RawIOBase):
    """A file that its readers cannot take for one to be written, as FFmpeg would."""

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
    """A request's body as it comes, no larger and no slower than it may be.

    Raises:
        RefusedError: it is; or the server stops and the sender pauses.
    """

    def __init__(self, request: Request, largest: int, ended: Event) -> None:
        self.receive: Receive = request.receive
        self.largest = largest
        self.ended = ended
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.received = 0
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > largest:
            raise self._too_large()

    async def __call__(self) -> Message:
        while True:
            left = self.began + PATIENCE + self.received / SLOWEST - self.loop.time()
            if left <= 0:
                raise RefusedError(408, "The request came too slowly. Send it again.", "too_slow")
            try:
                async with asyncio.timeout(min(left, _GLANCE)):
                    message = await self.receive()
            except TimeoutError:
                if self.ended.is_set():
                    raise stopping() from None
                continue
            self.received += len(message.get("body", b""))
            if self.received > self.largest:
                raise self._too_large()
            return message

    def _too_large(self) -> RefusedError:
        megabytes = self.largest / 1024**2
        message = (
            f"The request is larger than {megabytes:g} MB. Send a shorter recording, or parts."
        )
        return RefusedError(413, message, "too_large")


async def read_upload(request: Request, largest: int, ended: Event) -> Upload:
    """The form of a request with its file, which is the caller's to close.

    Raises:
        RefusedError: the form is too large, too slow, or holds no recording.
    """
    bounded = Request(request.scope, _BoundedBody(request, largest, ended))
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RefusedError(400, "Send the recording as multipart/form-data.", "invalid_form")
    try:
        form = await bounded.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=LARGEST_FIELD)
    except HTTPException as error:
        message = f"This form cannot be read: {error.detail} Send the file and its fields."
        raise RefusedError(400, message, "invalid_form") from error
    fields: dict[str, Any] = {}
    file: UploadFile | None = None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            file = value
            fields[name] = value
        elif name.endswith("[]"):
            fields.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            fields[name] = value
    if not isinstance(fields.pop("file", None), UploadFile) or file is None:
        await form.close()
        raise RefusedError(400, "There is no recording in the field file.", "no_file", param="file")
    if not file.size:
        await form.close()
        raise RefusedError(400, "The recording is empty (0 bytes).", "invalid_audio", param="file")
    return Upload(BufferedReader(_ReadOnly(file.file)), shown_name(file.filename or ""), fields)


def shown_name(name: str) -> str:
    """A client's name for a file as messages show it."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(c if c.isprintable() else "\ufffd" for c in last)[:80].strip()
    return shown or "recording"


async def read_json(request: Request, kind: type[Fields], ended: Event) -> Fields:
    """The body of a request, a JSON object.

    Raises:
        RefusedError: it is too large, too slow, no JSON, or other fields are expected.
    """
    bounded = Request(request.scope, _BoundedBody(request, LARGEST_JSON, ended))
    try:
        values = json.loads(await bounded.body())
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "The body is no JSON.", "invalid_json") from error
    return parse(kind, values)


def parse(kind: type[Fields], values: object) -> Fields:
    """Fields of a request, checked.

    Raises:
        RefusedError: one has a wrong value, or is missing.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise bad_field(error) from error
