"""The command `asr-s2s transcribe`."""

import glob
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.audio.folder import AUDIO_SUFFIXES, search_folder
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
from asr_s2s.errors import EXIT_BAD_INPUT, AudioError, UserError, is_about_name, printable
from asr_s2s.writers import FORMATS, Writer

if TYPE_CHECKING:
    from asr_s2s.sources import Source


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
            help="Recordings, folders, quoted glob patterns, or - for standard input. Folders are "
            "searched with their subfolders for files that are not hidden and end in "
            f"{', '.join(sorted(AUDIO_SUFFIXES))}."
        ),
    ],
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "english",
    output_dir: Annotated[
        Path | None,
        typer.Option(
            help="Also write files NAME.FORMAT to this folder; a hidden index there tells which "
            "recording each belongs to. Skips recordings whose output files are up to date; they "
            "are not printed either."
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Transcribe recordings with up-to-date files in --output-dir again, and replace "
            "files there that are not in the index.",
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
    audio_track: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of the audio track, from 1, of recordings with several. [default: the "
            "one that players choose]",
        ),
    ] = None,
) -> None:
    """Transcribe recordings of any common audio format.

    Recordings may have any length, sampling rate and number of channels. Results are printed to
    standard output in order as soon as they are ready, messages to standard error. If a recording
    cannot be transcribed completely, the others still are, and the exit code is 1. Control
    characters in file names are escaped where they are printed, except in JSON, which has them
    exactly.

    With --output-dir, an interrupted command continues where it stopped when it is run again.
    Several commands may write to one folder at the same time; a recording that another one is
    transcribing is left out, and the exit code is 1.
    """
    from rich.console import Console
    from rich.progress import track

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.pipeline import Failure, Transcriber
    from asr_s2s.search.options import DecodeOptions

    keep_freed_memory()
    console = Console(stderr=True, highlight=False, emoji=False)
    failed = 0

    def say(message: str) -> None:
        console.print(message, markup=False, soft_wrap=True)

    def report_failure(error: UserError) -> None:
        nonlocal failed
        failed += 1
        say(f"asr-s2s: {error}")

    found, passed_over, errors = find_recordings(sources)
    total = len(found) + len(errors)
    for error in errors:
        report_failure(error)
    if passed_over.total():
        say(describe_passed_over(passed_over))
    writer = Writer(format or ["txt"], found, output_dir, overwrite=overwrite)
    pending, misplaced, reserved = _pending(writer, len(found), overwrite)
    for error in misplaced:
        report_failure(error)
    skipped = len(found) - len(pending) - len(misplaced) - reserved
    if skipped:
        say(
            f"skipped {skipped} of {total}, whose output files are up to date; use --overwrite to "
            "transcribe them again"
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
        report = say if audio_track is None else None
        opened = open_recordings((found[index] for index in pending), report)
        with command_names():
            results = transcriber.stream(
                opened,
                options,
                batch_seconds=batch_seconds,
                vad=vad.value,
                audio_track=audio_track,
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
            try:
                writer.write(index, result)
            except UserError as error:
                if not is_about_name(error):  # the others would fail too, as on a full disk
                    raise
                report_failure(error)
    if reserved:
        say(
            f"another process is transcribing {reserved} of {total} into this folder; run the "
            "command again when it has ended"
        )
    if failed and total > 1:
        say(f"{failed} of {total} could not be transcribed")
    if failed or reserved:
        raise typer.Exit(EXIT_BAD_INPUT)


def _pending(writer: Writer, count: int, overwrite: bool) -> tuple[list[int], list[UserError], int]:
    """Indices of recordings to transcribe, errors of recordings whose output files cannot be
    written, and the number of those that another process transcribes. All others are up to
    date."""
    pending: list[int] = []
    errors: list[UserError] = []
    reserved = 0
    for index in range(count):
        if not overwrite and writer.is_done(index):
            continue
        if not writer.claim(index):
            reserved += 1
            continue
        try:
            writer.check_place(index)
        except UserError as error:
            errors.append(error)
        else:
            pending.append(index)
    return pending, errors, reserved


def find_recordings(sources: Iterable[str]) -> tuple[list[str], Counter[str], list[UserError]]:
    """Expand arguments to recordings, in order; returns them, the counts of other files in folders,
    and the errors of arguments without recordings.

    A missing file is returned as a recording; reading it raises the error.
    """
    found: list[str] = []
    passed_over: Counter[str] = Counter()
    errors: list[UserError] = []
    for source in sources:
        path = Path(source)
        try:
            is_file, is_folder = path.is_file(), path.is_dir()
        except OSError:  # as of a name that is too long
            is_file = is_folder = False
        if source == STDIN or is_file:
            found.append(source)
        elif is_folder:
            content = search_folder(path)
            if not content.recordings and not content.errors:
                errors.append(
                    AudioError(source, "this folder contains no recordings", "Check the path")
                )
            errors += content.errors
            passed_over += content.passed_over
            found.extend(sorted(map(str, content.recordings)))
        elif glob.has_magic(source):
            matches = sorted(p for p in glob.glob(source, recursive=True) if Path(p).is_file())  # noqa: PTH207 - may be absolute
            if not matches:
                errors.append(
                    AudioError(source, "no file matches this pattern", "Check the pattern")
                )
            found.extend(matches)
        else:
            found.append(source)  # reading it raises the error
    return found, passed_over, errors


def describe_passed_over(counts: Counter[str]) -> str:
    """Describe the files that `find_recordings` passed over in folders, by their kinds."""
    kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items()) if count)
    return f"passed over in folders: {kinds}"


def open_recordings(
    sources: Iterable[str], say: Callable[[str], None] | None
) -> Iterator["Source"]:
    """Yield recordings in a form that `Transcriber.stream` reads; standard input is read whole.

    Args:
        say: told which of several audio tracks is read; None if the user chose one.
    """
    from asr_s2s.audio.decode import audio_tracks

    for source in sources:
        opened = read_recording() if source == STDIN else source
        with suppress(UserError, OSError):  # reading it raises the error
            if say is not None and (source == STDIN or Path(source).is_file()):  # no pipes
                tracks = audio_tracks(opened, name=source)
                chosen = next((track for track in tracks if track.is_default), None)
                if len(tracks) > 1 and chosen is not None:
                    language = f" ({chosen.language})" if chosen.language else ""
                    say(
                        f"{printable(source)}: track {chosen.number}{language} of {len(tracks)} "
                        "audio tracks is read; --audio-track chooses another"
                    )
        yield opened
