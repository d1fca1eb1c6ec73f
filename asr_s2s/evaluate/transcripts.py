"""Files of transcripts and translations, and pairing of hypotheses with their references.

The format is detected from the suffix and the first line:

- `.txt`: one transcript per line, paired by line number.
- `.tsv`, `.csv` and `.jsonl`: rows with `text`, either `id` or `source` (path of the recording as
  given to the command that wrote the file), and optionally `speaker`. The first line of a table
  names its columns; without such a header, lines of a `.tsv` are `id<TAB>text`.
- manifests (`asr_s2s.data.manifest`): rows that name audio.
- parallel text (`asr_s2s.data.parallel`): the target side is used.
- files with other suffixes, such as `test.de` or `test.de.gz`: one translation per line.

All of them may be compressed with gzip or xz.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_s2s.data.kaldi import refuse_folder
from asr_s2s.errors import ManifestError, UserError
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.text_files import (
    PACKED,
    TABLES,
    Row,
    Rows,
    column_names,
    content_suffix,
    read_lines,
    read_rows,
    read_text,
    require_characters,
    split_lines,
)

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from asr_s2s.data.parallel import TextPair

NAMED = ("text", "id", "source", "speaker")
"""Columns with a meaning of their own."""
SHOWN = 3
"""Maximum number of ids in an error message."""


@dataclass(frozen=True)
class Entry:
    """Transcript or translation read from a file."""

    text: str
    id: str | None = None
    """Utterance id; None if the format has no ids."""
    source: Path | None = None
    """Path of the recording or other value of the field `source`, if any."""
    alternatives: tuple[str, ...] = ()
    """Further references of the same source that are equally correct."""
    source_text: str | None = None
    """Source text of a translation, if any."""
    speaker: str | None = None
    """Name of the speaker, if known."""
    start: float = 0.0
    """Start within the recording in seconds."""
    duration: float | None = None
    """Duration in seconds; None for the rest of the recording."""
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further fields of the file by name."""


def read_transcripts(
    path: Path, *, translations: bool = False, any_reference: bool = False
) -> list[Entry]:
    """Read transcripts in one of the formats above.

    Args:
        path: a file, or two files of parallel text such as `test.{en,de}`.
        translations: read files with other suffixes as one translation per line.
        any_reference: read parallel text, and merge lines with the same source to one entry.

    Raises:
        ManifestError: the file does not exist, is a folder or is not UTF-8 text; its suffix is
            unknown; a line does not fit its format; or an id occurs twice.
    """
    refuse_folder(path)
    if any_reference or "{" in str(path):
        return _read_parallel(path, any_reference)
    suffix = content_suffix(path)
    if translations and suffix not in TABLES and path.suffix != ".txt":
        return [Entry(line.strip()) for line in read_lines(path)]
    packed = path.suffix.lower() in PACKED
    if suffix not in (".txt", *TABLES):
        if packed:
            return _read_manifest(path)
        raise ManifestError(
            path,
            f"expected .txt, {', '.join(TABLES)} or a manifest, found {path.suffix or 'no suffix'}",
            "Convert it to one of them",
        )
    content = read_text(path, "file of transcripts")
    if suffix == ".txt":
        return [Entry(line.strip()) for line in _lines_without_tabs(path, content)]
    first = next((line for line in content.split("\n") if line.strip()), "")
    columns = set(column_names(first, suffix))
    if {"source", "target"} <= columns:
        return _read_parallel(path, any_reference)
    if "supervisions" in columns or (
        "audio" in columns and ("text" in columns or suffix != ".tsv")
    ):
        return _read_manifest(path)
    if suffix != ".tsv" or ("text" in columns and columns & {"id", "source"}):
        rows = read_rows(path, content, ("text",))
    elif packed:  # as in data/parallel.py, where two columns are source and target
        return _read_parallel(path, any_reference)
    else:
        rows = _rows_without_header(path, content)
    return _distinct_entries(path, rows)


def _lines_without_tabs(path: Path, content: str) -> list[str]:
    lines = split_lines(content)
    for number, line in enumerate(lines, start=1):
        if "\t" in line:
            problem = "expected only text, found a tab, as between an id and its text"
            raise ManifestError(f"{path}:{number}", problem, "Rename the file to .tsv")
    return lines


def _rows_without_header(path: Path, content: str) -> Rows:
    for number, line in enumerate(split_lines(content), start=1):
        where, values = f"{path}:{number}", line.split("\t")
        if len(values) == 2:
            yield where, {"id": values[0], "text": values[1]}
        elif line:
            problem = f"expected id<TAB>text, found {len(values)} columns"
            yield where, ManifestError(where, problem, "Correct or remove the line")


def _distinct_entries(path: Path, rows: Rows) -> list[Entry]:
    """Convert rows to entries.

    Raises:
        ManifestError: a row cannot be used, or an id occurs twice.
    """
    entries = []
    places: dict[str, str] = {}
    for where, row in rows:
        if isinstance(row, ManifestError):
            raise row
        entry = _entry(row, where)
        if entry.id is not None and places.setdefault(entry.id, where) != where:
            line = places[entry.id].rpartition(":")[2]
            raise ManifestError(
                where,
                f"the id {entry.id!r} is also on line {line}",
                "Give each utterance its own id",
            )
        entries.append(entry)
    return entries


