"""Options that several commands share."""

from typing import Annotated

import typer

MODEL_HELP = "A shipped model's name, or a model folder."

BeamSize = Annotated[
    int | None,
    typer.Option(min=1, help="Width of the search; 1 is greedy [default: the model's]."),
]
Language = Annotated[str | None, typer.Option(help="Language to write, for a model of several.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ... [default: a GPU if any].")]
BatchSeconds = Annotated[float, typer.Option(min=0.1, help="Seconds of audio decoded together.")]
