"""Output formats of transcripts and translations, and writers of files and standard output.

Does not import torch, so that the command line can list the formats in its help.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_s2s.data.standard_input import STDIN
from asr_s2s.errors import UserError, printable, writing
from asr_s2s.output_index import OutputIndex, recording_state
from asr_s2s.subtitles import to_srt, to_vtt
from asr_s2s.text_files import partial_path

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


def to_json(record: dict[str, Any]) -> str:
    """Encode a record as one line of JSON. Bytes of file names that are not UTF-8 are escaped as
    lone surrogates, from which `os.fsencode` restores them."""
    line = json.dumps(record, ensure_ascii=False)
    return line.encode("utf-8", "backslashreplace").decode()


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
        content=lambda result: to_json(to_record(result)) + "\n",
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
    the recordings; an index in the folder tells which file belongs to which recording.

    Args:
        formats: one or more names of formats.
        sources: all recordings of this run.
        folder: output folder, or None for standard output only.
        overwrite: whether files of unknown origin may be replaced.

    Raises:
        UserError: the folder cannot be written, or is required but not given.
    """

    def __init__(
        self,
        formats: Sequence[str],
        sources: Sequence[str],
        folder: Path | None,
        *,
        overwrite: bool = False,
    ) -> None:
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
        with writing(folder, "Choose another folder"):
            folder.mkdir(parents=True, exist_ok=True)
            self._index = OutputIndex(folder, list(FORMATS))
            self._names = self._index.assign(sources, overwrite=overwrite)
        self._states = list(map(_state, sources))

    def is_done(self, index: int) -> bool:
        """Whether all output files of a recording exist, are complete, and are of its content."""
        if self.folder is None or self.sources[index] == STDIN:
            return False
        return self._index.is_done(self._names[index], self.sources[index], self._paths(index))

    def claim(self, index: int) -> bool:
        """Reserve the output files of a recording; False if another process writes them."""
        return self.folder is None or self._index.claim(self._names[index])

    def check_place(self, index: int) -> None:
        """Check that outputs do not replace files next to the recording.

        Raises:
            UserError: an output file exists in the folder of the recording, and this program did
                not write it, or it was changed since.
        """
        recording_folder = Path(self.sources[index]).resolve().parent
        for path in self._paths(index):
            if not path.exists() or path.resolve().parent != recording_folder:
                continue
            name = self._names[index]
            if self._index.is_foreign(name) or self._index.is_changed(name, path):
                raise UserError(
                    path,
                    "it lies beside its recording and may be its reference transcript",
                    "Choose another --output-dir",
                )

    def write(self, index: int, result: "Transcript") -> None:
        """Write the transcript of a recording to its files, and print it. Each file is replaced
        atomically.

        Raises:
            UserError: standard output or a file cannot be written.
        """
        if self.folder is not None:
            self._write_files(index, result)
        self._print(result)

    def _write_files(self, index: int, result: "Transcript") -> None:
        paths = self._paths(index)
        partial = [partial_path(path) for path in paths]
        try:
            written = 0
            for place, path, format in zip(partial, paths, self.formats, strict=True):
                with writing(path):
                    content = FORMATS[format].content(result)
                    place.write_bytes(content.encode("utf-8", "surrogateescape"))
                    written = written or place.stat().st_mtime_ns
                    os.utime(place, ns=(written, written))
            with writing(self.folder or "index", "Choose another folder"):
                # Before the files get their names: they count only if they are as new as this says.
                self._index.enter(
                    self._names[index],
                    self.sources[index],
                    self._states[index],
                    None if result.warning is not None else written,
                )
            for place, path in zip(partial, paths, strict=True):
                with writing(path):
                    place.replace(path)
        finally:
            for place in partial:
                with suppress(OSError):
                    place.unlink(missing_ok=True)

    def _print(self, result: "Transcript") -> None:
        several = len(self.sources) > 1
        if several and not FORMATS[self.printed_format].lines:
            return
        name = f"{printable(result.source)}\t" if several and self.printed_format == "txt" else ""
        print_now(name + FORMATS[self.printed_format].content(result))

    def _paths(self, index: int) -> list[Path]:
        if self.folder is None:
            return []
        return [self.folder / f"{self._names[index]}.{format}" for format in self.formats]


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


def _state(source: str) -> tuple[int, int] | None:
    """Size and modification time of a recording; None if it is not a file."""
    try:
        return None if source == STDIN else recording_state(source)
    except (OSError, ValueError):
        return None
