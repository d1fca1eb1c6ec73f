"""Parallel text: sources with their translations or other target texts.

Two formats are supported:

- two line-aligned files, given as one name with braces: `train.{en,de}.gz` stands for
  `train.en.gz`, the sources, and `train.de.gz`, the targets;
- a table: `.tsv`, `.csv` or `.jsonl` with columns `source` and `target`, optionally `id` and
  `language` (of the target); or, without header, a `.tsv` that starts with these two columns, or a
  table whose columns the caller names.

Files may be compressed with gzip or xz.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asr_s2s.data.columns import REQUIRED, label
from asr_s2s.errors import ManifestError
from asr_s2s.text_files import (
    TABLES,
    TEXT_EXAMPLE,
    Row,
    Rows,
    column_names,
    content_suffix,
    first_line,
    read_lines,
    read_rows,
    read_text,
    require_characters,
    require_columns,
    table_lines,
)

COLUMNS = ("source", "target")
LABELS = ("id", "language")
"""Optional columns."""
_BRACES = re.compile(r"\{([^{}]*)\}")
_LANGUAGE = re.compile(r"[a-z]{2}|[a-z]{2,3}[-_][A-Za-z0-9]{2,4}")
"""Language code, optionally with script or region; three letters alone could also be tgt or txt."""


@dataclass(frozen=True)
class TextPair:
    """A source with its translation or other target text."""

    id: str
    """Column `id`, or file name and line number such as train:12; unique within the file."""
    source: str
    target: str
    language: str | None
    """Language of the target: column `language`, or the target's name in the braces of two files
    if it is a code such as de or pt-BR."""
    fields: Mapping[str, Any] | None = field(default=None, hash=False)
    """Other columns of a table, or None."""


def is_parallel(path: str | Path) -> bool:
    """Return whether a path is parallel text, judging by braces or the first line with text.

    False for manifests of recordings and for files that cannot be read.
    """
    path = Path(path)
    if "{" in str(path):
        return True
    suffix, line = content_suffix(path), first_line(path)
    if suffix not in TABLES:
        return False
    columns = column_names(line, suffix)
    if suffix == ".tsv":
        # Without a header, the first line is a pair, which may contain one of these words.
        return bool(line) and not set(columns).issuperset(REQUIRED)
    if any(name in columns for name in REQUIRED):
        return False
    return any(name in columns for name in COLUMNS)


def is_one_side(path: str | Path) -> bool:
    """Return whether a path is plain text, that is, one side of parallel text."""
    path = Path(path)
    if is_parallel(path) or content_suffix(path) in TABLES:
        return False
    return first_line(path).lstrip()[:1] not in ("", "{", "[")


def read_parallel(path: str | Path, columns: Sequence[str] = ()) -> list[TextPair]:
    """Read all pairs. Repeated ids get a number appended; `asr-s2s check` reports them.

    Args:
        path: parallel text.
        columns: as in `iter_parallel`.

    Raises:
        ManifestError: the text, or a line of it (reported as file:line), cannot be used.
    """
    pairs = []
    for item in iter_parallel(path, columns, number_ids=True):
        if isinstance(item, ManifestError):
            raise item
        pairs.append(item)
    return pairs


def iter_parallel(
    path: str | Path, columns: Sequence[str] = (), *, number_ids: bool = False
) -> Iterator[TextPair | ManifestError]:
    """Yield the pairs in order, including those with an empty side, and an error for each line that
    cannot be used.

    Args:
        path: parallel text.
        columns: names of the first columns of a table without header; none if it has a header, or
            consists of source and target.
        number_ids: append a number to repeated ids; otherwise they are errors.

    Raises:
        ManifestError: the text as a whole cannot be read, or contains no pairs.
    """
    path = Path(path)
    if "{" in str(path):
        items: Iterable[tuple[str, TextPair | ManifestError]] = _read_aligned(path)
    elif content_suffix(path) in TABLES:
        items = _read_table(path, columns)
    else:
        raise ManifestError(
            path,
            "a single text file is not parallel text",
            "Give both files as one name with braces, quoted so that the shell does not expand it: "
            "'train.{en,de}'; or give a table (.tsv, .csv, .jsonl) of source and target",
        )
    places: dict[str, str] = {}
    repeats: Counter[str] = Counter()
    empty = True
    for where, item in items:
        empty = False
        if isinstance(item, TextPair):
            name = item.id
            while number_ids and item.id in places:
                repeats[name] += 1
                item = replace(item, id=f"{name}-{repeats[name] + 1}")
            if item.id in places:
                item = ManifestError(
                    where,
                    f"the id {name!r} is already used by {places[name]}",
                    "Give each pair its own id, or leave the ids out",
                )
            else:
                places[item.id] = where
        yield item
    if empty:
        raise ManifestError(path, "it contains no sentence pairs", "Write one pair per line")


def _read_aligned(path: Path) -> Iterator[tuple[str, TextPair]]:
    source_file, target_file, language = _expand_braces(path)
    sources, targets = read_lines(source_file), read_lines(target_file)
    if len(sources) != len(targets):
        raise ManifestError(
            path,
            f"{source_file} has {len(sources):,} lines, {target_file} has {len(targets):,}",
            "Align them again: each line must translate the same line of the other file",
        )
    stem = _stem(source_file)
    for number, (source, target) in enumerate(zip(sources, targets, strict=True), start=1):
        yield f"{path}:{number}", TextPair(f"{stem}:{number}", source, target, language)


def _expand_braces(path: Path) -> tuple[Path, Path, str | None]:
    """Expand a name with braces to source file, target file, and language of the target."""
    name = str(path)
    groups = _BRACES.findall(name)
    names = groups[0].split(",") if groups else []
    if len(groups) != 1 or len(set(names)) != 2 or len(names) != 2 or name.count("{") != 1:
        raise ManifestError(
            path,
            "expected one pair of braces around two different names",
            "Write source and target as in 'train.{en,de}' or '{source.txt,target.txt}'",
        )
    before, after = name.split("{" + groups[0] + "}")
    source, target = (Path(before + part + after) for part in names)
    return source, target, names[1] if _LANGUAGE.fullmatch(names[1]) else None


def _read_table(
    path: Path, columns: Sequence[str]
) -> Iterator[tuple[str, TextPair | ManifestError]]:
    content, suffix = read_text(path, "text file"), content_suffix(path)
    first = next((line for line in content.split("\n") if line.strip()), "")
    header = column_names(first, suffix)
    if suffix == ".tsv" and not any(name in header for name in COLUMNS):
        columns = columns or COLUMNS
    if columns and suffix != ".jsonl":
        require_columns(columns, str(path), COLUMNS)
        rows = _rows_without_header(path, content, columns)
    else:
        rows = read_rows(path, content, COLUMNS, example=TEXT_EXAMPLE)
    stem = _stem(path)
    for where, row in rows:
        try:
            if isinstance(row, ManifestError):
                raise row
            if suffix == ".jsonl":  # JSON escapes may contain lone surrogates
                require_characters(row, where)
            yield where, _pair(row, where, stem)
        except ManifestError as error:
            yield where, error


def _rows_without_header(path: Path, content: str, columns: Sequence[str]) -> Rows:
    separator = "a comma" if content_suffix(path) == ".csv" else "a tab"
    for where, values in table_lines(path, content):
        if len(values) >= len(columns):
            yield where, dict(zip(columns, values, strict=False))
        elif any(value.strip() for value in values):
            found = "one column" if len(values) == 1 else f"{len(values)} columns"
            problem = f"expected {' and '.join(columns)} separated by {separator}, found {found}"
            yield where, ManifestError(where, problem, "Add the target, or remove the line")


def _pair(row: Row, where: str, stem: str) -> TextPair:
    require_columns(row, where, COLUMNS)
    for name in COLUMNS:
        if not isinstance(row[name], str):
            problem = f"{name}: expected text, found {row[name]!r}"
            raise ManifestError(where, problem, "Correct the value")
    line = where.rpartition(":")[2]
    return TextPair(
        label(row, where, "id") or f"{stem}:{line}",
        row["source"],
        row["target"],
        label(row, where, "language"),
        {name: value for name, value in row.items() if name not in (*COLUMNS, *LABELS)} or None,
    )


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]
