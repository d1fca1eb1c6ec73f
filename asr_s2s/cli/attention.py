"""`asr-s2s attention`."""

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
        typer.Option("--output", "-o", help="Picture (.png, .svg), or the weights (.json)."),
    ] = Path("attention.png"),
    output_text: Annotated[
        str | None, typer.Option(help="Align this text, not what the model would write.")
    ] = None,
    language: Language = None,
    beam_size: BeamSize = None,
    device: Device = None,
) -> None:
    """Draw where attention rests in a recording or a sentence as each output token is written.

    A row is an output token, the end's last. A model that reads both speech and text takes SOURCE
    for a recording if there is such a file.
    """
    import torch

    from asr_s2s.evaluate.attention import attend, draw_attention
    from asr_s2s.model.folder import load_model
    from asr_s2s.pipeline import choose_device

    check_output(output)
    loaded = load_model(model, choose_device(device))
    if loaded.config.decoder.attention == "none":
        raise ModelError(
            loaded.folder,
            "this model has no attention: its decoder sees the source as one vector",
            "Name a model of another decoder.attention",
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
    attended = attend(loaded.model, subject.dataset, subject.values, length, written)
    write_output(
        output, attended.to_record, lambda path: draw_attention(path, attended, subject.title)
    )
