"""The fields of requests, and how they are documented."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from asr_s2s.serve.pictures import LONGEST_SECONDS

WIDEST_BEAM = 32
"""Wider ones cost more than they find, and other clients wait."""
LONGEST_TEXT = 10_000
"""Characters of a line, or of a prompt."""
MOST_LINES = 1000
MOST_CHARACTERS = 100_000
"""Of all lines of a request."""

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
Listed = BeforeValidator(lambda value: value if isinstance(value, list) else [value])
Named = BeforeValidator(lambda value: value or None)
Model = Annotated[
    str, Field(description="A model of /v1/models; any other name takes the first that can.")
]
Language = Annotated[
    str | None, Named, Field(description="Language to write, for a model of several.")
]
BeamSize = Annotated[
    int | None,
    Field(ge=1, le=WIDEST_BEAM, description="Width of the search; by default the model's own."),
]


class SpeechFields(BaseModel):
    """A form's fields beside its file. OpenAI's others, as temperature, count for nothing."""

    model: Model = ""
    language: Language = None
    prompt: Annotated[
        str,
        Field(
            max_length=LONGEST_TEXT,
            description="Phrases to favor, with commas or line breaks between them.",
        ),
    ] = ""
    response_format: ResponseFormat = "json"
    timestamp_granularities: Annotated[
        list[Literal["word", "segment"]],
        Listed,
        Field(description="Times in verbose_json: word, segment, or both."),
    ] = ["segment"]
    include: Annotated[
        list[str],
        Listed,
        Field(description="srt, vtt: subtitles beside the text in verbose_json."),
    ] = []
    stream: Annotated[
        bool, Field(description="Send each segment as it comes, as a server-sent event.")
    ] = False
    beam_size: BeamSize = None

    @property
    def phrases(self) -> list[str]:
        """Those of the prompt."""
        parts = re.split(r"[,;\r\n]+", self.prompt)
        return [part.strip() for part in parts if part.strip()]


class AttentionFields(BaseModel):
    """A form's fields beside its file."""

    text: Annotated[
        str, Field(max_length=LONGEST_TEXT, description="What was written of this part.")
    ]
    start: Annotated[
        float, Field(ge=0.0, le=1e6, description="Where the part begins, in seconds.")
    ] = 0.0
    duration: Annotated[
        float, Field(gt=0.0, le=LONGEST_SECONDS, description="Of the part, in seconds.")
    ] = LONGEST_SECONDS
    model: Model = ""
    language: Language = None


class TextFields(BaseModel):
    """A JSON object."""

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
        int, Field(ge=1, le=WIDEST_BEAM, description="Alternatives to give of each line.")
    ] = 1
    alignment: Annotated[
        bool, Field(description="Also give where attention rested in each line.")
    ] = False

    @property
    def lines(self) -> list[str]:
        """The text as lines."""
        return [self.text] if isinstance(self.text, str) else self.text


def form_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a form with a file and these fields."""
    schema = kind.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "The recording."}
    schema["properties"] = {"file": file} | schema["properties"]
    schema["required"] = ["file", *schema.get("required", [])]
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def json_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a JSON object."""
    content = {"application/json": {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}
