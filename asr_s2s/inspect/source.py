"""A single source with its output, whose attention or attribution is drawn."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asr_s2s.data.standard_input import STDIN, Lines
from asr_s2s.errors import AudioError, TextError, UserError, writing

if TYPE_CHECKING:
    from torch import Tensor

    from asr_s2s.audio.waveform import Waveform
    from asr_s2s.data.datasets import SpeechDataset, TextDataset
    from asr_s2s.model.folder import LoadedModel
    from asr_s2s.search.options import DecodeOptions
    from asr_s2s.text.tokenizer import Tokenizer

SUFFIXES = (".png", ".svg", ".json")


@dataclass(frozen=True)
class Limits:
    """Maximum lengths; beyond them pictures are illegible or computation takes too long."""

    seconds: float
    """Maximum duration of a recording."""
    tokens: int
    """Maximum number of tokens of a source or output text."""


@dataclass(frozen=True)
class OneSource:
    """A source, prepared for a model, and its output."""

    dataset: "SpeechDataset | TextDataset"
    values: "Tensor"
    """Waveform `(samples,)`, or source token ids `(tokens,)`, on the model's device."""
    sentence: str | None
    """Source sentence as given; None for a recording."""
    prompt: list[int]
    """Token ids that the output starts with, such as its language."""
    tokens: list[int]
    """Token ids of the output after the prompt."""
    tokenizer: "Tokenizer"
    """Tokenizer of the output."""
    title: str
    """Title of a picture: the recording's file name; empty for a sentence, which the picture
    shows."""


def check_output(output: Path) -> None:
    """Check the name of an output file.

    Raises:
        UserError: its suffix is not one of `SUFFIXES`.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise UserError(
            output, f"expected a file that ends in {', '.join(SUFFIXES)}", "Choose another name"
        )


def write_output(
    output: Path, record: Callable[[], dict[str, Any]], draw: Callable[[Path], None]
) -> None:
    """Write a result in the format of the file's suffix, and print the file's name.

    Args:
        output: file to write.
        record: makes the JSON object.
        draw: draws the picture to a file.

    Raises:
        UserError: the file cannot be written.
    """
    with writing(output):
        if output.suffix.lower() == ".json":
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps(record(), ensure_ascii=False) + "\n", "utf-8")
        else:
            draw(output)
    print(f"written to {output}", file=sys.stderr)


def read_source(
    loaded: "LoadedModel",
    source: str,
    limits: Limits,
    options: "DecodeOptions",
    output_text: str | None = None,
) -> OneSource:
    """Read a recording or a sentence, and decode its output unless that is given.

    Args:
        loaded: the model.
        source: a file, a sentence, or - for a sentence on standard input. For a model that reads
            both speech and text it is a recording if such a file exists.
        limits: maximum lengths of source and output.
        options: decoding options.
        output_text: the output; None to decode it.

    Raises:
        UserError: the recording does not exist, an option cannot be used, or a source or text is
            empty or longer than `limits`.
    """
    import torch

    from asr_s2s.data.datasets import SpeechDataset, TextDataset
    from asr_s2s.search.decode import decode
    from asr_s2s.text.normalize import normalizer
    from asr_s2s.text.output import Output
    from asr_s2s.text_files import require_characters

    config, device = loaded.config, next(loaded.model.parameters()).device
    outputs = Output.of_model(loaded.tokenizer, config.text)
    # Path.is_file raises an error for a sentence that is too long to be a file name.
    is_file = "speech" in config.model.encoders and os.path.isfile(source)  # noqa: PTH113
    source_tokenizer = None if is_file else loaded.source_tokenizer
    kind: Literal["speech", "text"] = "speech" if source_tokenizer is None else "text"
    settings = options.prepare(config, outputs, kind, device)
    prompt = settings.prompt
    dataset: SpeechDataset | TextDataset
    sentence, title = None, Path(source).name
    if source_tokenizer is None:
        dataset = SpeechDataset(outputs)
        tokenizer = outputs.tokenizer
        values = torch.from_numpy(_recording(source, limits.seconds))
    else:
        normalize = normalizer(config.source_text.normalizer)
        copying = config.decoder.copy
        dataset = TextDataset(outputs, source_tokenizer, normalize, copying=copying)
        sentence, title = _sentence(source), ""
        tokenizer = dataset.output_tokenizer(sentence)
        source_tokens = dataset.source_tokens(sentence)
        _check_length(source_tokens, "SOURCE", limits.tokens)
        values = torch.tensor(source_tokens)
    values = values.to(device)
    if output_text is not None:
        require_characters({"--output-text": output_text}, "the command line")
        tokens = tokenizer.encode(outputs.normalize(output_text))
        _check_length(tokens, "--output-text", limits.tokens)
    else:
        prompts = torch.tensor([prompt], dtype=torch.long, device=device)
        length = torch.tensor([len(values)], device=device)
        with torch.inference_mode():
            memory = loaded.model.encode(kind, values[None], length, prompts)
        found = decode(
            loaded.model, kind, memory, settings.search, prompts, phrases=settings.phrases
        )
        tokens = found[0][0].tokens
    return OneSource(dataset, values, sentence, prompt, tokens, tokenizer, title)


def _check_length(tokens: list[int], where: str, maximum: int) -> None:
    if len(tokens) > maximum:
        raise TextError(
            where,
            f"the text has {len(tokens):,} tokens; at most {maximum} can be drawn",
            "Give one sentence",
        )


def _recording(source: str, maximum: float) -> "Waveform":
    from asr_s2s.audio.decode import read_audio
    from asr_s2s.audio.waveform import SAMPLE_RATE, is_silent

    samples = read_audio(source)
    if len(samples) > maximum * SAMPLE_RATE:
        raise AudioError(
            source,
            f"it lasts {len(samples) / SAMPLE_RATE:.0f} s; at most {maximum:.0f} s can be drawn",
            "Cut out a part, for example with ffmpeg -ss 0 -t 20",
        )
    if is_silent(samples):
        raise AudioError(source, "the recording is silent", "Choose a recording with speech")
    return samples


def _sentence(source: str) -> str:
    from asr_s2s.text_files import require_characters

    if source == STDIN:
        lines = Lines(STDIN)
        source = next(iter(lines), "")
        if lines.errors:
            raise lines.errors[0]
    require_characters({"SOURCE": source}, "the command line")
    if not source.strip():
        raise TextError("SOURCE", "there is no text", "Give a sentence")
    return source
