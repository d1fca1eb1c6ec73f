"""One recording or sentence, and what a model writes for it: for `attention` and `explain`."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr_s2s.errors import AudioError, TextError, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from asr_s2s.audio.waveform import Waveform
    from asr_s2s.data.datasets import SpeechDataset, TextDataset
    from asr_s2s.model.folder import LoadedModel

SUFFIXES = (".png", ".svg", ".json")

Source = Annotated[
    str, typer.Argument(help="A recording, or a sentence; - reads a sentence on standard input.")
]


@dataclass(frozen=True)
class Limits:
    """More than this could not be seen in a picture, or would take too long."""

    seconds: float
    """Of a recording."""
    tokens: int
    """Of a text, read or written."""


@dataclass(frozen=True)
class OneSource:
    """What a model reads, and what it is to write."""

    dataset: "SpeechDataset | TextDataset"
    values: "Tensor"
    """`(samples,)` of a recording, or token ids `(tokens,)`, on the model's device."""
    sentence: str | None
    """As it was given; None for a recording."""
    prompt: list[int]
    """What the output begins with, as its language."""
    tokens: list[int]
    """The output's."""
    title: str
    """Of a picture: the recording's file name; nothing for a sentence, which is read there."""


def check_output(output: Path) -> None:
    """
    Raises:
        UserError: it has another suffix than `SUFFIXES`.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise UserError(
            output, f"expected a file that ends in {', '.join(SUFFIXES)}", "Choose another name"
        )


def write_output(
    output: Path, record: Callable[[], dict[str, Any]], draw: Callable[[Path], None]
) -> None:
    """Write what a command has found as its suffix asks, and tell of it.

    Args:
        record: makes what JSON holds.
        draw: draws a picture into a file.

    Raises:
        UserError: it cannot be written.
    """
    try:
        if output.suffix.lower() == ".json":
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps(record(), ensure_ascii=False) + "\n", "utf-8")
        else:
            draw(output)
    except OSError as error:
        raise UserError(
            output, f"cannot be written ({error.strerror})", "Choose another file"
        ) from error
    print(f"written to {output}", file=sys.stderr)


def read_source(
    loaded: "LoadedModel",
    source: str,
    limits: Limits,
    *,
    output_text: str | None,
    language: str | None,
    beam_size: int | None,
) -> OneSource:
    """Read a recording, or a sentence, and search for its output unless that is given.

    Args:
        source: a file, a sentence, or - for a sentence on standard input. A model of both takes it
            for a recording if there is such a file.

    Raises:
        UserError: there is no such recording or language, or too much, or nothing in it.
    """
    import torch

    from asr_s2s.data.datasets import Output, SpeechDataset, TextDataset
    from asr_s2s.data.manifest import require_characters
    from asr_s2s.search.decode import decode
    from asr_s2s.text.normalize import normalizer

    config, device = loaded.config, next(loaded.model.parameters()).device
    outputs = Output(loaded.tokenizer, normalizer(config.text.normalizer), config.text.languages)
    dataset: SpeechDataset | TextDataset
    sentence, title = None, Path(source).name
    # Path.is_file fails on a sentence that is too long for the name of a file.
    if loaded.source_tokenizer is None or (
        "speech" in config.model.encoders and os.path.isfile(source)  # noqa: PTH113
    ):
        dataset = SpeechDataset(outputs)
        values = torch.from_numpy(_recording(source, limits.seconds))
    else:
        normalize = normalizer(config.source_text.normalizer)
        dataset = TextDataset(outputs, loaded.source_tokenizer, normalize)
        sentence, title = _sentence(source), ""
        read = dataset.source_tokens(sentence)
        _check_length(read, "SOURCE", limits.tokens)
        values = torch.tensor(read)
    values = values.to(device)
    prompt = outputs.prompt(language, "language")
    if output_text is not None:
        require_characters({"--output-text": output_text}, "the command line")
        tokens = outputs.tokenizer.encode(outputs.normalize(output_text))
        _check_length(tokens, "--output-text", limits.tokens)
    else:
        search = config.search
        search = replace(search, beam_size=beam_size or search.beam_size)
        prompts = torch.tensor([prompt], dtype=torch.long, device=device)
        length = torch.tensor([len(values)], device=device)
        with torch.inference_mode():
            memory = loaded.model.encode(dataset.kind, values[None], length)
        tokens = decode(loaded.model, dataset.kind, memory, search, prompts)[0][0].tokens
    return OneSource(dataset, values, sentence, prompt, tokens, title)


def _check_length(tokens: list[int], where: str, most: int) -> None:
    if len(tokens) > most:
        raise TextError(
            where,
            f"the text has {len(tokens):,} tokens; at most {most} can be drawn",
            "Give one sentence",
        )


def _recording(source: str, longest: float) -> "Waveform":
    from asr_s2s.audio.decode import read_audio
    from asr_s2s.audio.waveform import SAMPLE_RATE, is_silent

    samples = read_audio(source)
    if len(samples) > longest * SAMPLE_RATE:
        raise AudioError(
            source,
            f"it lasts {len(samples) / SAMPLE_RATE:.0f} s; at most {longest:.0f} s can be drawn",
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
