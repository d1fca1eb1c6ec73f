"""Text files: decompression, lines, rows of tables and JSON Lines, and atomic writing.

Files may be compressed with gzip or xz, which is detected from their content. Text is UTF-8, with
or without a byte order mark, or UTF-16 with one. Only LF or CRLF ends a line, as in `wc` and in
the tools that align files.
"""

import codecs
import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from asr_s2s.errors import ManifestError

GZIP, XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
"""Magic bytes of compressed files."""
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""Byte order marks of UTF-16."""
PACKED = (".gz", ".xz")
"""Suffixes of compressed files."""
TABLES = (".tsv", ".csv", ".jsonl")
"""Suffixes of files whose rows have named columns."""
UNREADABLE = (OSError, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError)
"""Exceptions of reading a file that is missing, damaged, or not UTF-8."""
AUDIO_EXAMPLE = '{"audio": "a.wav", "text": "hello"}'
TEXT_EXAMPLE = '{"source": "Good morning", "target": "Guten Morgen"}'

_FORMS = (
    (("audio_filepath",), {"audio_filepath": "audio", "offset": "start"}),
    (
        ("path", "sentence"),
        {"path": "audio", "sentence": "text", "client_id": "speaker", "locale": "language"},
    ),
    (("file_name",), {"file_name": "audio", "transcription": "text"}),
)
"""Columns of NeMo manifests, of Common Voice tables and of Hugging Face audio folders: those by
which each is recognized, and the names of this project for them."""

Row = dict[str, Any]
"""Row of a file as written, before its values are checked."""
Rows = Iterator[tuple[str, Row | ManifestError]]
"""Rows, or errors of lines, each with its position as file:line."""


def content_suffix(path: Path) -> str:
    """Return the lowercase suffix without that of compression: ".tsv" for a.TSV.gz."""
    plain = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return plain.suffix.lower()


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, decompressed if it is gzip or xz.

    Raises:
        OSError: the file cannot be opened. Reading raises the exceptions in `UNREADABLE`.
    """
    with path.open("rb") as packed, ExitStack() as stack:
        start = packed.peek(len(XZ))
        file: BinaryIO | gzip.GzipFile | lzma.LZMAFile = packed
        if start.startswith(GZIP):
            file = stack.enter_context(gzip.GzipFile(fileobj=packed))
        elif start.startswith(XZ):
            file = stack.enter_context(lzma.LZMAFile(packed))
        yield cast(BinaryIO, file)


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a file for reading text line by line, decompressed; exceptions as in `open_binary`."""
    with open_binary(path) as file:
        start = cast(io.BufferedReader, file).peek(len(UTF16[0]))
        yield io.TextIOWrapper(file, _encoding(start), newline="\n")


def _encoding(start: bytes) -> str:
    """Return the encoding of a text by its first bytes."""
    return "utf-16" if start.startswith(UTF16) else "utf-8-sig"


def read_bytes(path: Path, noun: str) -> bytes:
    """Read a whole file, decompressed.

    Args:
        noun: kind of file, for messages.

    Raises:
        ManifestError: the file is missing or damaged.
    """
    try:
        with open_binary(path) as file:
            return file.read()
    except FileNotFoundError as error:
        raise ManifestError(path, f"there is no such {noun}", "Check the path") from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise ManifestError(
            path, f"the compressed file is damaged: {error}", "Create or copy it again"
        ) from error
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
        raise ManifestError(path, problem, f"Give the path of a {noun}") from error


def read_text(path: Path, noun: str = "manifest") -> str:
    """Read a whole file of UTF-8 text, or of UTF-16 with a byte order mark, decompressed.

    Args:
        noun: kind of file, for messages.

    Raises:
        ManifestError: the file is missing, damaged, or not UTF-8.
    """
    content = read_bytes(path, noun)
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            f"{path}:{line}", "this is not UTF-8 text", f"Save the {noun} as UTF-8"
        ) from error


def read_lines(path: str | Path, noun: str = "text file") -> list[str]:
    """Read the lines of a text file, decompressed, without their ends.

    Raises:
        ManifestError: as in `read_text`.
    """
    return split_lines(read_text(Path(path), noun))


def split_lines(content: str) -> list[str]:
    """Split text into lines without their ends; unlike `str.splitlines`, not at form feeds and
    similar characters."""
    lines = content.split("\n")
    if not lines[-1]:
        del lines[-1]
    return [line.removesuffix("\r") for line in lines]


def first_line(path: Path) -> str:
    """Read the first line with text, decompressed; empty if the file cannot be read."""
    if not path.is_file():  # a pipe could not be read a second time
        return ""
    try:
        with open_binary(path) as file:
            start = cast(io.BufferedReader, file).peek(len(UTF16[0]))
            if start.startswith(UTF16):
                lines: Iterator[str] = io.TextIOWrapper(file, "utf-16", newline="\n")
            else:  # an error in a later line does not matter here
                lines = (line.decode("utf-8-sig") for line in file)
            stripped = (line.rstrip("\r\n") for line in lines)
            return next((line for line in stripped if line.strip()), "")
    except UNREADABLE:
        return ""


def rename_columns(names: Iterable[str]) -> list[str]:
    """Return column names with those of NeMo, Common Voice and audio folders replaced by the names
    of this project; others are kept."""
    names = list(names)
    for recognized_by, changes in _FORMS:
        if "audio" not in names and all(name in names for name in recognized_by):
            renamed = [changes.get(name, name) for name in names]
            return renamed if len(set(renamed)) == len(set(names)) else names
    return names


def column_names(line: str, suffix: str) -> list[str]:
    """Return the values of the first line of a table, which are its columns if it has a header, or
    the fields of the first object of JSON Lines; empty if there are none. Names of other tools are
    replaced as in `rename_columns`.

    Args:
        suffix: one of `TABLES`.
    """
    return rename_columns(_column_names(line, suffix))


def _column_names(line: str, suffix: str) -> list[str]:
    if suffix == ".jsonl":
        try:
            row = json.loads(line)
        except ValueError:
            return []
        return list(row) if isinstance(row, dict) else []
    if suffix == ".csv":
        try:
            return next(csv.reader([line]), [])
        except csv.Error:
            return []
    return line.removesuffix("\r").split("\t")


def read_rows(
    path: Path,
    content: str,
    required: Sequence[str] = (),
    *,
    example: str = AUDIO_EXAMPLE,
) -> Rows:
    """Yield each row of a file, or the error of its line.

    Args:
        path: name of the file; `.tsv` and `.csv` (also compressed) have a header line, and all
            others are JSON Lines.
        content: text of the file.
        required: columns that a header must have.
        example: an object to show in messages about JSON Lines.

    Raises:
        ManifestError: the file is a JSON array, its header lacks a required column, or it is not a
            table.
    """
    if content_suffix(path) not in (".tsv", ".csv"):
        return _json_rows(path, content, example)
    return _table_rows(path, content, required)


def _json_rows(path: Path, content: str, example: str) -> Rows:
    if content.lstrip().startswith("["):
        # The kind of rows is detected from the first line, which is inconclusive here.
        examples = f"{AUDIO_EXAMPLE} or {TEXT_EXAMPLE}"
        raise ManifestError(
            path, "this is a JSON array", f"Write one JSON object per line, such as {examples}"
        )
    fix = f"Write one JSON object per line, such as {example}"
    for number, line in enumerate(content.split("\n"), start=1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            yield where, ManifestError(where, f"this line is not JSON: {error}", fix)
            continue
        if isinstance(row, dict):
            yield where, dict(zip(rename_columns(row), row.values(), strict=True))
        else:
            problem = f"expected a JSON object, found {line.strip()[:40]!r}"
            yield where, ManifestError(where, problem, fix)


def table_lines(path: Path, content: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the position, as file:line, and the values of each line of a table that is not empty.

    Raises:
        ManifestError: a `.csv` is malformed.
    """
    by_comma = content_suffix(path) == ".csv"
    return _comma_lines(path, content) if by_comma else _tab_lines(path, content)


