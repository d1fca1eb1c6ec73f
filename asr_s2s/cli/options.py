"""Options shared by several commands."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
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
BeamGroups = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Groups of the beam that avoid each other's tokens, for diverse alternatives; a "
        "divisor of the beam size. [default: the model's]",
    ),
]
Diversity = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=10.0,
        help="With --beam-groups: cost of a token that another group chose. [default: the model's]",
    ),
]
NoRepeatNgram = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Length in tokens of n-grams that an output may contain only once; 0 allows "
        "repetitions. [default: the model's]",
    ),
]
PhraseFile = Annotated[
    Path | None,
    typer.Option(
        help="File of phrases to favor, one per line, optionally followed by a tab and a weight "
        "(1.0 if omitted)."
    ),
]
Language = Annotated[
    str | None, typer.Option(help="Output language; required for a multilingual model.")
]
Source = Annotated[
    str,
    typer.Argument(help="Recording or sentence; - reads one sentence from standard input."),
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
By = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD",
        help="Also break scores down by this field of the references, such as duration; may be "
        "repeated.",
    ),
]
BatchSeconds = Annotated[
    float, typer.Option(min=0.1, help="Seconds of audio decoded in one batch.")
]


@contextmanager
def command_names() -> Iterator[None]:
    """Name decoding options as on the command line, such as `--beam-size`, in errors raised within
    the context."""
    from asr_s2s.search.options import DecodeOptions

    try:
        yield
    except UserError as error:
        if error.where not in {field.name for field in fields(DecodeOptions)}:
            raise
        where = f"--{error.where.replace('_', '-')}"
        raise UserError(where, error.problem, error.fix) from error
