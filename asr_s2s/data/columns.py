"""Columns that manifests and parallel text have in common."""

from asr_s2s.errors import ManifestError
from asr_s2s.text_files import Row

REQUIRED = ("audio", "text")
"""Required columns of a manifest."""


def label(row: Row, where: str, name: str) -> str | None:
    """Return an id, speaker or language: text or an integer; None if empty or absent."""
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise invalid_value(where, name, "text", value)
    return str(value)


def invalid_value(where: str, name: str, expected: str, value: object) -> ManifestError:
    return ManifestError(
        where, f"{name}: expected {expected}, found {value!r}", "Correct the value"
    )
