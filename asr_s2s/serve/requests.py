"""Requests: their fields with OpenAPI schemas, and bodies with limits on size and transfer time.

A recording is held in memory up to 1 MB, and beyond that in an unnamed temporary file, which the
operating system removes when it is closed, even after a crash. Client file names are never used as
paths.
"""

import asyncio
import json
import re
from dataclasses import dataclass
from io import SEEK_SET, BufferedReader, RawIOBase
from threading import Event
from typing import Annotated, Any, BinaryIO, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from asr_s2s.search.options import DecodeKeywords
from asr_s2s.serve.pictures import LONGEST_SECONDS
from asr_s2s.serve.refusals import RefusedError, bad_field, stopping_error

WIDEST_BEAM = 32
"""Largest beam size; wider beams cost more than they gain and delay other clients."""
LONGEST_TEXT = 10_000
"""Maximum characters of a line or prompt."""
LONGEST_PHRASE = 200
"""Maximum characters of a prefix or of a phrase that outputs must contain."""
MOST_PHRASES = 20
"""Maximum number of phrases that outputs must contain."""
MOST_LINES = 1000
"""Maximum lines of a request."""
MOST_CHARACTERS = 100_000
"""Maximum characters of all lines of a request."""

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
Listed = BeforeValidator(lambda value: value if isinstance(value, list) else [value])
Named = BeforeValidator(lambda value: value or None)
Model = Annotated[
    str,
    Field(
        description="Name of a model from /v1/models; any other name selects the first model for "
        "the task."
    ),
]
Language = Annotated[
    str | None,
    Named,
    Field(description="Output language, one of the model's; ignored if it has none."),
]
BeamSize = Annotated[
    int | None,
    Field(ge=1, le=WIDEST_BEAM, description="Beam size; default: the model's own."),
]


class SpeechFields(BaseModel):
    """Form fields of transcription requests, without the file.

    Other fields of OpenAI's API, such as temperature, are ignored.
    """

    model: Model = ""
    language: Language = None
    prompt: Annotated[
        str,
        Field(
            max_length=LONGEST_TEXT,
            description="Phrases to favor, separated by commas, semicolons or line breaks.",
        ),
    ] = ""
    response_format: ResponseFormat = "json"
    timestamp_granularities: Annotated[
        list[Literal["word", "segment"]],
        Listed,
        Field(description="Time stamps in verbose_json: word, segment, or both."),
    ] = ["segment"]
    include: Annotated[
        list[str],
        Listed,
        Field(description="srt, vtt: add subtitles to verbose_json."),
    ] = []
    stream: Annotated[
        bool, Field(description="Send each segment when it is ready, as a server-sent event.")
    ] = False
    beam_size: BeamSize = None

    @property
    def phrases(self) -> list[str]:
        """Phrases listed in the prompt."""
        parts = re.split(r"[,;\r\n]+", self.prompt)
        return [part.strip() for part in parts if part.strip()]


class AttentionFields(BaseModel):
    """Form fields of attention requests, without the file."""

    text: Annotated[str, Field(max_length=LONGEST_TEXT, description="Transcript of this part.")]
    start: Annotated[float, Field(ge=0.0, le=1e6, description="Start of the part, in seconds.")] = (
        0.0
    )
    duration: Annotated[
        float, Field(gt=0.0, le=LONGEST_SECONDS, description="Duration of the part, in seconds.")
    ] = LONGEST_SECONDS
    model: Model = ""
    language: Language = None


class TextFields(BaseModel):
    """JSON fields of translation requests."""

    text: Annotated[
        str | list[str],
        Field(
            description=f"A line, or a list of at most {MOST_LINES} lines, of at most "
            f"{MOST_CHARACTERS:,} characters in all."
        ),
    ]
    model: Model = ""
    language: Language = None
    beam_size: BeamSize = None
    n_best: Annotated[
        int,
        Field(
            ge=1,
            le=WIDEST_BEAM,
            description="Alternatives to return for each line; with `sample`, number of samples.",
        ),
    ] = 1
    sample: Annotated[
        bool, Field(description="Draw outputs at random instead of searching for the best.")
    ] = False
    temperature: Annotated[
        float | None, Field(description="With `sample`: divisor of log-probabilities; default: 1.")
    ] = None
    top_k: Annotated[
        int | None,
        Field(description="With `sample`: draw from this number of the most likely tokens only."),
    ] = None
    top_p: Annotated[
        float | None,
        Field(
            description="With `sample`: draw from the smallest set of the most likely tokens only "
            "whose probabilities sum to this."
        ),
    ] = None
    seed: Annotated[
        int | None,
        Field(description="With `sample`: equal lines and seeds give equal samples; default: 1."),
    ] = None
    beam_groups: Annotated[
        int | None,
        Field(
            description="Groups of the beam that avoid each other's tokens; default: the model's."
        ),
    ] = None
    diversity: Annotated[
        float | None,
        Field(
            description="With `beam_groups`: cost of a token that another group chose; default: "
            "the model's."
        ),
    ] = None
    no_repeat_ngram: Annotated[
        int | None,
        Field(
            description="Length in tokens of n-grams that an output may contain only once; "
            "default: the model's."
        ),
    ] = None
    min_length: Annotated[
        int | None, Field(description="Minimum number of output tokens; default: the model's.")
    ] = None
    prefix: Annotated[
        str, Field(max_length=LONGEST_PHRASE, description="Text that outputs start with.")
    ] = ""
    must: Annotated[
        tuple[Annotated[str, Field(max_length=LONGEST_PHRASE)], ...],
        Field(max_length=MOST_PHRASES, description="Phrases that outputs must contain."),
    ] = ()
    alignment: Annotated[
        bool, Field(description="Also return the attention weights of each line.")
    ] = False

    @property
    def options(self) -> DecodeKeywords:
        """The decoding options, which are the fields that have their names."""
        names = DecodeKeywords.__annotations__.keys() & type(self).model_fields.keys()
        return cast(DecodeKeywords, {name: getattr(self, name) for name in names})

    @property
    def lines(self) -> list[str]:
        """The text as a list of lines."""
        return [self.text] if isinstance(self.text, str) else self.text


def form_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI schema of a form with a file and these fields."""
    schema = kind.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "The recording."}
    schema["properties"] = {"file": file} | schema["properties"]
    schema["required"] = ["file", *schema.get("required", [])]
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def json_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI schema of a JSON object with these fields."""
    content = {"application/json": {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


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

Fields = TypeVar("Fields", bound=BaseModel)


@dataclass(frozen=True)
class Upload:
    """An uploaded recording."""

    file: BinaryIO
    name: str
    """Display name for messages; not a path."""
    fields: dict[str, Any]
    """The other form fields: strings, or lists of strings if the name ends in []."""


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
        if declared.isdigit() and int(declared) > largest:
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
    except HTTPException as error:
        message = (
            f"Invalid form: {error.detail} Send the file and its fields as multipart/form-data."
        )
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
        raise RefusedError(
            400, "The field 'file' is missing. Send the recording in it.", "no_file", param="file"
        )
    if not file.size:
        await form.close()
        raise RefusedError(400, "The recording is empty (0 bytes).", "invalid_audio", param="file")
    return Upload(BufferedReader(_ReadOnly(file.file)), shown_name(file.filename or ""), fields)


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
        values = json.loads(await bounded.body())
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "The body is not valid JSON.", "invalid_json") from error
    return parse(kind, values)


def parse(kind: type[Fields], values: object) -> Fields:
    """Validate the fields of a request.

    Raises:
        RefusedError: a field is invalid or missing.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise bad_field(error) from error
