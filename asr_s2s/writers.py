"""Output formats of transcripts and translations, and writers of files and standard output.

Does not import torch, so that the command line can list the formats in its help.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_s2s.data.standard_input import STDIN
from asr_s2s.errors import UserError, writing
from asr_s2s.subtitles import to_srt, to_vtt

if TYPE_CHECKING:
    from asr_s2s.pipeline import Alternative, Transcript, Word
    from asr_s2s.translator import Translation


@dataclass(frozen=True, kw_only=True)
class OutputFormat:
    """Output format of transcripts."""

    content: "Callable[[Transcript], str]"
    """Converts a transcript to the content of a file."""
    help: str
    """Description in the help of the command line."""
    timed: bool = False
    """Whether it needs word times."""
    lines: bool = False
    """Whether transcripts of several recordings can be concatenated."""


def to_record(result: "Transcript") -> dict[str, Any]:
    """Convert a transcript to a JSON object.

    Fields: `source`, `duration` (s), `text`, `score`, `task` (`transcribe`, or `translate` for text
    in another language than the one spoken), `language` (of the text; null if the model has no
    languages) and `segments`, each with `start` and `end` (s), `text`, `score`, `words` (if
    requested), `reason` and `remedy` (if the guard found a problem). A word has `text`, `start` and
    `end` (s) and `confidence`, and `known`, which is false, if it is not in the model's lexicon and
    is spelled by its sound. `alternatives`, if requested, are at top level for a short recording
    and in the segments for a long one.
    """
    record: dict[str, Any] = {
        "source": result.source,
        "duration": round(result.duration, 3),
        "text": result.text,
        "score": round(result.score, 4),
        "task": result.task,
        "language": result.language,
        "segments": [],
    }
    for segment in result.segments:
        row: dict[str, Any] = {
            "start": round(segment.start, 3),
            "end": round(segment.end, 3),
            "text": segment.text,
            "score": round(segment.score, 4),
        }
        if segment.reason is not None:
            row["reason"] = segment.reason.value
        if segment.remedy is not None:
            row["remedy"] = segment.remedy.value
        if segment.alternatives and not result.alternatives:
            row["alternatives"] = _alternatives(segment.alternatives)
        if segment.words:
            row["words"] = [{"text": word.text} | word_record(word) for word in segment.words]
        record["segments"].append(row)
    if result.alternatives:
        record["alternatives"] = _alternatives(result.alternatives)
    return record


def word_record(word: "Word") -> dict[str, float]:
    """Times (s) and confidence of a word as a JSON object; `known` is there, and false, for a word
    that the lexicon of the model lacks."""
    fields: dict[str, float] = {
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": round(word.confidence, 4),
    }
    return fields if word.known else fields | {"known": False}


def translation_record(result: "Translation") -> dict[str, Any]:
    """Convert a translation to a JSON object: `source`, `text`, `score`, `reason` and `remedy` if
    the output repeated itself, and `alternatives` if requested."""
    record: dict[str, Any] = {
        "source": result.source,
        "text": result.text,
        "score": round(result.score, 4),
    }
    if result.reason is not None:
        record["reason"] = result.reason.value
    if result.remedy is not None:
        record["remedy"] = result.remedy.value
    if result.alternatives:
        record["alternatives"] = _alternatives(result.alternatives)
    return record


def translation_rows(number: int, result: "Translation") -> Iterator[str]:
    """Convert the alternatives of a translation to rows: the number of its line, the score and the
    text, separated by tabs; of an empty line, one row with an empty text."""
    for each in result.alternatives or (result,):
        yield f"{number}\t{each.score:.4f}\t{each.text}"


def to_tsv(result: "Transcript") -> str:
    """Convert a transcript to TSV: a header, then start and end (ms) and text of each segment."""
    rows = [
        f"{round(1000 * s.start)}\t{round(1000 * s.end)}\t{' '.join(s.text.split())}\n"
        for s in result.segments
        if s.text
    ]
    return "start\tend\ttext\n" + "".join(rows)


FORMATS = {
    "txt": OutputFormat(content=lambda result: f"{result.text}\n", help="plain text", lines=True),
    "json": OutputFormat(
        content=lambda result: json.dumps(to_record(result), ensure_ascii=False) + "\n",
        help="JSON Lines, one object per recording",
        lines=True,
    ),
    "srt": OutputFormat(content=to_srt, help="subtitles (SubRip)", timed=True),
    "vtt": OutputFormat(content=to_vtt, help="subtitles (WebVTT)", timed=True),
    "tsv": OutputFormat(content=to_tsv, help="start and end in ms, and text"),
}
"""Output formats by their names, which are also file suffixes."""


class Writer:
    """Writes transcripts to standard output and to files.

    The first format is printed to standard output; if there are several recordings, txt lines start
    with the recording's name. All formats are written to the folder, if given, as files named after
    the recordings. Recordings with equal names are numbered in the order of `sources`, regardless
    of which are written.

    Args:
        formats: one or more names of formats.
        sources: all recordings of this run.
        folder: output folder, or None for standard output only.

    Raises:
        UserError: the folder cannot be written, or is required but not given.
    """

    def __init__(self, formats: Sequence[str], sources: Sequence[str], folder: Path | None) -> None:
        self.formats = list(dict.fromkeys(formats))
        self.sources = sources
        self.folder = folder
        self.printed_format = self.formats[0]
        if folder is None:
            if len(self.formats) > 1:
                problem = "several formats cannot share standard output"
                raise UserError("--format", problem, "Add --output-dir")
            if len(sources) > 1 and not FORMATS[self.printed_format].lines:
                problem = "several recordings in this format cannot share standard output"
                raise UserError(f"--format {self.printed_format}", problem, "Add --output-dir")
            return
        self.stems = _distinct_stems(sources)
        with writing(folder, "Choose another folder"):
            folder.mkdir(parents=True, exist_ok=True)

    def is_done(self, index: int) -> bool:
        """Whether all output files of a recording exist and are no older than it."""
        if self.folder is None or self.sources[index] == STDIN:
            return False
        try:
            modified = Path(self.sources[index]).stat().st_mtime_ns
            return all(path.stat().st_mtime_ns >= modified for path in self._paths(index))
        except OSError:
            return False

    def check_place(self, index: int) -> None:
        """Check that outputs do not replace files next to the recording.

        Raises:
            UserError: an output file exists in the folder of the recording.
        """
        recording_folder = Path(self.sources[index]).resolve().parent
        for path in self._paths(index):
            if path.exists() and path.resolve().parent == recording_folder:
                raise UserError(
                    path,
                    "it lies beside its recording and may be its reference transcript",
                    "Choose another --output-dir",
                )

    def write(self, index: int, result: "Transcript") -> None:
        """Write the transcript of a recording; each file is replaced atomically.

        Raises:
            UserError: standard output or a file cannot be written.
        """
        self._print(result)
        finished: list[tuple[Path, Path]] = []
        for path, format in zip(self._paths(index), self.formats, strict=False):
            partial = path.with_name(f".{path.name}.partial")
            with writing(path):
                content = FORMATS[format].content(result)
                partial.write_bytes(content.encode("utf-8", "surrogateescape"))
                if result.warning is not None:
                    _set_older_than_source(partial, self.sources[index])
            finished.append((partial, path))
        for partial, path in finished:
            with writing(path):
                partial.replace(path)

    def _print(self, result: "Transcript") -> None:
        several = len(self.sources) > 1
        if several and not FORMATS[self.printed_format].lines:
            return
        name = f"{result.source}\t" if several and self.printed_format == "txt" else ""
        print_now(name + FORMATS[self.printed_format].content(result))

    def _paths(self, index: int) -> list[Path]:
        if self.folder is None:
            return []
        return [self.folder / f"{self.stems[index]}.{format}" for format in self.formats]


def print_now(text: str) -> None:
    """Print a result to standard output without delay.

    Raises:
        UserError: standard output cannot be written.
    """
    try:
        with writing("standard output", "Choose another output"):
            print(text, end="", flush=True)
    except UserError:  # discard its buffer, else Python fails again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


@contextmanager
def line_writer(output: Path | None) -> Iterator[Callable[[str], None]]:
    """Open an output of lines; yields a function that writes a line without delay.

    Args:
        output: file to write; None for standard output.

    Raises:
        UserError: the output cannot be written.
    """
    if output is None:
        yield lambda line: print_now(f"{line}\n")
        return
    with writing(output):
        file = output.open("w", encoding="utf-8")

    def write_line(line: str) -> None:
        with writing(output):
            print(line, file=file, flush=True)

    try:
        yield write_line
    finally:
        with writing(output):
            file.close()


def _alternatives(alternatives: "Sequence[Alternative]") -> list[dict[str, Any]]:
    return [{"text": a.text, "score": round(a.score, 4)} for a in alternatives]


def _distinct_stems(sources: Sequence[str]) -> list[str]:
    """Distinct output file names, without suffix, derived from the names of recordings."""
    stems: dict[str, None] = {}
    for source in sources:
        stem = name = "stdin" if source == STDIN else Path(source).stem
        number = 2
        while name in stems:
            name, number = f"{stem}-{number}", number + 1
        stems[name] = None
    return list(stems)


def _set_older_than_source(path: Path, source: str) -> None:
    """Make a file older than its recording, so that the next run processes it again."""
    if source != STDIN:
        before = Path(source).stat().st_mtime_ns - 1_000_000_000
        os.utime(path, ns=(before, before))
