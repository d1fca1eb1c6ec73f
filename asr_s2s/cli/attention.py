"""The command `asr-s2s attention`."""

from pathlib import Path
from typing import Annotated

import typer

from asr_s2s.cli.options import (
    MODEL_HELP,
    BeamSize,
    Device,
    Language,
    Source,
    command_names,
)
from asr_s2s.errors import ModelError
from asr_s2s.inspect.source import Limits, check_output, read_source, write_output

LIMITS = Limits(seconds=60.0, tokens=400)


def attention(
    source: Source,
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="File to write: a picture (.png, .svg) or the weights (.json)."
        ),
    ] = Path("attention.png"),
    output_text: Annotated[
        str | None, typer.Option(help="Output text to align. [default: the model's own output]")
    ] = None,
    language: Language = None,
    beam_size: BeamSize = None,
    device: Device = None,
) -> None:
    """Draw the attention weights of each output token.

    Rows are output tokens, the end token last; columns are times of a recording or tokens of a
    sentence. For a model that reads both speech and text, SOURCE is a recording if such a file
    exists.
    """
    import torch

    from asr_s2s.inspect.attention import attention_map, draw_attention
    from asr_s2s.model.device import choose_device
    from asr_s2s.model.folder import load_model
    from asr_s2s.search.options import DecodeOptions

    check_output(output)
    loaded = load_model(model, choose_device(device))
    if loaded.config.decoder.attention == "none":
        raise ModelError(
            loaded.folder,
            "this model has no attention: its decoder reads the source as one vector",
            "Choose a model whose decoder.attention is not none",
        )
    options = DecodeOptions(language=language, beam_size=beam_size)
    with command_names():
        subject = read_source(loaded, source, LIMITS, options, output_text)
    length = torch.tensor(len(subject.values), device=subject.values.device)
    written = [*subject.prompt, *subject.tokens]
    attended = attention_map(
        loaded.model, subject.dataset, subject.values, length, written, subject.tokenizer
    )
    write_output(
        output, attended.to_record, lambda path: draw_attention(path, attended, subject.title)
    )
