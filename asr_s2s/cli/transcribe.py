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
    from asr_s2s.reading import Source
    from asr_s2s.writers import Writer

STDIN = "-"


class Format(StrEnum):
    """How transcripts are written."""

    txt = "txt"
    json = "json"
    srt = "srt"
    vtt = "vtt"
    tsv = "tsv"


class Detector(StrEnum):
    """What finds speech in long recordings."""

    energy = "energy"
    silero = "silero"


def transcribe(
    sources: Annotated[
        list[str],
        typer.Argument(help="Recordings, folders of them, quoted globs, or - for standard input."),
    ],
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "english",
    output_dir: Annotated[
        Path | None,
        typer.Option(
            help="Also write files for each recording here, NAME.FORMAT. Recordings whose files "
            "are there and newer are skipped, and not printed."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Transcribe again what --output-dir holds already.")
    ] = False,
    format: Annotated[
        list[Format] | None,
        typer.Option(
            help="txt: the text; json: JSON Lines, one object a recording; srt, vtt: subtitles; "
            "tsv: start and end in ms, and text. May be repeated: the first goes to standard "
            "output, all into --output-dir. [default: txt]"
        ),
    ] = None,
    beam_size: BeamSize = None,
    n_best: Annotated[
        int, typer.Option(min=1, help="Alternatives to give (json); the beam is at least as wide.")
    ] = 1,
    words: Annotated[
        bool,
        typer.Option("--words", help="json: when each word was said, and how sure it is."),
    ] = False,
    phrases: Annotated[
        Path | None,
        typer.Option(help="Phrases to favor, one a line; a tab and a weight may follow [1.0]."),
    ] = None,
    language: Language = None,
    device: Device = None,
    batch_seconds: BatchSeconds = 120.0,
    vad: Annotated[
        Detector,
        typer.Option(
            help="What finds speech in recordings longer than 25 s; silero needs silero-vad "
            "(the extra asr-s2s[vad])."
        ),
    ] = Detector.energy,
) -> None:
    """Transcribe recordings of any common format, rate, length and number of channels.

    Results go to standard output as they come, in order; messages go to standard error. The exit
    code is 1 if any recording could not be transcribed to its end; all others still are. Run again
    after an interruption, the command goes on where it stopped if there is an --output-dir.
    """
    from rich.console import Console
    from rich.progress import track

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.pipeline import Failure, Transcriber
    from asr_s2s.writers import TIMED, Writer

    keep_freed_memory()
    console = Console(stderr=True, highlight=False, emoji=False)
    failed = 0

    def complain(error: UserError) -> None:
        nonlocal failed
        failed += 1
        console.print(f"asr-s2s: {error}", markup=False, soft_wrap=True)

    found, errors = find_recordings(sources)
    total = len(found) + len(errors)
    writer = Writer([f.value for f in format or [Format.txt]], found, output_dir)
    waiting, misplaced = _unfinished(writer, len(found), overwrite)
    errors += misplaced
    for error in errors:
        complain(error)
    skipped = len(found) - len(waiting) - len(misplaced)
    if skipped:
        console.print(
            f"skipped {skipped} of {total}, transcribed before; --overwrite does them again",
            soft_wrap=True,
        )
    if waiting:
        transcriber = Transcriber.load(model, device)
        if phrases is not None:
            transcriber.read_phrases(phrases)
        results = transcriber.stream(
            _open(found[index] for index in waiting),
            language=language,
            beam_size=beam_size,
            n_best=n_best,
            batch_seconds=batch_seconds,
            vad=vad.value,
            words=words or any(name in TIMED for name in writer.formats),
        )
        shown = track(
            results,
            "transcribing",
            total=len(waiting),
            console=console,
            transient=True,
            disable=not console.is_terminal or sys.stdout.isatty() or len(waiting) == 1,
        )
        for index, result in zip(waiting, shown, strict=True):
            if isinstance(result, Failure):
                complain(result.error)
                continue
            if result.warning is not None:
                complain(result.warning)
            writer.write(index, result)
    if failed:
        if total > 1:
            console.print(f"{failed} of {total} could not be transcribed", highlight=False)
        raise typer.Exit(EXIT_BAD_INPUT)


def _unfinished(writer: "Writer", count: int, overwrite: bool) -> tuple[list[int], list[UserError]]:
    """Indices of the recordings to transcribe, and what is wrong with the places of others; the
    rest was transcribed before."""
    waiting: list[int] = []
    errors: list[UserError] = []
    for index in range(count):
        if not overwrite and writer.is_done(index):
            continue
        try:
            writer.check_place(index)
        except UserError as error:
            errors.append(error)
        else:
            waiting.append(index)
    return waiting, errors


def find_recordings(sources: Iterable[str]) -> tuple[list[str], list[UserError]]:
    """The recordings that arguments name, in order, and what was wrong with some arguments."""
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