def _table_rows(path: Path, content: str, required: Sequence[str]) -> Rows:
    header: list[str] = []
    for where, values in table_lines(path, content):
        if not header:
            if any(value.strip() for value in values):
                header = rename_columns(values)
                require_columns(header, where, required)
        elif len(values) == len(header):
            yield where, dict(zip(header, values, strict=True))
        else:
            problem = f"expected the {len(header)} columns of the header, found {len(values)}"
            yield where, ManifestError(where, problem, "Give one value per column")


def _tab_lines(path: Path, content: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the values of each line; quotation marks are part of the text."""
    for number, line in enumerate(content.split("\n"), start=1):
        line = line.removesuffix("\r")
        if line:
            yield f"{path}:{number}", line.split("\t")


def _comma_lines(path: Path, content: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the values of each row; quoted values may contain commas and line ends."""
    lines = csv.reader(io.StringIO(content, newline="\n"))
    try:
        for values in lines:
            if values:
                yield f"{path}:{lines.line_num}", values
    except csv.Error as error:
        problem = f"this is not a table: {error}"
        if "new-line character" in str(error):
            problem = "found a carriage return in a value without quotation marks"
        raise ManifestError(f"{path}:{lines.line_num}", problem, "Correct the line") from error


def require_columns(names: Iterable[str], where: str, required: Sequence[str]) -> None:
    """Refuse a list of column names that lacks a required one.

    Raises:
        ManifestError: a required column is missing.
    """
    names = list(names)
    for column in required:
        if column not in names:
            problem = f"there is no column '{column}'; found {', '.join(names) or 'none'}"
            raise ManifestError(where, problem, f"Name the {column} column '{column}'")


def require_characters(row: Row, where: str) -> None:
    """Refuse values with lone surrogates.

    JSON escapes and file names may contain them, but they cannot be encoded as UTF-8.

    Raises:
        ManifestError: a value contains a lone surrogate.
    """
    for name, value in row.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            problem = f"{name!r} contains {error.object[error.start]!r}, which is no character"
            raise ManifestError(where, problem, "Correct the value") from error


def longest_name(folder: Path) -> int:
    """Return how many bytes a file name may have in an existing folder."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        return 255


def partial_path(path: Path) -> Path:
    """Return the path of a hidden file in the same folder, in which a file is written. It is always
    the same, so that the next attempt replaces what a killed process left."""
    name = f".{path.name}.partial"
    if len(os.fsencode(name)) > longest_name(path.parent):
        name = f".{hashlib.blake2b(os.fsencode(path.name), digest_size=16).hexdigest()}.partial"
    return path.with_name(name)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing bytes that gets its name only when it is complete and on disk, so
    that neither an error nor a crash leaves a part of it or loses the file it replaces.

    Raises:
        OSError: the file cannot be written.
    """
    partial = partial_path(path)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file of UTF-8 text atomically; exceptions as in `atomic_write`."""
    with atomic_write(path) as file:
        file.write(text.encode())
