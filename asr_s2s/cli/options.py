"""Options shared by several commands."""

from collections.abc import Sequence
from typing import Annotated

import typer

from asr_s2s.errors import UserError

MODEL_HELP = "Name of a shipped model, or a model folder."

BeamSize = Annotated[
    int | None,
    typer.Option(
        min=1, help="Hypotheses kept per utterance; 1 is greedy search. [default: the model's]"
    ),
]
Language = Annotated[
    str | None, typer.Option(help="Output language; required for a multilingual model.")
]
Device = Annotated[
    str | None, typer.Option(help="PyTorch device, such as cpu or cuda. [default: a GPU if any]")
]
AnyReference = Annotated[
    bool,
    typer.Option(
        "--any-reference",
        help="Treat lines of parallel text with the same source as references of one hypothesis.",
    ),
]
BatchSeconds = Annotated[
    float, typer.Option(min=0.1, help="Seconds of audio decoded in one batch.")
]


def check_language(language: str | None, languages: Sequence[str]) -> None:
    """Check that `--language` is given only for a multilingual model.

    Args:
        language: value of the option.
        languages: the model's `text.languages`; empty for a monolingual model.

    Raises:
        UserError: a language is given for a monolingual model.
    """
    if language is not None and not languages:
        raise UserError("--language", "this model writes one language only", "Remove this option")
