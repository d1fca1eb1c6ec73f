"""Manifests: lists of utterances, read as lhotse cuts.

Two kinds are read, told apart by their content: lhotse cuts, as lhotse's corpus recipes write
them, and plain manifests (see `plain.py`). Either may be compressed (gzip, xz). Relative audio
paths start at the manifest's folder.
"""

import functools
import gzip
import json
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import CutSet, MonoCut, MultiCut
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item
from numpy.typing import NDArray

from asr_s2s.audio.decode import probe, read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE, check_audio
from asr_s2s.data.plain import LENGTH_TOLERANCE, Row, json_rows, plain_cut, table_rows
from asr_s2s.errors import AudioError, ManifestError

GZIP, XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
"""First bytes of compressed files."""
LHOTSE_CUTS = ("MonoCut", "MultiCut", "MixedCut", "Cut")
TEACHER_FEATURES = "teacher_features"
"""Custom field of a cut: a lhotse array of what a teacher's encoder makes of it."""


def read_manifest(path: str | Path) -> CutSet:
    """Every utterance of a manifest, as an eager CutSet with absolute audio paths.

    A plain row that states its `duration` (and no `start`) is not opened here, so that training
    starts quickly: its recording is described as `duration` seconds of one channel at
    `sample_rate`, or 16 kHz where that is not stated. The file's own rate and channels are what
    count when `read_cut_audio` decodes it. A repeated id gets a number; `asr-s2s check` names it.

    Raises:
        ManifestError: the manifest, or a row of it (named as file:line), cannot be used.
    """
    cuts = []
    for item in iter_manifest(path, number_ids=True):
        if isinstance(item, ManifestError):
            raise item
        cuts.append(item)
    return CutSet(cuts)


def iter_manifest(
    path: str | Path, *, measure: bool = False, number_ids: bool = False
) -> Iterator[Cut | ManifestError]:
    """The utterances of a manifest in order; a row that cannot be used comes as its error.

    Args:
        measure: take every recording's length, rate and channels from its file, also where the
            manifest states them.
        number_ids: tell repeated ids apart by a number; otherwise they are errors.

    Raises:
        ManifestError: the manifest as a whole cannot be read, or holds no row.
    """
    path = Path(path)
    content = read_text(path)
    if not content.strip():
        raise ManifestError(path, "it is empty", "Give one utterance or sentence pair a line")
    table = {".tsv": "\t", ".csv": ","}.get(content_suffix(path))
    rows = table_rows(path, content, table) if table else json_rows(path, content)
    empty = True
    for item in cuts_from_rows(rows, path.parent, measure=measure, number_ids=number_ids):
        empty = False
        yield item
    if empty:
        raise ManifestError(path, "it holds no utterance", "Give one utterance a line")


def cuts_from_rows(
    rows: Iterable[tuple[str, Row | ManifestError]],
    folder: Path,
    *,
    measure: bool = False,
    number_ids: bool = False,
) -> Iterator[Cut | ManifestError]:
    """Make each row, given with its place as file:line, into a cut, or into its error.

    Args:
        folder: where relative audio paths start.
        measure, number_ids: as in `iter_manifest`.
    """
    folder = folder.resolve()
    probed = functools.cache(probe)
    places: dict[str, str] = {}
    repeats: Counter[str] = Counter()
    for where, row in rows:
        if isinstance(row, ManifestError):
            yield row
            continue
        try:
            require_characters(row, where)
            if row.get("type") in LHOTSE_CUTS:
                cut = _lhotse_cut(row, where, folder)
                source = audio_file(cut)
                if measure and source:
                    _compare_lengths(where, cut.recording.duration, probed(source).duration)
            else:
                cut = plain_cut(row, where, folder, probed, measure=measure)
            if number_ids or row.get("id") in (None, ""):
                name = cut.id
                while cut.id in places:
                    repeats[name] += 1
                    cut.id = f"{name}-{repeats[name] + 1}"
            if cut.id in places:
                raise ManifestError(
                    where,
                    f"the id {cut.id!r} is already that of {places[cut.id]}",
                    "Give each utterance its own id, or leave the ids out",
                )
        except AudioError as error:
            yield ManifestError(where, f"{error.where}: {error.problem}", error.fix)
        except ManifestError as error:
            yield error
        else:
            places[cut.id] = where
            yield cut


