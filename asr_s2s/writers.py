"""Transcripts to standard output and files: txt, JSON Lines, SubRip, WebVTT and TSV."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from asr_s2s.errors import UserError
from asr_s2s.pipeline import Alternative, Transcript
from asr_s2s.subtitles import to_srt, to_vtt

STDIN = "-"
"""The source that is standard input."""


def to_record(result: Transcript) -> dict[str, Any]:
    """The JSON object of a transcript: `source`, `duration` (s), `text`, `score`, `segments` with
    `start` and `end` (s), `text`, `score`, `words` where they were asked for, and where something
    was wrong, `reason` and what was done about it, `remedy`; and `alternatives` where several were
    asked for: of a short recording beside its text, of a long one in its segments."""
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
            row["words"] = [
                {
                    "text": word.text,
                    "start": round(word.start, 3),
                    "end": round(word.end, 3),
                    "confidence": round(word.confidence, 4),
                }
                for word in segment.words
            ]
        record["segments"].append(row)
    if result.alternatives:
        record["alternatives"] = _alternatives(result.alternatives)
    return record


def to_tsv(result: Transcript) -> str:
    """Rows of start and end in milliseconds, and text, under a header."""
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
"""The whole file of a transcript, by suffix."""
TIMED = ("srt", "vtt")
"""Formats that need the times of words."""
LINES = ("txt", "json")
"""Formats of which those of several recordings may follow one another on standard output."""


class Writer:
    """Writes each transcript as it comes.

    The first format goes to standard output, where the recording's name stands before its text if
    there are several; all go to the folder, if there is one, as files named after the recordings.
    Recordings of one name get numbers in the order in which they were given, whichever of them are
    written.

    Args:
        formats: of `FORMATS`, one or more.
        sources: all recordings of this run.
        folder: where to write files, or None.

    Raises:
        UserError: the folder cannot be made, or is needed and missing.
    """

    def __init__(self, formats: Sequence[str], sources: Sequence[str], folder: Path | None) -> None:
        self.formats = list(dict.fromkeys(formats))
        self.sources = sources
        self.folder = folder
        self.printed = self.formats[0]
        if folder is None:
            if len(self.formats) > 1:
                problem = "several formats do not fit on standard output"
                raise UserError("--format", problem, "Add --output-dir")
            if len(sources) > 1 and self.printed not in LINES:
                problem = "those of several recordings do not fit on standard output"
                raise UserError(f"--format {self.printed}", problem, "Add --output-dir")
            return
        self.stems = _distinct_stems(sources)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                folder, f"this folder cannot be made ({error.strerror})", "Name another"
            ) from error

    def is_done(self, index: int) -> bool:
        """Whether all files of a recording are there and no older than it."""
        if self.folder is None or self.sources[index] == STDIN:
            return False
        try:
            since = Path(self.sources[index]).stat().st_mtime_ns
            return all(path.stat().st_mtime_ns >= since for path in self._paths(index))
        except OSError:
            return False

    def check_place(self, index: int) -> None:
        """
        Raises:
            UserError: writing would replace a file beside the recording.
        """
        beside = Path(self.sources[index]).resolve().parent
        for path in self._paths(index):
            if path.exists() and path.resolve().parent == beside:
                raise UserError(
                    path,
                    "it lies beside its recording, and may be its transcript by a person",
                    "Name another --output-dir",
                )

    def write(self, index: int, result: Transcript) -> None:
        """Write the transcript of a recording, each of its files whole or not at all.

        Raises:
            UserError: it cannot be written.
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
                    _antedate(partials[-1], self.sources[index])
            for path, partial in zip(self._paths(index), partials, strict=True):
                partial.replace(path)
        except BrokenPipeError:
            raise
        except OSError as error:
            if where == "standard output":  # what is left in its buffer cannot be written either
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise UserError(
                where, f"cannot be written ({error.strerror})", "Choose another place"
            ) from error

    def _print(self, result: Transcript) -> None:
        several = len(self.sources) > 1
        if several and self.printed not in LINES:
            return
        name = f"{result.source}\t" if several and self.printed == "txt" else ""
        print(name + FORMATS[self.printed](result), end="", flush=True)

    def _paths(self, index: int) -> list[Path]:
        if self.folder is None:
            return []
        return [self.folder / f"{self.stems[index]}.{format}" for format in self.formats]


def _alternatives(alternatives: Sequence[Alternative]) -> list[dict[str, Any]]:
    return [{"text": a.text, "score": round(a.score, 4)} for a in alternatives]


def _distinct_stems(sources: Sequence[str]) -> list[str]:
    """A file name without suffix for each recording, after its own."""
    stems: dict[str, None] = {}
    for source in sources:
        stem = name = "stdin" if source == STDIN else Path(source).stem
        number = 2
        while name in stems:
            name, number = f"{stem}-{number}", number + 1
        stems[name] = None
    return list(stems)


def _antedate(path: Path, source: str) -> None:
    """Make a file older than its recording, so that another run reports the recording again."""
    if source != STDIN:
        before = Path(source).stat().st_mtime_ns - 1_000_000_000
        os.utime(path, ns=(before, before))
