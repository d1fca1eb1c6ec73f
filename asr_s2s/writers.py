"""Output formats for transcripts (txt, JSON Lines, SubRip, WebVTT, TSV) and their writer."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from asr_s2s.errors import UserError
from asr_s2s.pipeline import Alternative, Transcript, Word
from asr_s2s.subtitles import to_srt, to_vtt

STDIN = "-"
"""Source name of standard input."""


def to_record(result: Transcript) -> dict[str, Any]:
    """Convert a transcript to a JSON object.

    Fields: `source`, `duration` (s), `text`, `score` and `segments`, each with `start` and `end`
    (s), `text`, `score`, `words` (if requested), `reason` and `remedy` (if the guard found a
    problem). A word has `text`, `start` and `end` (s) and `confidence`, and `known`, which is
    false, if it is not in the model's lexicon and is spelled by its sound. `alternatives`, if
    requested, are at top level for a short recording and in the segments for a long one.
    """
    record: dict[str, Any] = {
        "source": result.source,
        "duration": round(result.duration, 3),
        "text": result.text,
        "score": round(result.score, 4),
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
            row["words"] = [_word(word) for word in segment.words]
        record["segments"].append(row)
    if result.alternatives:
        record["alternatives"] = _alternatives(result.alternatives)
    return record


def to_tsv(result: Transcript) -> str:
    """Convert a transcript to TSV: a header, then start and end (ms) and text of each segment."""
    rows = [
        f"{round(1000 * s.start)}\t{round(1000 * s.end)}\t{' '.join(s.text.split())}\n"
        for s in result.segments
        if s.text
    ]
    return "start\tend\ttext\n" + "".join(rows)


FORMATS: dict[str, Callable[[Transcript], str]] = {
    "txt": lambda result: f"{result.text}\n",
    "json": lambda result: json.dumps(to_record(result), ensure_ascii=False) + "\n",
    "srt": to_srt,
    "vtt": to_vtt,
    "tsv": to_tsv,
}
"""Functions from a transcript to file content, by file suffix."""
TIMED = ("srt", "vtt")
"""Formats that need word times."""
LINES = ("txt", "json")
"""Formats in which transcripts of several recordings can be concatenated."""


class Writer:
    """Writes transcripts to standard output and to files.

    The first format is printed to standard output; if there are several recordings, txt lines start
    with the recording's name. All formats are written to the folder, if given, as files named after
    the recordings. Recordings with equal names are numbered in the order of `sources`, regardless
    of which are written.

    Args:
        formats: one or more keys of `FORMATS`.
        sources: all recordings of this run.
        folder: output folder, or None for standard output only.

    Raises:
        UserError: the folder cannot be created, or is required but not given.
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
            if len(sources) > 1 and self.printed_format not in LINES:
                problem = "several recordings in this format cannot share standard output"
                raise UserError(f"--format {self.printed_format}", problem, "Add --output-dir")
            return
        self.stems = _distinct_stems(sources)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                folder, f"this folder cannot be created ({error.strerror})", "Choose another"
            ) from error

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

    def write(self, index: int, result: Transcript) -> None:
        """Write the transcript of a recording; each file is replaced atomically.

        Raises:
            UserError: standard output or a file cannot be written.
        """
        where: str | Path = "standard output"
        try:
            self._print(result)
            where = self.folder or where
            partials = []
            for path in self._paths(index):
                where = path
                partials.append(path.with_name(f".{path.name}.partial"))
                content = FORMATS[path.suffix[1:]](result)
                partials[-1].write_bytes(content.encode("utf-8", "surrogateescape"))
                if result.warning is not None:
                    _set_older_than_source(partials[-1], self.sources[index])
            for path, partial in zip(self._paths(index), partials, strict=True):
                partial.replace(path)
        except BrokenPipeError:
            raise
        except OSError as error:
            if where == "standard output":  # discard its buffer, else Python fails again at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise UserError(
                where, f"cannot be written ({error.strerror})", "Choose another output"
            ) from error

    def _print(self, result: Transcript) -> None:
        several = len(self.sources) > 1
        if several and self.printed_format not in LINES:
            return
        name = f"{result.source}\t" if several and self.printed_format == "txt" else ""
        print(name + FORMATS[self.printed_format](result), end="", flush=True)

    def _paths(self, index: int) -> list[Path]:
        if self.folder is None:
            return []
        return [self.folder / f"{self.stems[index]}.{format}" for format in self.formats]


def _word(word: Word) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "text": word.text,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": round(word.confidence, 4),
    }
    return fields if word.known else fields | {"known": False}


def _alternatives(alternatives: Sequence[Alternative]) -> list[dict[str, Any]]:
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
