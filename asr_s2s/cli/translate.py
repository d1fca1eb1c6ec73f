"""The command `asr-s2s translate`."""

import json
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import (
    MODEL_HELP,
    BeamGroups,
    BeamSize,
    Device,
    Diversity,
    Language,
    NoRepeatNgram,
    PhraseFile,
    command_names,
)
from asr_s2s.cli.transcribe import describe_passed_over, find_recordings, open_recordings
from asr_s2s.data.standard_input import STDIN, Lines
from asr_s2s.errors import EXIT_BAD_INPUT, TextError, UserError
from asr_s2s.writers import line_writer, to_record, translation_record, translation_rows

if TYPE_CHECKING:
    from rich.console import Console

    from asr_s2s.search.options import DecodeOptions


class Format(StrEnum):
    """Output format of translations."""

    txt = "txt"
    json = "json"


def translate(
    source: Annotated[
        str,
        typer.Argument(
            help="Text file, one sentence per line (also .gz or .xz), a recording for a model that "
            "translates speech, or - for standard input."
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
            min=1,
            help="Number of alternative translations; the beam is at least as wide. As plain text, "
            "each is a row of the number of its line, its score and its text, separated by tabs.",
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
            help="Replace unknown tokens by the source words with most attention; refused by "
            "models that spell unknown words by bytes, such as en-de.",
        ),
    ] = False,
    beam_groups: BeamGroups = None,
    diversity: Diversity = None,
    no_repeat_ngram: NoRepeatNgram = None,
    min_length: Annotated[
        int | None,
        typer.Option(min=0, help="Minimum number of output tokens. [default: the model's]"),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Text that outputs start with.")] = "",
    must: Annotated[
        list[str] | None,
        typer.Option(help="Phrase that outputs must contain, as whole words. May be repeated."),
    ] = None,
    phrases: PhraseFile = None,
    sample: Annotated[
        bool,
        typer.Option(
            "--sample",
            help="Draw outputs at random instead of searching for the best; --n-best is the number "
            "of samples.",
        ),
    ] = False,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=100.0,
            help="With --sample: divisor of log-probabilities; below 1, likely tokens become more "
            "likely. [default: 1]",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --sample: draw from this number of the most likely tokens only."
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1.0,
            help="With --sample: draw from the smallest set of the most likely tokens only whose "
            "probabilities sum to this.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="With --sample: seed; equal lines and seeds give equal samples. [default: 1]",
        ),
    ] = None,
    device: Device = None,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Source tokens decoded in one batch.")
    ] = 4000,
) -> None:
    """Translate text line by line, or speech.

    Models for other text-to-text tasks are run in the same way. Each input line gives one output
    line; an empty line gives an empty line. Up to 1,000 lines are read at a time, so that lines of
    similar length are batched; as soon as no more input is waiting, those read so far are
    translated, so that a program may write a line and wait for its translation. Text is UTF-8, or
    UTF-16 with a byte order mark. An output that repeats itself is decoded again without
    repetitions, and reported. Messages are printed to standard error. The exit code is 1 if a
    line is not valid UTF-8.

    A model that translates speech takes a recording, a folder of recordings or a quoted glob
    pattern, and writes one line per recording. Other formats, such as subtitles, are written by
    asr-s2s transcribe with --language. A model of text translates a transcript: asr-s2s transcribe
    talk.wav | asr-s2s translate.
    """
    from rich.console import Console
    from rich.progress import track

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.audio.decode import is_recording
    from asr_s2s.search.options import DecodeOptions
    from asr_s2s.translator import Translator

    keep_freed_memory()
    console = Console(stderr=True, highlight=False, emoji=False)
    options = DecodeOptions(
        language=language,
        beam_size=beam_size,
        n_best=n_best,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
        replace_unknown=replace_unknown,
        beam_groups=beam_groups,
        diversity=diversity,
        no_repeat_ngram=no_repeat_ngram,
        min_length=min_length,
        prefix=prefix,
        must=tuple(must or ()),
        phrases=phrases,
        sample=sample,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    if _reads_speech(model, source):
        _translate_speech(source, model, device, options, format, output, console)
        return
    translator = Translator.load(model, device)
    if is_recording(source):
        raise TextError(
            source,
            f"this is a recording, but {model} translates text",
            "Use a model that translates speech, or translate its transcript: asr-s2s transcribe "
            f"{source} | asr-s2s translate",
        )
    lines = Lines(source)
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
        for number, result in enumerate(tracked, start=1):
            if result.warning is not None:
                console.print(f"asr-s2s: {result.warning}", markup=False, soft_wrap=True)
            if format is Format.json:
                write_line(json.dumps(translation_record(result), ensure_ascii=False))
            elif n_best > 1:
                for row in translation_rows(number, result):
                    write_line(row)
            else:
                write_line(result.text)
    for error in lines.errors:
        console.print(f"asr-s2s: {error}", markup=False, soft_wrap=True)
    if lines.errors:
        raise typer.Exit(EXIT_BAD_INPUT)


def _reads_speech(model: str, source: str) -> bool:
    """Return whether the model translates speech, and the source is, or may be, speech."""
    from asr_s2s.audio.decode import is_recording
    from asr_s2s.model.folder import find_model, read_config

    config = read_config(find_model(model))
    encoders, targets = config.model.encoders, config.text.translation_languages
    return (
        "speech" in encoders and bool(targets) and ("text" not in encoders or is_recording(source))
    )


def _translate_speech(
    source: str,
    model: str,
    device: str | None,
    options: "DecodeOptions",
    format: Format,
    output: Path | None,
    console: "Console",
) -> None:
    """Translate recordings, and write a line for each.

    Raises:
        UserError: an option cannot be used, or the output cannot be written.
    """
    from asr_s2s.pipeline import Failure, Transcriber

    transcriber = Transcriber.load(model, device)
    failed = False

    def say(message: str) -> None:
        console.print(message, markup=False, soft_wrap=True)

    def report_failure(error: UserError) -> None:
        nonlocal failed
        failed = True
        say(f"asr-s2s: {error}")

    found, passed_over, errors = find_recordings([source])
    if passed_over.total():
        say(describe_passed_over(passed_over))
    with command_names():
        language = transcriber.output.target(options.language, "language")
        opened = open_recordings(found, say)
        results = transcriber.stream(opened, replace(options, language=language))

    for error in errors:
        report_failure(error)
    with line_writer(output) as write_line:
        for result in results:
            if isinstance(result, Failure):
                report_failure(result.error)
                continue
            if result.warning is not None:
                report_failure(result.warning)
            if format is Format.json:
                write_line(json.dumps(to_record(result), ensure_ascii=False))
            else:
                write_line(result.text)
    if failed:
        raise typer.Exit(EXIT_BAD_INPUT)
