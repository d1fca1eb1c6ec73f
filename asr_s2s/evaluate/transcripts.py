"""Reading transcripts from files, and pairing hypotheses with their references.

Formats, told apart by the suffix and the first line:

- `.txt`: one transcript a line; lines are paired by their number.
- `.tsv`: `id<TAB>text` a line, without a header.
- `.jsonl`: one object a line with `text` and either `id` or `source` (the recording's path, as it
  was given to the command that wrote the file), and perhaps the `speaker`.
- manifests (`asr_s2s.data.manifest`): `.jsonl` and `.tsv` that name audio, `.csv`, `.gz`.
- parallel text (`asr_s2s.data.parallel`): its target side.
- translations are also kept one a line in files of other suffixes, as `test.de` or `test.de.gz`.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_s2s.errors import ManifestError, UserError
from asr_s2s.evaluate.error_rate import Utterance

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from asr_s2s.data.parallel import TextPair

NAMED = ("text", "id", "source", "speaker")
"""What a row of JSON lines is known to hold."""
SHOWN = 3
"""Identifiers that an error message names."""


@dataclass(frozen=True)
class Entry:
    """A transcript in a file."""

    text: str
    id: str | None = None
    """None where the format has no identifiers."""
    source: Path | None = None
    """The recording, where the file names it, or whatever else its `source` is."""
    alternatives: tuple[str, ...] = ()
    """Further texts that are as good, of the same source."""
    source_text: str | None = None
    """What was translated, where the file holds it."""
    speaker: str | None = None
    """Who spoke, where the file tells."""
    start: float = 0.0
    """Where it begins in the recording, in seconds."""
    duration: float | None = None
    """Seconds; None for all the rest of the recording."""
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What else the file says of it, by name."""


def read_transcripts(
    path: Path, *, translations: bool = False, any_reference: bool = False
) -> list[Entry]:
    """Read transcripts in one of the formats above.

    Args:
        path: a file, or parallel text in two.
        translations: a suffix that no other format has is that of a file of lines.
        any_reference: the file is parallel text, and lines with the same source become one entry.

    Raises:
        ManifestError: the file is missing, a folder, or not UTF-8 text; it has another suffix, a
            line that does not fit its format, or an identifier twice.
    """
    if path.is_dir():
        raise ManifestError(path, "this is a folder", "Name a file of transcripts")
    if any_reference or "{" in str(path):
        return _read_parallel(path, any_reference)
    packed = path.suffix in (".csv", ".gz", ".xz")
    if packed:
        # Brings in lhotse and torch, which plain transcripts do without.
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
        # Neither str.splitlines, which also breaks lines at form feeds and the like within a text,
        # nor read_text, which does at carriage returns.
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
    """The reference that an utterance of a manifest holds."""
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
    """Each pair on its own; with `any_reference`, pairs of one source and language together.

    Groups come in the order of their first pairs.
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
    """Put each hypothesis beside its reference, in the order of the references.

    By id if all transcripts have one, else by recording if all name one, else by position.

    Raises:
        UserError: there is no reference, a reference has no hypothesis or the reverse, the counts
            differ, or transcripts without ids are of one recording.
    """
    counts = (
        f"{reference_file} holds {len(references)} references and "
        f"{hypothesis_file} {len(hypotheses)} hypotheses"
    )
    if not references:
        raise UserError(reference_file, "it holds no transcript", "Give one utterance a line")
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
                hypothesis_file, counts, "Score files with one line for each utterance, or with ids"
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
            "Score files that list the same utterances",
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
                file, f"the source {source} has {count} transcripts", "Give the utterances ids"
            )
    return {str(transcript.source): transcript for transcript in transcripts}


def _read_lines(path: Path) -> list[Entry]:
    from asr_s2s.data.parallel import read_lines

    return [Entry(line.strip()) for line in read_lines(path)]


def _is_parallel(path: Path, lines: list[str]) -> bool:
    """Whether the first line names both sides; without, two columns are an id and its text."""
    return {"source", "target"} <= _columns(path, lines)


def _is_manifest(path: Path, lines: list[str]) -> bool:
    columns = _columns(path, lines)
    if path.suffix == ".jsonl":
        return "audio" in columns or "supervisions" in columns
    return {"audio", "text"} <= columns


def _columns(path: Path, lines: list[str]) -> set[str]:
    """What the first line of a table or of JSON lines names; nothing for other files."""
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
            raise ManifestError(f"{path}:{number}", problem, "Rename it .tsv")
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
        # Brings in lhotse and torch, which plain transcripts do without.
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
    """Where a recording lies; a sentence, which need be no path, is as good to pair by."""
    # A zero character is in no path, and the operating system is not asked for it.
    return Path(source) if "\0" in source else Path(source).resolve()