def audio_file(cut: Cut) -> str | None:
    """The file that holds all of the cut's audio, or None (mixed, in memory, one of several
    channels, or changed by a lhotse transform)."""
    recording = cut.recording if isinstance(cut, MonoCut | MultiCut) else None
    if recording is None or recording.transforms or len(recording.sources) != 1:
        return None
    source = recording.sources[0]
    channels = [cut.channel] if isinstance(cut.channel, int) else cut.channel
    if source.type != "file" or sorted(channels) != sorted(source.channels):
        return None
    return str(source.source)


def read_cut_audio(cut: Cut) -> NDArray[np.float32]:
    """The cut's audio, mono at 16 kHz: (samples,) float32.

    Raises:
        AudioError: the audio cannot be read, or holds nothing to transcribe.
    """
    path = audio_file(cut)
    if path is not None:
        return read_audio(path, start=cut.start, duration=cut.duration)
    try:
        samples = cut.resample(SAMPLE_RATE).load_audio()
    except Exception as error:  # lhotse passes on whatever its many sources raise
        problem = str(error).partition("\n")[0] or type(error).__name__
        raise AudioError(
            cut_source(cut), f"lhotse cannot read its audio: {problem}", "Check the manifest"
        ) from error
    if samples is None:
        raise AudioError(cut_source(cut), "this cut has no audio", "Use cuts with recordings")
    mono: NDArray[np.float32] = samples.mean(axis=0, dtype=np.float32)
    check_audio(mono, cut_source(cut))
    return mono


def cut_text(cut: Cut) -> str:
    """The transcript; several supervisions are joined by spaces."""
    return " ".join(s.text for s in cut.supervisions if s.text)


def cut_speaker(cut: Cut) -> str | None:
    """The speaker, or None where it is unknown or there are several."""
    speakers = {s.speaker for s in cut.supervisions}
    return speakers.pop() if len(speakers) == 1 else None


def cut_language(cut: Cut) -> str | None:
    """The language of the transcript, or None where it is unknown or there are several."""
    languages = {s.language for s in cut.supervisions}
    return languages.pop() if len(languages) == 1 else None


def cut_fields(cut: Cut) -> dict[str, Any]:
    """What else is known of a cut, by name: its `duration` in seconds, its `language`, and what its
    row, or lhotse's `custom` of it or of its one supervision, says."""
    fields = {"duration": cut.duration, "language": cut_language(cut)}
    if len(cut.supervisions) == 1:
        supervision = cut.supervisions[0]
        fields |= {"gender": supervision.gender, **(supervision.custom or {})}
    return {**fields, **(getattr(cut, "custom", None) or {})}


def cut_teacher_features(cut: Cut) -> NDArray[np.float32] | None:
    """A teacher's features of the cut, `(frames, size)`; None where it has none.

    Raises:
        ManifestError: they cannot be read.
    """
    stored = (getattr(cut, "custom", None) or {}).get(TEACHER_FEATURES)
    if stored is None:
        return None
    try:
        features: NDArray[np.float32] = stored.load(start=cut.start, duration=cut.duration)
    except Exception as error:  # lhotse passes on whatever its storage raises
        raise ManifestError(
            cut_source(cut),
            f"the teacher's features cannot be read: {error}",
            "Run asr-s2s teach again",
        ) from error
    return features


def cut_teacher_shape(cut: Cut) -> tuple[float, int] | None:
    """Frames per second and size of a teacher's features of the cut; None where it has none."""
    stored = (getattr(cut, "custom", None) or {}).get(TEACHER_FEATURES)
    return None if stored is None else (1.0 / stored.frame_shift, int(stored.shape[-1]))


