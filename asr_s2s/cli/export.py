"""`asr-s2s export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from asr_s2s.cli.options import MODEL_HELP


class Precision(StrEnum):
    """Of the weights that are written."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def export(
    model: Annotated[str, typer.Argument(help=MODEL_HELP, show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)
    ],
    precision: Annotated[
        Precision, typer.Option(help="Of the matrices; 8 bits are also computed with on CPU.")
    ] = Precision.int8,
) -> None:
    """Write a copy of a model, and of what its search uses, with smaller or exact weights.

    Weights of 8 bits take a quarter of the space, and make transcribing on CPU faster. The copy
    goes wherever a model folder does.
    """
    import shutil

    from asr_s2s.errors import UserError
    from asr_s2s.model.folder import (
        LANGUAGE_MODEL_FOLDER,
        convert_model,
        find_model,
        load_model,
    )

    folder = find_model(model)
    load_model(folder)  # what is damaged is not copied
    if output.exists():
        raise UserError(output, "it exists already", "Name a new folder")
    partial = output.with_name(f"{output.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial)
        for part in (partial, partial / LANGUAGE_MODEL_FOLDER):
            if part.is_dir():
                convert_model(part, precision.value)
        partial.rename(output)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(
            output, f"cannot be written ({error.strerror})", "Choose another folder"
        ) from error
    before, after = ((f / "model.safetensors").stat().st_size / 1e6 for f in (folder, output))
    print(f"{output}: weights of {after:.1f} MB; they were {before:.1f} MB")
