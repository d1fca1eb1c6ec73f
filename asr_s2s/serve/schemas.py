"""Schemas of responses, for the description of the API in OpenAPI."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from asr_s2s.serve.refusals import STATUSES

Responses = dict[int | str, dict[str, Any]]
"""Responses of a route by status, as FastAPI documents them."""


class ErrorFields(BaseModel):
    """Description of an error: message, type, invalid field and code."""

    message: str = Field(description="For people: what is wrong, and how to fix it.")
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None = Field(description="Invalid field.")
    code: str = Field(description="For programs.")


class Error(BaseModel):
    """Body of an error response."""

    error: ErrorFields


class ModelInfo(BaseModel):
    """A loaded model."""

    id: str
    object: Literal["model"]
    owned_by: str
    task: Literal["transcribe", "translate"]
    languages: list[str] = Field(description="Output languages to choose from.")
    aliases: list[str] = Field(description="Other names that select this model.")


class ModelList(BaseModel):
    """The loaded models."""

    object: Literal["list"]
    data: list[ModelInfo]


class Health(BaseModel):
    """State of the server."""

    status: Literal["ok", "stopping"]


class WordTimes(BaseModel):
    """A word of a transcript."""

    word: str
    start: float = Field(description="Seconds from the start of the recording.")
    end: float
    confidence: float = Field(ge=0, le=1)
    known: bool = Field(True, description="False if the model's lexicon lacks the word.")


class TranscriptSegment(BaseModel):
    """A segment of a transcript; has further fields of OpenAI's API."""

    id: int
    start: float = Field(description="Seconds from the start of the recording.")
    end: float
    text: str
    score: float
    tokens: list[int]
    avg_logprob: float
    reason: str | None = Field(None, description="Problem that was found in the first output.")
    remedy: str | None = Field(None, description="What was done about it.")


class Usage(BaseModel):
    """Transcribed audio."""

    type: Literal["duration"]
    seconds: float


class TranscriptJson(BaseModel):
    """A transcript; the fields from `task` on are those of verbose_json."""

    text: str
    model: str = Field(description="Name of the model that was used.")
    usage: Usage
    warning: str | None = Field(None, description="What is missing, or was left out of the prompt.")
    task: Literal["transcribe", "translate"] | None = None
    language: str | None = Field(None, description="Language of the text; und if unknown.")
    duration: float | None = None
    segments: list[TranscriptSegment] | None = None
    words: list[WordTimes] | None = None
    srt: str | None = None
    vtt: str | None = None


class Alternative(BaseModel):
    """One of the best outputs."""

    text: str
    score: float


class Matrix(BaseModel):
    """A matrix: bytes in row-major order, of which 0 stands for `low` and 255 for `high`."""

    rows: int
    columns: int
    low: float
    high: float
    bytes: str = Field(description="Encoded in base64.")


class Alignment(BaseModel):
    """Attention weights of a translation: rows are its tokens, columns those of the source."""

    output: list[str]
    source: list[str]
    weights: Matrix


class TranslationRow(BaseModel):
    """Translation of a line."""

    source: str
    text: str
    score: float
    alternatives: list[Alternative] | None = None
    warning: str | None = None
    alignment: Alignment | None = None


class Translations(BaseModel):
    """Translations of lines, in order."""

    model: str = Field(description="Name of the model that was used.")
    translations: list[TranslationRow]


class Sound(BaseModel):
    """Log-mel spectrogram; weight i of a row is centered on `first + i * step` seconds."""

    seconds: float
    first: float
    step: float
    log_mel: Matrix


class Attention(BaseModel):
    """Attention weights over audio: rows are output tokens."""

    model: str = Field(description="Name of the model that was used.")
    output: list[str]
    weights: Matrix
    sound: Sound


def content(model: type[BaseModel], status: int = 200) -> Responses:
    """Document a response with a JSON body."""
    return {status: {"model": model}}


def documented(*statuses: int) -> Responses:
    """Document error responses."""
    return {status: {"model": Error, "description": STATUSES[status]} for status in statuses}


_TEXT = {"schema": {"type": "string"}}
TRANSCRIPT_CONTENT: Responses = {
    200: {
        "model": TranscriptJson,
        "description": "The transcript, in the format of `response_format`, or events if `stream` "
        "is true.",
        "content": dict.fromkeys(
            ("text/plain", "application/x-subrip", "text/vtt", "text/event-stream"), _TEXT
        ),
    }
}
"""Documents responses with a transcript."""
