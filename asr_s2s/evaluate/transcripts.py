"""Files of transcripts and translations, and pairing of hypotheses with their references.

The format is detected from the suffix and the first line:

- `.txt`: one transcript per line, paired by line number.
- `.tsv`: `id<TAB>text` per line, without a header.
- `.jsonl`: one object per line with `text`, either `id` or `source` (path of the recording as
  given to the command that wrote the file), and optionally `speaker`.
- manifests (`asr_s2s.data.manifest`): `.jsonl` and `.tsv` that name audio, `.csv`, `.gz`.
- parallel text (`asr_s2s.data.parallel`): the target side is used.
- files with other suffixes, such as `test.de` or `test.de.gz`: one translation per line.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_s2s.errors import ManifestError, UserError
from asr_s2s.metrics.error_rate import Utterance

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from asr_s2s.data.parallel import TextPair

NAMED = ("text", "id", "source", "speaker")
"""Fields of a row of JSON Lines with a meaning of their own."""
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
    if path.is_dir():
        raise ManifestError(path, "this is a folder", "Name a file of transcripts")
    if any_reference or "{" in str(path):
        return _read_parallel(path, any_reference)
    packed = path.suffix in (".csv", ".gz", ".xz")
    if packed:
        # Imported here, as it imports lhotse and torch, which plain transcripts do not need.
        from asr_s2s.data.parallel import is_parallel

        if is_parallel(path):
            return _read_parallel(path, any_reference)
    readers = {".txt": _read_txt, ".tsv": _read_tsv, ".jsonl": _read_jsonl}
    if path.suffix not in readers:
        inner = Path(path.stem).suffix if path.suffix in (".gz", ".xz") else path.suffix
        if translations and inner not in (".tsv", ".jsonl", ".csv"):
            return _read_lines(path)
        if packed:
            return _read_manifest(path)
        raise ManifestError(
            path,
            f"expected {', '.join(readers)} or a manifest, found {path.suffix or 'no suffix'}",
            "Convert it to one of them",
        )
    try:
        # str.splitlines would also split at form feeds and similar characters within a text,
        # read_text at carriage returns.
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise ManifestError(path, "there is no such readable file", "Check the path") from error
    except UnicodeDecodeError as error:
        raise ManifestError(path, "this is not UTF-8 text", "Save it as UTF-8") from error
    if not lines[-1]:
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    if _is_parallel(path, lines):
        return _read_parallel(path, any_reference)
    if _is_manifest(path, lines):
        return _read_manifest(path)
    transcripts = []
    first_line: dict[str, int] = {}
    for number, transcript in readers[path.suffix](path, lines):
        if transcript.id is not None:
            earlier = first_line.setdefault(transcript.id, number)
            if earlier != number:
                raise ManifestError(
                    f"{path}:{number}",
                    f"the id {transcript.id!r} is also on line {earlier}",
                    "Give each utterance its own id",
                )
        transcripts.append(transcript)
    return transcripts


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
            fields={"language": first.language, **(first.fields or {})},
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


def _read_lines(path: Path) -> list[Entry]:
    from asr_s2s.data.parallel import read_lines

    return [Entry(line.strip()) for line in read_lines(path)]


def _is_parallel(path: Path, lines: list[str]) -> bool:
    """Whether the first line names both sides; otherwise, two columns are id and text."""
    return {"source", "target"} <= _columns(path, lines)


def _is_manifest(path: Path, lines: list[str]) -> bool:
    columns = _columns(path, lines)
    if path.suffix == ".jsonl":
        return "audio" in columns or "supervisions" in columns
    return {"audio", "text"} <= columns


def _columns(path: Path, lines: list[str]) -> set[str]:
    """Column names or fields in the first line of a table or of JSON Lines; empty for other
    files."""
    first = next((line for line in lines if line.strip()), "")
    if path.suffix == ".tsv":
        return set(first.split("\t"))
    if path.suffix == ".jsonl":
        try:
            row = json.loads(first)
        except ValueError:
            return set()
        return set(row) if isinstance(row, dict) else set()
    return set()


def _read_manifest(path: Path) -> list[Entry]:
    from asr_s2s.data.manifest import read_manifest

    return [cut_entry(cut) for cut in read_manifest(path)]


def _read_txt(path: Path, lines: list[str]) -> Iterator[tuple[int, Entry]]:
    for number, line in enumerate(lines, start=1):
        if "\t" in line:
            problem = "expected only text, found a tab, as between an id and its text"
            raise ManifestError(f"{path}:{number}", problem, "Rename the file to .tsv")
        yield number, Entry(line.strip())


def _read_tsv(path: Path, lines: list[str]) -> Iterator[tuple[int, Entry]]:
    for number, line in enumerate(lines, start=1):
        fields = line.split("\t")
        if fields == [""]:
            continue
        if len(fields) != 2:
            raise ManifestError(
                f"{path}:{number}",
                f"expected id<TAB>text, found {len(fields)} columns",
                "Correct or remove the line",
            )
        yield number, Entry(fields[1], fields[0])


def _read_jsonl(path: Path, lines: list[str]) -> Iterator[tuple[int, Entry]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ManifestError(
                f"{path}:{number}", "this line is not a JSON object", "Correct or remove the line"
            ) from error
        yield number, _from_object(row, f"{path}:{number}")


def _from_object(row: Any, where: str) -> Entry:
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise ManifestError(where, 'expected an object with a "text"', "Correct the line")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # Imported here, as it imports lhotse and torch, which plain transcripts do not need.
        from asr_s2s.data.manifest import require_characters

        require_characters(row, where)
    identifier, source = row.get("id"), row.get("source")
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
