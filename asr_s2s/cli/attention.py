"""The command `asr-s2s attention`."""

from pathlib import Path
from typing import Annotated

import typer

from asr_s2s.cli.one_source import Limits, Source, check_output, read_source, write_output
from asr_s2s.cli.options import MODEL_HELP, BeamSize, Device, Language, check_language
from asr_s2s.errors import ModelError

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
    from asr_s2s.model.folder import load_model
    from asr_s2s.pipeline import choose_device

    check_output(output)
    loaded = load_model(model, choose_device(device))
    if loaded.config.decoder.attention == "none":
        raise ModelError(
            loaded.folder,
            "this model has no attention: its decoder reads the source as one vector",
            "Choose a model whose decoder.attention is not none",
        )
    check_language(language, loaded.config.text.languages)
    subject = read_source(
        loaded,
        source,
        LIMITS,
        output_text=output_text,
        language=language,
        beam_size=beam_size,
    )
    length = torch.tensor(len(subject.values), device=subject.values.device)
    written = [*subject.prompt, *subject.tokens]
    attended = attention_map(loaded.model, subject.dataset, subject.values, length, written)
    write_output(
        output, attended.to_record, lambda path: draw_attention(path, attended, subject.title)
    )
