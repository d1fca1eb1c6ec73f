"""`asr-s2s attention`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import MODEL_HELP, BeamSize, Device, Language, check_language
from asr_s2s.errors import AudioError, ModelError, TextError, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from asr_s2s.audio.waveform import Waveform
    from asr_s2s.data.datasets import SpeechDataset, TextDataset
    from asr_s2s.evaluate.attention import Attended
    from asr_s2s.model.folder import LoadedModel

SUFFIXES = (".png", ".svg", ".json")
LONGEST_SECONDS = 60.0
LONGEST_TOKENS = 400
"""Of a text, read or written. A picture of more could not be read."""


def attention(
    source: Annotated[
        str,
        typer.Argument(help="A recording, or a sentence; - reads a sentence on standard input."),
    ],
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
    from asr_s2s.model.folder import load_model
    from asr_s2s.pipeline import choose_device

    if output.suffix.lower() not in SUFFIXES:
        raise UserError(
            output, f"expected a file that ends in {', '.join(SUFFIXES)}", "Choose another name"
        )
    loaded = load_model(model, choose_device(device))
    if loaded.config.decoder.attention == "none":
        raise ModelError(
            loaded.folder,
            "this model has no attention: its decoder sees the source as one vector",
            "Name a model of another decoder.attention",
        )
    check_language(language, loaded.config.text.languages)
    dataset, values = _read(source, loaded)
    attended = _attend(loaded, dataset, values, output_text, language, beam_size)
    try:
        _write(output, attended, Path(source).name if dataset.kind == "speech" else "")
    except OSError as error:
        raise UserError(
            output, f"cannot be written ({error.strerror})", "Choose another file"
        ) from error
    print(f"written to {output}", file=sys.stderr)


def _read(source: str, loaded: "LoadedModel") -> tuple["SpeechDataset | TextDataset", "Tensor"]:
    """The source as the model's encoder reads it: `(samples,)`, or token ids `(tokens,)`."""
    import torch

    from asr_s2s.data.datasets import Output, SpeechDataset, TextDataset
    from asr_s2s.text.normalize import normalizer

    config = loaded.config
    outputs = Output(loaded.tokenizer, normalizer(config.text.normalizer), config.text.languages)
    # Path.is_file fails on a sentence that is too long for the name of a file.
    if loaded.source_tokenizer is None or (
        "speech" in config.model.encoders and os.path.isfile(source)  # noqa: PTH113
    ):
        return SpeechDataset(outputs), torch.from_numpy(_recording(source))
    normalize = normalizer(config.source_text.normalizer)
    dataset = TextDataset(outputs, loaded.source_tokenizer, normalize)
    tokens = dataset.source_tokens(_sentence(source))
    _check_length(tokens, "SOURCE")
    return dataset, torch.tensor(tokens)


def _check_length(tokens: list[int], where: str) -> None:
    if len(tokens) > LONGEST_TOKENS:
        raise TextError(
            where,
            f"the text has {len(tokens):,} tokens; at most {LONGEST_TOKENS} can be drawn",
            "Give one sentence",
        )


def _recording(source: str) -> "Waveform":
    from asr_s2s.audio.decode import read_audio
    from asr_s2s.audio.waveform import SAMPLE_RATE, is_silent

    samples = read_audio(source)
    if len(samples) > LONGEST_SECONDS * SAMPLE_RATE:
        raise AudioError(
            source,
            f"it lasts {len(samples) / SAMPLE_RATE:.0f} s; at most {LONGEST_SECONDS:.0f} s can be "
            "drawn",
            "Cut a piece out, for example with ffmpeg -ss 0 -t 20",
        )
    if is_silent(samples):
        raise AudioError(
            source, "the recording is silent: there is nothing to see", "Choose another"
        )
    return samples


def _sentence(source: str) -> str:
    from asr_s2s.cli.translate import STDIN, Lines
    from asr_s2s.data.manifest import require_characters

    if source == STDIN:
        lines = Lines(STDIN)
        source = next(iter(lines), "")
        if lines.errors:
            raise lines.errors[0]
    require_characters({"SOURCE": source}, "the command line")
    if not source.strip():
        raise TextError("SOURCE", "there is no text", "Give a sentence")
    return source


def _attend(
    loaded: "LoadedModel",
    dataset: "SpeechDataset | TextDataset",
    values: "Tensor",
    output_text: str | None,
    language: str | None,
    beam_size: int | None,
) -> "Attended":
    """Attention of the best hypothesis, or of the output that is given."""
    from dataclasses import replace

    import torch

    from asr_s2s.data.manifest import require_characters
    from asr_s2s.evaluate.attention import attend
    from asr_s2s.search.decode import decode

    outputs, device = dataset.output, next(loaded.model.parameters()).device
    prompt = outputs.prompt(language, "language")
    values = values.to(device)
    length = torch.tensor(len(values), device=device)
    if output_text is not None:
        require_characters({"--output-text": output_text}, "the command line")
        tokens = outputs.tokenizer.encode(outputs.normalize(output_text))
        _check_length(tokens, "--output-text")
    else:
        search = loaded.config.search
        search = replace(search, beam_size=beam_size or search.beam_size)
        prompts = torch.tensor([prompt], dtype=torch.long, device=device)
        with torch.inference_mode():
            memory = loaded.model.encode(dataset.kind, values[None], length[None])
        tokens = decode(loaded.model, dataset.kind, memory, search, prompts)[0][0].tokens
    return attend(loaded.model, dataset, values, length, [*prompt, *tokens])


def _write(path: Path, attended: "Attended", title: str) -> None:
    if path.suffix.lower() == ".json":
        import json

        text = json.dumps(attended.to_record(), ensure_ascii=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", "utf-8")
    else:
        from asr_s2s.evaluate.attention import draw_attention

        draw_attention(path, attended, title)
