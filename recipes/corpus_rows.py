"""Read the manifests of a corpus, and write those of the recipes."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr_s2s.errors import ManifestError

Row = dict[str, Any]

FIELDS = {
    "id": str,
    "audio": str,
    "duration": (int, float),
    "text": str,
    "speaker": str,
    "corpus": str,
}
"""Fields of a row and their types. `audio` is relative to the manifest's folder, `duration` is in
seconds."""


def read_corpus_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield (file:line, row) for each line of a JSONL file; rows contain `FIELDS`.

    Raises:
        ManifestError: the file cannot be read, or a line is not such a row.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(path, "this file cannot be read as text", "Check the folder") from error
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            problem = f"this line is not a JSON object with {', '.join(FIELDS)}"
            raise ManifestError(where, problem, "Correct or remove the line")
        for field, kind in FIELDS.items():
            if not isinstance(row.get(field), kind):
                problem = f"the field {field} is missing or has the wrong type"
                raise ManifestError(where, problem, "Correct or remove the line")
        yield where, row


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write a manifest, and print its number of recordings and hours to standard error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    hours = sum(row["duration"] for row in rows) / 3600
    print(f"{path}: {len(rows):,} recordings, {hours:.2f} hours", file=sys.stderr)
