"""The command `asr-s2s translate`."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from asr_s2s.cli.options import MODEL_HELP, BeamSize, Device, Language, command_names
from asr_s2s.data.standard_input import STDIN, Lines
from asr_s2s.errors import EXIT_BAD_INPUT
from asr_s2s.writers import line_writer, translation_record


class Format(StrEnum):
    """Output format of translations."""

    txt = "txt"
    json = "json"


def translate(
    source: Annotated[
        str,
        typer.Argument(
            help="Text file, one sentence per line (also .gz or .xz), or - for standard input."
        ),
    ] = STDIN,
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "en-de",
    language: Language = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. [default: standard output]"),
    ] = None,
    format: Annotated[
        Format, typer.Option(help="txt: plain text; json: JSON Lines, one object per sentence.")
    ] = Format.txt,
    beam_size: BeamSize = None,
    n_best: Annotated[
        int,
        typer.Option(
            min=1, help="json: number of alternative translations; the beam is at least as wide."
        ),
    ] = 1,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=10.0,
            help="Scores are divided by the length raised to this power. [default: the model's]",
        ),
    ] = None,
    coverage_penalty: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=10.0,
            help="Weight of the penalty for source words without attention. [default: the model's]",
        ),
    ] = None,
    replace_unknown: Annotated[
        bool,
        typer.Option(
            "--replace-unknown",
            help="Replace unknown tokens by the source words with most attention.",
        ),
    ] = False,
    device: Device = None,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Source tokens decoded in one batch.")
    ] = 4000,
) -> None:
    """Translate text line by line.

    Models for other text-to-text tasks are run in the same way. Each input line gives one output
    line; an empty line gives an empty line. Up to 1,000 lines are read at a time, so that lines of
    similar length are batched; as soon as no more input is waiting, those read so far are
    translated, so that a program may write a line and wait for its translation. Text is UTF-8, or
    UTF-16 with a byte order mark. Messages are printed to standard error. The exit code is 1 if a
    line is not valid UTF-8.
    """
    from rich.console import Console
    from rich.progress import track

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.search.options import DecodeOptions
    from asr_s2s.translator import Translator

    keep_freed_memory()
    console = Console(stderr=True, highlight=False, emoji=False)
    translator = Translator.load(model, device)
    lines = Lines(source)
    options = DecodeOptions(
        language=language,
        beam_size=beam_size,
        n_best=n_best,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
        replace_unknown=replace_unknown,
    )
    with command_names():
        results = translator.stream(
            lines, options, batch_tokens=batch_tokens, waiting=lines.waiting
        )
    with line_writer(output) as write_line:
        tracked = track(
            results,
            "translating",
            total=lines.total,
            console=console,
            transient=True,
            disable=not console.is_terminal or (output is None and sys.stdout.isatty()),
        )
        for result in tracked:
            if result.warning is not None:
                console.print(f"asr-s2s: {result.warning}", markup=False, soft_wrap=True)
            if format is Format.json:
                write_line(json.dumps(translation_record(result), ensure_ascii=False))
            else:
                write_line(result.text)
    for error in lines.errors:
        console.print(f"asr-s2s: {error}", markup=False, soft_wrap=True)
    if lines.errors:
        raise typer.Exit(EXIT_BAD_INPUT)
