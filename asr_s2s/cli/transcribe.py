"""The command `asr-s2s transcribe`."""

import glob
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import (
    MODEL_HELP,
    BatchSeconds,
    BeamGroups,
    BeamSize,
    Device,
    Diversity,
    Language,
    NoRepeatNgram,
    PhraseFile,
    command_names,
)
from asr_s2s.data.standard_input import STDIN, read_recording
from asr_s2s.errors import EXIT_BAD_INPUT, AudioError, UserError
from asr_s2s.writers import FORMATS, Writer

if TYPE_CHECKING:
    from asr_s2s.reading import Source


class Detector(StrEnum):
    """Voice activity detector for long recordings."""

    energy = "energy"
    silero = "silero"


def _format(name: str) -> str:
    """Return the name of an output format, if it is one."""
    if name not in FORMATS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, FORMATS))}.")
    return name


def transcribe(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Recordings, folders of recordings, quoted glob patterns, or - for standard input."
        ),
    ],
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "english",
    output_dir: Annotated[
        Path | None,
        typer.Option(
            help="Also write files NAME.FORMAT to this folder. Skips recordings whose output files "
            "are up to date; they are not printed either."
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Transcribe recordings with up-to-date files in --output-dir again."
        ),
    ] = False,
    format: Annotated[
        list[str] | None,
        typer.Option(
            parser=_format,
            metavar="NAME",
            help=f"{'; '.join(f'{name}: {format.help}' for name, format in FORMATS.items())}. "
            "May be repeated: the first format is printed, all are written to --output-dir. "
            "[default: txt]",
        ),
    ] = None,
    beam_size: BeamSize = None,
    n_best: Annotated[
        int,
        typer.Option(
            min=1, help="json: number of alternative transcripts; the beam is at least as wide."
        ),
    ] = 1,
    words: Annotated[
        bool,
        typer.Option("--words", help="json: include start, end and confidence of each word."),
    ] = False,
    phrases: PhraseFile = None,
    beam_groups: BeamGroups = None,
    diversity: Diversity = None,
    no_repeat_ngram: NoRepeatNgram = None,
    language: Language = None,
    device: Device = None,
    batch_seconds: BatchSeconds = 120.0,
    vad: Annotated[
        Detector,
        typer.Option(
            help="Voice activity detector for recordings longer than 25 s: energy, or silero, "
            "which requires silero-vad (pip install 'asr-s2s[vad]')."
        ),
    ] = Detector.energy,
) -> None:
    """Transcribe recordings of any common audio format.

    Recordings may have any length, sampling rate and number of channels. Results are printed to
    standard output in order as soon as they are ready, messages to standard error. If a recording
    cannot be transcribed completely, the others still are, and the exit code is 1. With
    --output-dir, an interrupted command continues where it stopped when it is run again.
    """
    from rich.console import Console
    from rich.progress import track

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.pipeline import Failure, Transcriber
    from asr_s2s.search.options import DecodeOptions

    keep_freed_memory()
    console = Console(stderr=True, highlight=False, emoji=False)
    failed = 0

    def report_failure(error: UserError) -> None:
        nonlocal failed
        failed += 1
        console.print(f"asr-s2s: {error}", markup=False, soft_wrap=True)

    found, errors = find_recordings(sources)
    total = len(found) + len(errors)
    writer = Writer(format or ["txt"], found, output_dir)
    pending, misplaced = _pending(writer, len(found), overwrite)
    errors += misplaced
    for error in errors:
        report_failure(error)
    skipped = len(found) - len(pending) - len(misplaced)
    if skipped:
        console.print(
            f"skipped {skipped} of {total}, whose output files are up to date; use --overwrite to "
            "transcribe them again",
            soft_wrap=True,
        )
    if pending:
        transcriber = Transcriber.load(model, device)
        options = DecodeOptions(
            language=language,
            beam_size=beam_size,
            n_best=n_best,
            phrases=phrases,
            beam_groups=beam_groups,
            diversity=diversity,
            no_repeat_ngram=no_repeat_ngram,
            words=words or any(FORMATS[name].timed for name in writer.formats),
        )
        opened = open_recordings(found[index] for index in pending)
        with command_names():
            results = transcriber.stream(
                opened, options, batch_seconds=batch_seconds, vad=vad.value
            )
        tracked = track(
            results,
            "transcribing",
            total=len(pending),
            console=console,
            transient=True,
            disable=not console.is_terminal or sys.stdout.isatty() or len(pending) == 1,
        )
        for index, result in zip(pending, tracked, strict=True):
            if isinstance(result, Failure):
                report_failure(result.error)
                continue
            if result.warning is not None:
                report_failure(result.warning)
            writer.write(index, result)
    if failed:
        if total > 1:
            console.print(f"{failed} of {total} could not be transcribed", highlight=False)
        raise typer.Exit(EXIT_BAD_INPUT)


def _pending(writer: Writer, count: int, overwrite: bool) -> tuple[list[int], list[UserError]]:
    """Indices of recordings to transcribe, and errors of recordings whose output files cannot be
    written. All others are up to date."""
    pending: list[int] = []
    errors: list[UserError] = []
    for index in range(count):
        if not overwrite and writer.is_done(index):
            continue
        try:
            writer.check_place(index)
        except UserError as error:
            errors.append(error)
        else:
            pending.append(index)
    return pending, errors


def find_recordings(sources: Iterable[str]) -> tuple[list[str], list[UserError]]:
    """Expand arguments to recordings, in order; errors of arguments without any are returned too.

    A missing file is returned as a recording; reading it raises the error.
    """
    from asr_s2s.audio.decode import AUDIO_SUFFIXES

    found: list[str] = []
    errors: list[UserError] = []
    for source in sources:
        path = Path(source)
        if source == STDIN or path.is_file():
            found.append(source)
        elif path.is_dir():
            inside = sorted(
                str(p)
                for p in path.rglob("*")
                if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file()
            )
            if not inside:
                errors.append(
                    AudioError(source, "this folder contains no recordings", "Check the path")
                )
            found.extend(inside)
        elif glob.has_magic(source):
            matches = sorted(p for p in glob.glob(source, recursive=True) if Path(p).is_file())  # noqa: PTH207 - may be absolute
            if not matches:
                errors.append(
                    AudioError(source, "no file matches this pattern", "Check the pattern")
                )
            found.extend(matches)
        else:
            found.append(source)  # reading it raises the error
    return found, errors


def open_recordings(sources: Iterable[str]) -> Iterator["Source"]:
    """Yield recordings in a form that `Transcriber.stream` reads; standard input is read whole."""
    for source in sources:
        yield read_recording() if source == STDIN else source