def cut_source(cut: Cut) -> str:
    """What to call the cut's audio in a message: its file, or the cut's id."""
    return audio_file(cut) or f"cut {cut.id}"


def write_manifest(cuts: Iterable[Cut], path: str | Path) -> None:
    """Write lhotse cuts as `.jsonl` or `.jsonl.gz`, whole or not at all.

    Audio under the manifest's folder is named relative to it, so that the folder can be moved.

    Raises:
        ManifestError: another suffix, or the file cannot be written.
    """
    path = Path(path)
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise ManifestError(
            path, "a manifest is written as .jsonl or .jsonl.gz", "Change the file's name"
        )
    folder = path.parent.resolve()

    def relative(source: str) -> str:
        inside = Path(source).is_relative_to(folder)
        return str(Path(source).relative_to(folder)) if inside else source

    partial = path.with_name(f".{path.name}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as raw:
                # Neither a name nor a time inside, so the same cuts always give the same file.
                packed = path.suffix == ".gz"
                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if packed else raw as file:
                    for cut in cuts:
                        row = _change_files(cut.to_dict(), relative)
                        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        problem = f"it cannot be written: {error.strerror or error}"
        raise ManifestError(path, problem, "Choose a place that can be written") from error


def content_suffix(path: Path) -> str:
    """The suffix in lower case, that of compression left out: ".tsv" of a.TSV.gz."""
    plain = path.with_suffix("") if path.suffix.lower() in (".gz", ".xz") else path
    return plain.suffix.lower()


def read_text(path: Path, noun: str = "manifest") -> str:
    """A whole file of UTF-8 text, decompressed if its content is that of gzip or xz.

    Args:
        noun: what the file is, for messages.

    Raises:
        ManifestError: the file is missing, damaged, or not UTF-8.
    """
    content = read_bytes(path, noun)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            f"{path}:{line}", "this is not UTF-8 text", f"Save the {noun} as UTF-8"
        ) from error


def read_bytes(path: Path, noun: str) -> bytes:
    """A whole file, decompressed if its content is that of gzip or xz.

    Raises:
        ManifestError: the file is missing or damaged.
    """
    try:
        content = path.read_bytes()
        if content.startswith(GZIP):
            return gzip.decompress(content)
        if content.startswith(XZ):
            return lzma.decompress(content)
        return content
    except FileNotFoundError as error:
        raise ManifestError(path, f"there is no such {noun}", "Check the path") from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise ManifestError(
            path, f"the compressed file is damaged: {error}", "Write or copy it again"
        ) from error
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
        raise ManifestError(path, problem, f"Name a {noun}") from error


def require_characters(row: Row, where: str) -> None:
    """
    Raises:
        ManifestError: a value holds half of a surrogate pair.
    """
    # JSON escapes and names of files can hold lone surrogates, which cannot be written as UTF-8.
    for name, value in row.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            problem = f"{name!r} holds {error.object[error.start]!r}, which is no character"
            raise ManifestError(where, problem, "Correct the value") from error


def _lhotse_cut(row: Row, where: str, folder: Path) -> Cut:
    try:
        return deserialize_item(_change_files(row, lambda source: str(folder / source)))
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        problem = f"this lhotse cut is not complete: {type(error).__name__} {error}"
        raise ManifestError(where, problem, "Write it again with lhotse") from error


def _compare_lengths(where: str, stated: float, real: float) -> None:
    if abs(stated - real) > LENGTH_TOLERANCE:
        raise ManifestError(
            where,
            f"the recording is stated as {stated:.2f} s, its file holds {real:.2f} s",
            "Make the lhotse manifest again from these files",
        )


def _change_files(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of a lhotse dictionary with `change` applied to the path of every audio file and every
    stored array."""
    if isinstance(value, list):
        return [_change_files(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    copy = {name: _change_files(item, change) for name, item in value.items()}
    if copy.get("type") == "file" and isinstance(copy.get("source"), str):
        copy["source"] = change(copy["source"])
    if isinstance(copy.get("storage_path"), str):
        copy["storage_path"] = change(copy["storage_path"])
    return copy
