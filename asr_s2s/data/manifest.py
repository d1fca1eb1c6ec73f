"""Manifests: lists of utterances, read as lhotse cuts.

Two formats are supported and distinguished by content: lhotse cuts, as written by lhotse's corpus
recipes, and plain manifests (see `plain.py`), among them those of NeMo and the tables of Common
Voice. Both may be compressed with gzip or xz. Relative audio paths are relative to the manifest's
folder.
"""

import functools
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from lhotse import CutSet, MonoCut, MultiCut
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item
from numpy.typing import NDArray

from asr_s2s.audio.decode import probe, read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE, check_audio
from asr_s2s.data.columns import REQUIRED
from asr_s2s.data.kaldi import refuse_folder
from asr_s2s.data.plain import LENGTH_TOLERANCE, plain_cut
from asr_s2s.errors import AudioError, ManifestError
from asr_s2s.text_files import Row, atomic_write, read_rows, read_text, require_characters

CLIPS = "clips"
"""Folder of the recordings beside a table of Common Voice."""
LHOTSE_CUTS = ("MonoCut", "MultiCut", "MixedCut", "Cut")
TEACHER_FEATURES = "teacher_features"
"""Custom field of a cut: lhotse array of a teacher's encoder outputs."""


def read_manifest(path: str | Path) -> CutSet:
    """Read all utterances of a manifest as an eager CutSet with absolute audio paths.

    Recordings of plain rows with `duration` and without `start` are not opened, so that training
    starts quickly: they are described as `duration` seconds of one channel at `sample_rate`
    (default 16 kHz). `read_cut_audio` uses the actual rate and channels of the file. Repeated ids
    get a number appended; `asr-s2s check` reports them.

    Raises:
        ManifestError: the manifest, or a row of it (reported as file:line), cannot be used.
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
    """Yield the utterances of a manifest in order, and an error for each row that cannot be used.

    Args:
        measure: read duration, rate and channels from every file, even if the manifest gives them.
        number_ids: append a number to repeated ids; otherwise they are errors.

    Raises:
        ManifestError: the manifest as a whole cannot be read, or contains no rows.
    """
    path = Path(path)
    refuse_folder(path)
    content = read_text(path)
    if not content.strip():
        raise ManifestError(path, "it is empty", "Write one utterance or sentence pair per line")
    rows = read_rows(path, content, REQUIRED)
    empty = True
    for item in cuts_from_rows(rows, path.parent, measure=measure, number_ids=number_ids):
        empty = False
        yield item
    if empty:
        raise ManifestError(path, "it contains no utterances", "Write one utterance per line")


def cuts_from_rows(
    rows: Iterable[tuple[str, Row | ManifestError]],
    folder: Path,
    *,
    measure: bool = False,
    number_ids: bool = False,
) -> Iterator[Cut | ManifestError]:
    """Convert rows to cuts; rows that cannot be used are converted to errors.

    Args:
        rows: each with its position as file:line.
        folder: base of relative audio paths.
        measure, number_ids: as in `iter_manifest`.
    """
    folder = folder.resolve()
    has_clips = (folder / CLIPS).is_dir()
    cached_probe = functools.cache(probe)
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
                    _compare_lengths(where, cut.recording.duration, cached_probe(source).duration)
            else:
                base = _base(row, folder) if has_clips else folder
                cut = plain_cut(row, where, base, cached_probe, measure=measure)
            if number_ids or row.get("id") in (None, ""):
                name = cut.id
                while cut.id in places:
                    repeats[name] += 1
                    cut.id = f"{name}-{repeats[name] + 1}"
            if cut.id in places:
                raise ManifestError(
                    where,
                    f"the id {cut.id!r} is already used by {places[cut.id]}",
                    "Give each utterance its own id, or leave the ids out",
                )
        except AudioError as error:
            yield ManifestError(where, f"{error.where}: {error.problem}", error.fix)
        except ManifestError as error:
            yield error
        else:
            places[cut.id] = where
            yield cut


def _base(row: Row, folder: Path) -> Path:
    """Folder from which the audio path of a row starts: that of the manifest, or `CLIPS` in it."""
    audio = row.get("audio")
    if isinstance(audio, str) and "\0" not in audio and not (folder / audio).exists():
        return folder / CLIPS
    return folder


def audio_file(cut: Cut) -> str | None:
    """Return the file that contains all audio of a cut, or None if the cut is mixed, in memory, one
    of several channels, or changed by a lhotse transform."""
    recording = cut.recording if isinstance(cut, MonoCut | MultiCut) else None
    if recording is None or recording.transforms or len(recording.sources) != 1:
        return None
    source = recording.sources[0]
    channels = [cut.channel] if isinstance(cut.channel, int) else cut.channel
    if source.type != "file" or sorted(channels) != sorted(source.channels):
        return None
    return str(source.source)


def read_cut_audio(cut: Cut) -> NDArray[np.float32]:
    """Read a cut's audio as a mono waveform at 16 kHz, `(samples,)` float32.

    Raises:
        AudioError: the audio cannot be read, or is empty.
    """
    path = audio_file(cut)
    if path is not None:
        return read_audio(path, start=cut.start, duration=cut.duration)
    try:
        samples = cut.resample(SAMPLE_RATE).load_audio()
    except Exception as error:  # lhotse forwards the exceptions of its many sources
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
    """Return the transcript; several supervisions are joined by spaces."""
    return " ".join(s.text for s in cut.supervisions if s.text)


def cut_speaker(cut: Cut) -> str | None:
    """Return the speaker, or None if it is unknown or there are several."""
    speakers = {s.speaker for s in cut.supervisions}
    return speakers.pop() if len(speakers) == 1 else None


def cut_language(cut: Cut) -> str | None:
    """Return the language of the transcript, or None if it is unknown or there are several."""
    languages = {s.language for s in cut.supervisions}
    return languages.pop() if len(languages) == 1 else None


def cut_fields(cut: Cut) -> dict[str, Any]:
    """Return a cut's `duration` in seconds, `language`, and further fields: columns of its row, or
    lhotse's `custom` fields of the cut and of its only supervision."""
    fields = {"duration": cut.duration, "language": cut_language(cut)}
    if len(cut.supervisions) == 1:
        supervision = cut.supervisions[0]
        fields |= {"gender": supervision.gender, **(supervision.custom or {})}
    return {**fields, **(getattr(cut, "custom", None) or {})}


