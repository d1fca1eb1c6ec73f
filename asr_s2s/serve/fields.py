"""Fields of requests, with OpenAPI schemas."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from asr_s2s.search.options import DecodeKeywords
from asr_s2s.serve.pictures import LONGEST_SECONDS
from asr_s2s.serve.refusals import RefusedError, bad_field

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

Fields = TypeVar("Fields", bound=BaseModel)
ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]


def _join(value: object) -> object:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "\n".join(value)
    return value


Listed = BeforeValidator(lambda value: value if isinstance(value, list) else [value])
"""Reads a form field that may be given several times as a list."""
Joined = BeforeValidator(_join)
"""Reads a form field that may be given several times as one text, with a line for each."""
Named = BeforeValidator(lambda value: value or None)
Model = Annotated[
    str,
    Field(
        description="Name or alias of a model from /v1/models; by default the first model for the "
        "task."
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
        Joined,
        Field(
            max_length=LONGEST_TEXT,
            description="Phrases to favor, separated by commas, semicolons or line breaks. Words "
            "that the model cannot write are left out, and the response has a warning.",
        ),
    ] = ""
    response_format: ResponseFormat = "json"
    timestamp_granularities: Annotated[
        list[Literal["word", "segment"]],
        Listed,
        Field(
            description="Time stamps in verbose_json: word, segment, or both. This field and "
            "include may be given several times, also with [] after their names."
        ),
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
        return listed_phrases(self.prompt)


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


def form_values(kind: type[BaseModel], given: Mapping[str, Sequence[object]]) -> dict[str, Any]:
    """Values of the fields of a form, for validation.

    Args:
        kind: model of the fields.
        given: all values of each field name, in order.

    Raises:
        RefusedError: a field that has one value is given several times.
    """
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        found = list(given.get(name, ()))
        repeatable = any(part in (Listed, Joined) for part in field.metadata)
        if len(found) > 1 and not repeatable:
            message = f"{name}: expected one value, found {len(found)}."
            raise RefusedError(400, message, "invalid_value", param=name)
        if found:
            values[name] = found if len(found) > 1 else found[0]
    return values


def listed_phrases(prompt: str) -> list[str]:
    """Phrases listed in a prompt, separated by commas, semicolons or line breaks."""
    return [part.strip() for part in re.split(r"[,;\r\n]+", prompt) if part.strip()]


def parse(kind: type[Fields], values: object) -> Fields:
    """Validate the fields of a request.

    Raises:
        RefusedError: a field is invalid or missing.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise bad_field(error) from error
