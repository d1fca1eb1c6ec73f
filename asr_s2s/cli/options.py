"""Options that several commands share."""

from collections.abc import Sequence
from typing import Annotated

import typer

from asr_s2s.errors import UserError

MODEL_HELP = "A shipped model's name, or a model folder."

BeamSize = Annotated[
    int | None,
    typer.Option(min=1, help="Width of the search; 1 is greedy [default: the model's]."),
]
Language = Annotated[str | None, typer.Option(help="Language to write, for a model of several.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ... [default: a GPU if any].")]
AnyReference = Annotated[
    bool,
    typer.Option(
        "--any-reference",
        help="Lines of parallel text with the same source are references of one hypothesis.",
    ),
]
BatchSeconds = Annotated[float, typer.Option(min=0.1, help="Seconds of audio decoded together.")]


def check_language(language: str | None, languages: Sequence[str]) -> None:
    """Refuse a choice of `--language` where the model has none to choose from.

    Args:
        languages: those the model can be asked for, `text.languages`.

    Raises:
        UserError: a language is given, and there are no others.
    """
    if language is not None and not languages:
        raise UserError("--language", "this model writes one language only", "Leave it out")
