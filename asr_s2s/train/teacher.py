"""Features of a teacher: encoder outputs of a larger recognizer, stored beside a manifest.

They are computed once per recording, without augmentation, and need no transcript. `distill.py`
trains the speech encoder to predict them.
"""

import json
import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from lhotse import LilcomChunkyWriter
from lhotse.cut import Cut
from lhotse.utils import fastcopy
from numpy.typing import NDArray

from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.data.manifest import (
    TEACHER_FEATURES,
    iter_manifest,
    read_cut_audio,
    read_manifest,
    write_manifest,
)
from asr_s2s.errors import ManifestError, ModelError, UserError

Features = NDArray[np.float32]

SHARD = 200
"""Utterances in a shard. A run that is interrupted loses at most one shard."""
WHISPER_FRAMES_PER_SECOND = 50
WHISPER_HOP = 160
"""Samples between a Whisper model's mel frames; its encoder reads two of them per output."""
COMPRESSION = -4
"""Features are rounded to multiples of 2 to this power by lilcom."""


class Teacher(Protocol):
    """Anything that turns a waveform into features at a constant rate."""

    name: str
    frames_per_second: int

    def encode(self, samples: NDArray[np.float32]) -> Features:
        """Waveform `(samples,)` at 16 kHz to features `(frames, size)`."""


class WhisperTeacher:
    """The encoder of a Whisper model (Radford et al., 2022) in CTranslate2 form.

    Args:
        folder: holds `model.bin`, `config.json`, `tokenizer.json` and a vocabulary.
        frames_per_second: 50, or a divisor of it; neighboring outputs are averaged down to it.
        threads: CPU threads.

    Raises:
        UserError: faster-whisper is not installed.
        ModelError: the folder holds no such model, or the rate cannot be had.
    """

    def __init__(self, folder: Path, frames_per_second: int = 25, threads: int = 1) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise UserError(
                "faster-whisper",
                "it is not installed",
                "Install asr-s2s with the extra teach: pip install 'asr-s2s[teach]'",
            ) from error
        if not (folder / "model.bin").is_file():  # anything else would be looked up on a hub
            raise ModelError(
                folder,
                "it is not a Whisper model in CTranslate2 form: model.bin is missing",
                "Name the folder that holds model.bin",
            )
        if frames_per_second < 1 or WHISPER_FRAMES_PER_SECOND % frames_per_second:
            raise ModelError(
                "--rate",
                f"expected a divisor of {WHISPER_FRAMES_PER_SECOND}, found {frames_per_second}",
                "Use 50, 25, 10, 5 or less",
            )
        try:
            self._model = WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=threads
            )
        except (RuntimeError, ValueError, OSError) as error:
            problem = str(error).partition("\n")[0]
            raise ModelError(
                folder, f"this Whisper model cannot be loaded ({problem})", "Copy it again"
            ) from error
        self.name = folder.name
        self.frames_per_second = frames_per_second
        self._pooled = WHISPER_FRAMES_PER_SECOND // frames_per_second

    def encode(self, samples: NDArray[np.float32]) -> Features:
        """Waveform `(samples,)` at 16 kHz to features `(frames, size)`; at least one frame."""
        step = 2 * WHISPER_HOP * self._pooled  # samples of one frame
        frames = max(1, len(samples) // step)
        mel = self._model.feature_extractor(samples)[:, : 2 * frames * self._pooled]
        encoded = np.asarray(self._model.encode(mel), dtype=np.float32)[0]
        kept = encoded[: len(encoded) // self._pooled * self._pooled]
        pooled: Features = kept.reshape(-1, self._pooled, kept.shape[1]).mean(axis=1)
        return pooled


def write_teacher_features(
    manifest: Path,
    teacher: Teacher,
    output: Path,
    progress: Callable[[int, float], None] = lambda count, seconds: None,
) -> list[ManifestError]:
    """Compute a teacher's features of every utterance of a manifest.

    Args:
        output: folder for the features, in shards, and for `cuts.jsonl.gz`: the manifest as lhotse
            cuts that refer to them. Shards that an interrupted run finished are kept.
        progress: called with utterances and seconds of audio done since the call before.

    Returns:
        Utterances left out, because their audio cannot be read.

    Raises:
        UserError: the manifest cannot be used, the output cannot be written, or it holds the
            features of another manifest or teacher.
    """
    output = output.resolve()  # as the cuts name their features by absolute path
    _claim(output, manifest, teacher)
    failures: list[ManifestError] = []
    parts: list[Path] = []
    items = iter_manifest(manifest, number_ids=True)
    while shard := list(islice(items, SHARD)):
        failures += [item for item in shard if isinstance(item, ManifestError)]
        cuts = [item for item in shard if not isinstance(item, ManifestError)]
        part = output / f"cuts-{len(parts):05d}.jsonl.gz"
        parts.append(part)
        if part.is_file():
            progress(len(cuts), sum(cut.duration for cut in cuts))
        else:
            failures += _write_shard(cuts, teacher, part, progress)
    done = [cut for part in parts if part.is_file() for cut in read_manifest(part)]
    if not done:
        raise ManifestError(manifest, "none of its audio can be read", "Run asr-s2s check")
    write_manifest(done, output / "cuts.jsonl.gz")
    return failures


def _write_shard(
    cuts: Iterable[Cut], teacher: Teacher, part: Path, progress: Callable[[int, float], None]
) -> list[ManifestError]:
    done, failures = [], []
    store = part.with_name(part.name.replace("cuts", "features").removesuffix(".jsonl.gz"))
    try:
        with LilcomChunkyWriter(store, tick_power=COMPRESSION) as writer:
            for cut in cuts:
                try:
                    samples = read_cut_audio(cut)
                except UserError as error:
                    failures.append(ManifestError(error.where, error.problem, error.fix))
                    continue
                features = teacher.encode(samples)
                stored = writer.store_array(
                    cut.id,
                    features,
                    frame_shift=1.0 / teacher.frames_per_second,
                    temporal_dim=0,
                    start=cut.start,
                )
                custom = {**(cut.custom or {}), TEACHER_FEATURES: stored}
                done.append(fastcopy(cut, custom=custom))
                progress(1, len(samples) / SAMPLE_RATE)
    except OSError as error:
        raise UserError(
            store, f"it cannot be written ({error.strerror})", "Choose another --output"
        ) from error
    if done:
        write_manifest(done, part)  # appears whole: the shard is finished
    return failures


def _claim(output: Path, manifest: Path, teacher: Teacher) -> None:
    """Record what the folder is for; refuse one that is for something else."""
    wanted = {
        "manifest": str(manifest.resolve()),
        "teacher": teacher.name,
        "frames_per_second": teacher.frames_per_second,
    }
    path = output / "teacher.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            found = json.loads(path.read_text("utf-8"))
        else:
            found = wanted
            partial = path.with_suffix(f".{os.getpid()}.partial")
            partial.write_text(json.dumps(wanted) + "\n", "utf-8")
            partial.replace(path)
    except (OSError, ValueError) as error:
        raise UserError(
            output, f"it cannot be used ({error})", "Choose another --output"
        ) from error
    if found != wanted:
        raise UserError(
            output,
            f"it holds features by {found.get('teacher')} for {found.get('manifest')}",
            "Choose another --output, or delete that folder",
        )
