"""Transcripts to standard output and files: txt and JSON Lines."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from asr_s2s.errors import UserError
from asr_s2s.pipeline import Transcript


def to_record(result: Transcript) -> dict[str, Any]:
    """The JSON object of a transcript: `source`, `duration` (s), `text`, `score`, and
    `alternatives` where several were asked for."""
    record: dict[str, Any] = {
        "source": result.source,
        "duration": round(result.duration, 3),
        "text": result.text,
        "score": round(result.score, 4),
    }
    if result.alternatives:
        record["alternatives"] = [
            {"text": a.text, "score": round(a.score, 4)} for a in result.alternatives
        ]
    return record


class Writer:
    """Writes each transcript as it comes.

    Args:
        format: `txt` or `json`.
        named: whether txt lines on standard output start with the recording's name and a tab.
        folder: where to write one file for each recording as well, or None.
    """

    def __init__(self, format: str, *, named: bool, folder: Path | None) -> None:
        self.format = format
        self.named = named
        self.folder = folder
        self.taken: set[Path] = set()
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    folder, f"this folder cannot be made ({error.strerror})", "Name another"
                ) from error

    def write(self, result: Transcript) -> None:
        """Write one transcript.

        Raises:
            UserError: it cannot be written, or would replace a file beside the recording.
        """
        if self.format == "json":
            line = json.dumps(to_record(result), ensure_ascii=False)
            printed = line
        else:
            line = result.text
            printed = f"{result.source}\t{line}" if self.named else line
        where = "standard output"
        try:
            print(printed, flush=True)
            if self.folder is not None:
                path = self._path(result.source)
                where = str(path)
                path.write_text(f"{line}\n", "utf-8", errors="surrogateescape")
        except BrokenPipeError:
            raise
        except OSError as error:
            if where == "standard output":  # what is left in its buffer cannot be written either
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise UserError(
                where, f"cannot be written ({error.strerror})", "Choose another place"
            ) from error

    def _path(self, source: str) -> Path:
        """A file name after the recording's, unlike all others of this run."""
        assert self.folder is not None
        stem = "stdin" if source == "-" else Path(source).stem
        path, number = self.folder / f"{stem}.{self.format}", 2
        while path in self.taken:
            path, number = self.folder / f"{stem}-{number}.{self.format}", number + 1
        self.taken.add(path)
        if path.exists() and path.resolve().parent == Path(source).resolve().parent:
            raise UserError(
                path,
                "it lies beside its recording, and may be its transcript by a person",
                "Name another --output-dir",
            )
        return path