def cut_entry(cut: "Cut") -> Entry:
    """Reference of an utterance of a manifest."""
    from asr_s2s.data.manifest import audio_file, cut_fields, cut_speaker, cut_text

    audio = audio_file(cut)
    return Entry(
        cut_text(cut),
        cut.id,
        None if audio is None else Path(audio).resolve(),
        speaker=cut_speaker(cut) or None,
        start=0.0 if audio is None else cut.start,
        duration=cut.duration,
        fields=cut_fields(cut),
    )


def pair_fields(pair: "TextPair") -> dict[str, Any]:
    """Return the language and the further columns of a sentence pair, by which scores are broken
    down."""
    return {"language": pair.language, **(pair.fields or {})}


def group_pairs(
    pairs: Sequence["TextPair"], *, any_reference: bool
) -> list[tuple["TextPair", ...]]:
    """Group sentence pairs into test sentences with one or more references.

    Args:
        pairs: sentence pairs.
        any_reference: group pairs with the same source and language; otherwise each pair is a
            group.

    Returns:
        Groups in the order of their first pairs.
    """
    if not any_reference:
        return [(one,) for one in pairs]
    groups: dict[tuple[str, str | None], list[TextPair]] = {}
    for one in pairs:
        groups.setdefault((one.source, one.language), []).append(one)
    return [tuple(group) for group in groups.values()]


def pair(
    references: Sequence[Entry],
    hypotheses: Sequence[Entry],
    *,
    reference_file: str | Path,
    hypothesis_file: str | Path,
) -> list[Utterance]:
    """Pair hypotheses with references, in the order of the references.

    Pairs by id if all entries have one, else by recording if all name one, else by position.

    Raises:
        UserError: there are no references, a reference has no hypothesis or vice versa, the counts
            differ, or several entries without ids have the same recording.
    """
    counts = (
        f"{reference_file} holds {len(references)} references and "
        f"{hypothesis_file} {len(hypotheses)} hypotheses"
    )
    if not references:
        raise UserError(reference_file, "it contains no transcripts", "Write one per line")
    both = [*references, *hypotheses]
    if all(transcript.id is not None for transcript in both):
        expected = {str(reference.id): reference for reference in references}
        found = {str(hypothesis.id): hypothesis for hypothesis in hypotheses}
    elif all(transcript.source is not None for transcript in both):
        expected = _by_source(references, reference_file)
        found = _by_source(hypotheses, hypothesis_file)
    else:
        if len(references) != len(hypotheses):
            raise UserError(
                hypothesis_file, counts, "Give files with one line per utterance, or with ids"
            )
        expected = {str(i): reference for i, reference in enumerate(references, start=1)}
        found = {str(i): hypothesis for i, hypothesis in enumerate(hypotheses, start=1)}
    problems = [
        f"{len(missing)} have no {other} ({_some(missing)})"
        for missing, other in (
            ([key for key in expected if key not in found], "hypothesis"),
            ([key for key in found if key not in expected], "reference"),
        )
        if missing
    ]
    if problems:
        raise UserError(
            hypothesis_file,
            f"{counts}; {' and '.join(problems)}",
            "Give files that list the same utterances",
        )
    return [
        Utterance(
            id=reference.id or found[key].id or key,
            reference=reference.text,
            hypothesis=found[key].text,
            alternatives=reference.alternatives,
            source=reference.source_text,
            speaker=reference.speaker,
            recording=reference.source,
            start=reference.start,
            duration=reference.duration,
            fields=reference.fields,
        )
        for key, reference in expected.items()
    ]


def _read_parallel(path: Path, any_reference: bool) -> list[Entry]:
    from asr_s2s.data.parallel import read_parallel

    return [
        Entry(
            first.target,
            first.id,
            alternatives=tuple(other.target for other in others),
            source_text=first.source,
            fields=pair_fields(first),
        )
        for first, *others in group_pairs(read_parallel(path), any_reference=any_reference)
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _by_source(transcripts: Sequence[Entry], file: str | Path) -> dict[str, Entry]:
    times = Counter(str(transcript.source) for transcript in transcripts)
    for source, count in times.items():
        if count > 1:
            raise UserError(
                file, f"the source {source} has {count} transcripts", "Add ids to the utterances"
            )
    return {str(transcript.source): transcript for transcript in transcripts}


def _read_manifest(path: Path) -> list[Entry]:
    from asr_s2s.data.manifest import read_manifest

    return [cut_entry(cut) for cut in read_manifest(path)]


def _entry(row: Row, where: str) -> Entry:
    if not isinstance(row.get("text"), str):
        raise ManifestError(where, 'expected a row with a "text"', "Correct the line")
    require_characters(row, where)  # JSON escapes may contain lone surrogates
    identifier, source = row.get("id"), row.get("source")
    if source == "":  # an empty cell
        source = None
    if identifier is None and source is None:
        raise ManifestError(where, 'expected an "id" or a "source"', "Add one of them")
    for name, value in (("id", identifier), ("source", source)):
        if not isinstance(value, str | None):
            raise ManifestError(
                where, f"{name}: expected text, found {value!r}", "Correct the value"
            )
    speaker = row.get("speaker")
    if not isinstance(speaker, str | int | None):
        raise ManifestError(
            where, f"speaker: expected text, found {speaker!r}", "Correct the value"
        )
    return Entry(
        text=row["text"],
        id=identifier,
        source=None if source is None else _source(source),
        speaker=None if speaker in (None, "") else str(speaker),
        fields={name: value for name, value in row.items() if name not in NAMED},
    )


def _source(source: str) -> Path:
    """Absolute path of a source; a source sentence is treated likewise, as it serves only to pair
    entries."""
    # Path.resolve raises an error for null characters, which occur in no path.
    return Path(source) if "\0" in source else Path(source).resolve()
