"""Damaged recordings, manifests and texts raise errors that name them, or are read."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from asr_s2s.audio.decode import read_audio
from asr_s2s.data.manifest import read_cut_audio, read_manifest
from asr_s2s.data.parallel import read_parallel
from asr_s2s.errors import UserError
from asr_s2s.text_files import read_lines
from tests.support.mutations import damaged

RECORDINGS = int(os.environ.get("FUZZ_RECORDINGS", "300"))
TEXTS = int(os.environ.get("FUZZ_TEXTS", "50"))
"""Number of damaged files; seeds are 0, 1, ..."""
FORMATS = {
    "wav": [], "flac": [], "ogg": ["-c:a", "libopus"], "mp3": [], "m4a": [], "mkv": ["-c:a", "aac"],
    "aiff": [], "au": [], "webm": [], "wma": [],
}  # fmt: skip
"""FFmpeg's options by suffix."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    paths = [folder / f"sample.{suffix}" for suffix in FORMATS]
    for path, options in zip(paths, FORMATS.values(), strict=True):
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-t", "1", "-i", sample, *options]
        if subprocess.run([*command, path], check=False).returncode:
            pytest.skip("ffmpeg is missing, or lacks an encoder")
    return paths


def test_damaged_recordings(recordings: list[Path], tmp_path: Path) -> None:
    outcomes = {"read": 0, "refused": 0}
    for seed in range(RECORDINGS):
        rng = random.Random(seed)
        original = rng.choice(recordings)
        path = tmp_path / f"{seed}{original.suffix}"
        path.write_bytes(damaged(original.read_bytes(), rng))
        try:
            samples = read_audio(path)
            outcomes["read"] += 1
            assert samples.dtype == "float32" and samples.ndim == 1
            assert abs(samples).max() < float("inf")
            assert len(samples) < 3_600 * 16_000
        except UserError as error:
            outcomes["refused"] += 1
            assert str(path) in error.where
        path.unlink()
    assert min(outcomes.values()) > RECORDINGS / 10


MANIFESTS = {
    "plain.jsonl": '{"id": "a", "audio": "x.wav", "text": "one two", "duration": 1.5}\n'
    '{"id": "b", "audio": "x.wav", "text": "three", "start": 0.5, "duration": 1}\n',
    "table.tsv": "audio\ttext\tduration\nx.wav\tone\t1.0\nx.wav\ttwo\t0.5\n",
    "table.csv": 'audio,text,speaker\nx.wav,"one, two",s1\nx.wav,three,s2\n',
    "lhotse.jsonl": '{"id": "c", "start": 0, "duration": 1.0, "channel": 0, "supervisions": '
    '[{"id": "c", "recording_id": "c", "start": 0, "duration": 1.0, "channel": 0, "text": '
    '"one"}], "recording": {"id": "c", "sources": [{"type": "file", "channels": [0], "source": '
    '"x.wav"}], "sampling_rate": 16000, "num_samples": 16000, "duration": 1.0}, "type": '
    '"MonoCut"}\n',
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_damaged_manifests(name: str, tmp_path: Path, sample: Path) -> None:
    (tmp_path / "x.wav").write_bytes(sample.read_bytes())
    for seed in range(TEXTS):
        path = tmp_path / f"{seed}_{name}"
        path.write_bytes(damaged(MANIFESTS[name].encode(), random.Random(seed)))
        try:
            for cut in read_manifest(path):
                read_cut_audio(cut)
        except UserError as error:
            assert str(tmp_path) in error.where, (seed, error)


def test_damaged_texts(tmp_path: Path) -> None:
    text = "ein Haus\ta house\nzwei Häuser\ttwo houses\n\ndrei\tthree\n".encode()
    for seed in range(TEXTS):
        path = tmp_path / f"{seed}.tsv"
        path.write_bytes(damaged(text, random.Random(seed)))
        for read in (read_parallel, read_lines):
            try:
                list(read(path))
            except UserError as error:
                assert str(path) in error.where, (seed, error)
