"""The command `asr-s2s export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from asr_s2s.cli.options import MODEL_HELP


class Precision(StrEnum):
    """Precision of exported weights."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def export(
    model: Annotated[str, typer.Argument(help=MODEL_HELP, show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New model folder to write.", show_default=False)
    ],
    precision: Annotated[
        Precision,
        typer.Option(
            help="Precision of the weight matrices: fp32, fp16 or int8. With int8, a CPU also "
            "computes in 8 bits."
        ),
    ] = Precision.int8,
) -> None:
    """Copy a model folder, converting its weights.

    Language models in the folder are converted too. 8-bit weights take a quarter of the space of
    fp32 and make transcription on a CPU faster. The copy is used like any model folder.
    """
    import shutil

    from asr_s2s.errors import UserError, writing
    from asr_s2s.model.folder import LANGUAGE_MODEL_FOLDER, find_model, load_model
    from asr_s2s.model.weights import WEIGHTS_FILE, convert_weights

    folder = find_model(model)
    load_model(folder)  # raises an error for a damaged model
    if output.exists():
        raise UserError(output, "it exists already", "Name a new folder")
    partial = output.with_name(f"{output.name}.partial")
    try:
        with writing(output, "Choose another folder"):
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(folder, partial)
            for part in (partial, partial / LANGUAGE_MODEL_FOLDER):
                if part.is_dir():
                    convert_weights(part, precision.value)
            partial.rename(output)
    except UserError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    before, after = ((f / WEIGHTS_FILE).stat().st_size / 1e6 for f in (folder, output))
    print(f"{output}: {after:.1f} MB of weights; the original has {before:.1f} MB")
