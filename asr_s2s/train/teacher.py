"""Teacher features: encoder outputs of a larger recognizer, stored beside a manifest.

They are computed once per utterance, without augmentation, and need no transcripts. `distill.py`
trains the speech encoder to predict them.
"""

import json
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
from asr_s2s.errors import ManifestError, ModelError, UserError, writing
from asr_s2s.text_files import write_text

Features = NDArray[np.float32]

SHARD = 200
"""Utterances per shard. An interrupted run loses at most one shard."""
WHISPER_FRAMES_PER_SECOND = 50
WHISPER_HOP = 160
"""Samples per mel frame of a Whisper model; its encoder outputs one frame for two of them."""
COMPRESSION = -4
"""Exponent of lilcom's quantization step: features are rounded to multiples of 2**COMPRESSION."""


class Teacher(Protocol):
    """Encoder of waveforms into features at a constant frame rate."""

    name: str
    frames_per_second: int

    def encode(self, samples: NDArray[np.float32]) -> Features:
        """Encode a waveform `(samples,)` at 16 kHz to features `(frames, size)`."""


class WhisperTeacher:
    """Encoder of a Whisper model (Radford et al., 2022) in CTranslate2 format.

    Args:
        folder: contains `model.bin`, `config.json`, `tokenizer.json` and a vocabulary.
        frames_per_second: 50, or a divisor of it; neighboring outputs are averaged down to it.
        threads: CPU threads.

    Raises:
        UserError: faster-whisper is not installed.
        ModelError: the folder contains no such model, or the rate is not supported.
    """

    def __init__(self, folder: Path, frames_per_second: int = 25, threads: int = 1) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise UserError(
                "faster-whisper",
                "it is not installed",
                "Install the extra teach: pip install 'asr-s2s[teach]'",
            ) from error
        # faster-whisper would look up other names on a hub.
        if not (folder / "model.bin").is_file():
            raise ModelError(
                folder,
                "expected a Whisper model in CTranslate2 format; model.bin is missing",
                "Give the folder that contains model.bin",
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
        self._pooling = WHISPER_FRAMES_PER_SECOND // frames_per_second

    def encode(self, samples: NDArray[np.float32]) -> Features:
        """Encode a waveform `(samples,)` at 16 kHz to at least one frame, `(frames, size)`."""
        step = 2 * WHISPER_HOP * self._pooling  # samples per output frame
        frames = max(1, len(samples) // step)
        mel = self._model.feature_extractor(samples)[:, : 2 * frames * self._pooling]
        encoded = np.asarray(self._model.encode(mel), dtype=np.float32)[0]
        kept = encoded[: len(encoded) // self._pooling * self._pooling]
        pooled: Features = kept.reshape(-1, self._pooling, kept.shape[1]).mean(axis=1)
        return pooled


def write_teacher_features(
    manifest: Path,
    teacher: Teacher,
    output: Path,
    progress: Callable[[int, float], None] = lambda count, seconds: None,
) -> list[ManifestError]:
    """Compute a teacher's features for every utterance of a manifest.

    Args:
        output: folder for shards of features, and for `cuts.jsonl.gz`, the manifest as lhotse cuts
            that refer to them. Shards finished by an interrupted run are kept.
        progress: called with the utterances and seconds of audio done since the last call.

    Returns:
        Errors of utterances left out because their audio cannot be read.

    Raises:
        UserError: the manifest cannot be used, the output cannot be written, or it contains
            features of a different manifest or teacher.
    """
    output = output.resolve()  # cuts refer to features by absolute path
    _claim_folder(output, manifest, teacher)
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
    with (
        writing(store, "Choose another --output"),
        LilcomChunkyWriter(store, tick_power=COMPRESSION) as writer,
    ):
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
    if done:
        write_manifest(done, part)  # atomic: its existence marks the shard as finished
    return failures


def _claim_folder(output: Path, manifest: Path, teacher: Teacher) -> None:
    """Record manifest and teacher in the folder; refuse a folder of different ones."""
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
            write_text(path, json.dumps(wanted) + "\n")
    except (OSError, ValueError) as error:
        raise UserError(
            output, f"it cannot be used ({error})", "Choose another --output"
        ) from error
    if found != wanted:
        raise UserError(
            output,
            f"it contains features of {found.get('manifest')} by {found.get('teacher')}",
            "Choose another --output, or delete that folder",
        )