def cut_teacher_features(cut: Cut) -> NDArray[np.float32] | None:
    """Read a teacher's features of a cut, `(frames, size)`; None if it has none.

    Raises:
        ManifestError: the features cannot be read.
    """
    stored = (getattr(cut, "custom", None) or {}).get(TEACHER_FEATURES)
    if stored is None:
        return None
    try:
        features: NDArray[np.float32] = stored.load(start=cut.start, duration=cut.duration)
    except Exception as error:  # lhotse forwards the exceptions of its storage
        raise ManifestError(
            cut_source(cut),
            f"the teacher's features cannot be read: {error}",
            "Run asr-s2s teach again",
        ) from error
    return features


def cut_teacher_shape(cut: Cut) -> tuple[float, int] | None:
    """Return frame rate in Hz and size of a cut's teacher features; None if it has none."""
    stored = (getattr(cut, "custom", None) or {}).get(TEACHER_FEATURES)
    return None if stored is None else (1.0 / stored.frame_shift, int(stored.shape[-1]))


def cut_source(cut: Cut) -> str:
    """Return the name of a cut's audio for messages: its file, or the cut's id."""
    return audio_file(cut) or f"cut {cut.id}"


def write_manifest(cuts: Iterable[Cut], path: str | Path) -> None:
    """Write lhotse cuts to `.jsonl` or `.jsonl.gz`, atomically.

    Paths of audio below the manifest's folder are relative, so that the folder can be moved.

    Raises:
        ManifestError: unsupported suffix, or the file cannot be written.
    """
    path = Path(path)
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise ManifestError(
            path, "expected a name that ends in .jsonl or .jsonl.gz", "Rename the file"
        )
    folder = path.parent.resolve()

    def relative(source: str) -> str:
        inside = Path(source).is_relative_to(folder)
        return str(Path(source).relative_to(folder)) if inside else source

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as raw, ExitStack() as stack:
            file: BinaryIO | gzip.GzipFile = raw
            if path.suffix == ".gz":
                # No file name or time in the header: equal cuts give equal files.
                file = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
            for cut in cuts:
                row = _map_paths(cut.to_dict(), relative)
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        problem = f"it cannot be written: {error.strerror or error}"
        raise ManifestError(path, problem, "Choose a writable location") from error


def _lhotse_cut(row: Row, where: str, folder: Path) -> Cut:
    try:
        return deserialize_item(_map_paths(row, lambda source: str(folder / source)))
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        problem = f"this lhotse cut is incomplete: {type(error).__name__} {error}"
        raise ManifestError(where, problem, "Create it again with lhotse") from error


def _compare_lengths(where: str, stated: float, actual: float) -> None:
    if abs(stated - actual) > LENGTH_TOLERANCE:
        raise ManifestError(
            where,
            f"expected a recording of {stated:.2f} s, found {actual:.2f} s in its file",
            "Create the lhotse manifest again from these files",
        )


def _map_paths(value: Any, change: Callable[[str], str]) -> Any:
    """Copy a lhotse dictionary, with `change` applied to all paths of audio files and arrays."""
    if isinstance(value, list):
        return [_map_paths(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    copy = {name: _map_paths(item, change) for name, item in value.items()}
    if copy.get("type") == "file" and isinstance(copy.get("source"), str):
        copy["source"] = change(copy["source"])
    if isinstance(copy.get("storage_path"), str):
        copy["storage_path"] = change(copy["storage_path"])
    return copy
