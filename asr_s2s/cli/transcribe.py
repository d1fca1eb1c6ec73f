"""`asr-s2s transcribe`."""

import glob
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from asr_s2s.cli.options import MODEL_HELP, BatchSeconds, BeamSize, Device, Language
from asr_s2s.errors import EXIT_BAD_INPUT, AudioError, UserError

if TYPE_CHECKING:
    from asr_s2s.pipeline import Source

STDIN = "-"


class Format(StrEnum):
    """How transcripts are written."""

    txt = "txt"
    json = "json"


def transcribe(
    sources: Annotated[
        list[str],
        typer.Argument(help="Recordings, folders of them, quoted globs, or - for standard input."),
    ],
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "digits",
    output_dir: Annotated[
        Path | None, typer.Option(help="Also write one file for each recording here.")
    ] = None,
    format: Annotated[
        Format, typer.Option(help="txt: the text; json: JSON Lines, one object a recording.")
    ] = Format.txt,
    beam_size: BeamSize = None,
    n_best: Annotated[
        int, typer.Option(min=1, help="Alternatives to give (json); the beam is at least as wide.")
    ] = 1,
    language: Language = None,
    device: Device = None,
    batch_seconds: BatchSeconds = 120.0,
) -> None:
    """Transcribe recordings of any common format, rate and number of channels.

    Results go to standard output as they come, in order; messages go to standard error. The exit
    code is 1 if any recording could not be transcribed; all others still are.
    """
    from rich.console import Console
    from rich.progress import track

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.pipeline import Failure, Transcriber
    from asr_s2s.writers import Writer

    keep_freed_memory()
    console = Console(stderr=True, highlight=False)
    failed = 0

    def complain(error: UserError) -> None:
        nonlocal failed
        failed += 1
        console.print(f"asr-s2s: {error}", markup=False, soft_wrap=True)

    found, unreadable = find_recordings(sources)
    for error in unreadable:
        complain(error)
    writer = Writer(format.value, named=len(found) > 1, folder=output_dir)
    if found:
        transcriber = Transcriber.load(model, device)
        results = transcriber.stream(
            _open(found),
            language=language,
            beam_size=beam_size,
            n_best=n_best,
            batch_seconds=batch_seconds,
        )
        shown = track(
            results,
            "transcribing",
            total=len(found),
            console=console,
            transient=True,
            disable=not console.is_terminal or sys.stdout.isatty() or len(found) == 1,
        )
        for result in shown:
            if isinstance(result, Failure):
                complain(result.error)
                continue
            if result.warning is not None:
                complain(result.warning)
            writer.write(result)
    if failed:
        total = len(found) + len(unreadable)
        if total > 1:
            console.print(f"{failed} of {total} could not be transcribed", highlight=False)
        raise typer.Exit(EXIT_BAD_INPUT)


def find_recordings(sources: Iterable[str]) -> tuple[list[str], list[AudioError]]:
    """The recordings that arguments name, in order, and what was wrong with some arguments."""
    from asr_s2s.audio.decode import AUDIO_SUFFIXES

    found: list[str] = []
    errors: list[AudioError] = []
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
                    AudioError(source, "this folder holds no recordings", "Name another folder")
                )
            found.extend(inside)
        elif glob.has_magic(source):
            matches = sorted(p for p in glob.glob(source, recursive=True) if Path(p).is_file())  # noqa: PTH207 - may be absolute
            if not matches:
                errors.append(AudioError(source, "nothing matches this pattern", "Check it"))
            found.extend(matches)
        else:
            found.append(source)  # its reader says what is wrong with it
    return found, errors


def _open(sources: Iterable[str]) -> Iterator["Source"]:
    for source in sources:
        yield _standard_input() if source == STDIN else source


def _standard_input() -> BinaryIO:
    """Standard input whole: decoding needs to seek."""
    import io

    if sys.stdin is None:
        raise AudioError(STDIN, "standard input is closed", "Pipe a recording into the command")
    data = io.BytesIO(sys.stdin.buffer.read())
    data.name = STDIN
    return data
