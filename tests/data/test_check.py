import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from asr_s2s.data.check import check_manifests
from asr_s2s.data.manifest import iter_manifest, read_manifest
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.tokenizer import CharacterTokenizer


def noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).normal(size=round(16_000 * seconds))


class Corpus:
    """Writes manifests and their recordings to a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recordings = 0

    def split(self, *rows: dict[str, object]) -> CutSet:
        """Write and read a manifest. Recordings of rows without `samples` are 1 s of noise."""
        lines = []
        for row in rows:
            self.recordings += 1
            name = f"{self.recordings}.wav"
            samples = row.pop("samples", None)
            if "audio" not in row:
                own = noise(seed=self.recordings) if samples is None else samples
                soundfile.write(self.folder / name, own, 16_000)
            lines.append(json.dumps({"audio": name, "text": "hello", "id": name[:-4]} | row))
        path = self.folder / "manifest.jsonl"
        path.write_text("\n".join(lines))
        return read_manifest(path)


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


def kinds(splits, **options):
    return [finding.kind for finding in check_manifests(splits, **options)]


def test_good_manifests_have_no_findings(corpus):
    splits = {
        "train": corpus.split({"speaker": "a"}, {"speaker": "b"}, {"text": "hell o"}),
        "valid": corpus.split({"speaker": "c"}, {}),
    }
    assert kinds(splits, time_reduction=8, max_seconds=2.0) == []


@pytest.mark.parametrize(
    ("row", "kind", "problem"),
    [
        ({"audio": "gone.wav", "duration": 1.0}, "unreadable", "there is no such file"),
        ({"samples": np.zeros(16_000)}, "silent", "silent"),
        ({"samples": np.clip(20 * noise(), -1, 1)}, "clipped", "of the samples are clipped"),
        ({"samples": noise(0.05)}, "too short", "0.050 s is shorter than 0.1 s"),
        ({"samples": noise(2.5)}, "too long", "2.5 s is longer than data.max_seconds, 2 s"),
        ({"duration": 1.2}, "wrong duration", "expected 1.20 s, found 1.00 s"),
        ({"duration": 0.5}, "wrong duration", "expected 0.50 s, found 1.00 s"),
        ({"text": " "}, "empty text", "there is no text"),
    ],
)
def test_problems_of_single_utterances_are_found(corpus, row, kind, problem):
    (finding,) = check_manifests({"train": corpus.split({}, row, {})}, max_seconds=2.0)
    assert (finding.kind, finding.where) == (kind, "train: 2")
    assert problem in finding.problem
    assert finding.fix


def test_small_differences_of_duration_and_single_peaks_are_accepted(corpus):
    peaks = noise()
    peaks[::100] = 1.0
    assert kinds({"train": corpus.split({"duration": 1.05}, {"samples": peaks})}) == []


def test_parts_of_a_recording_are_accepted(corpus):
    rows = [
        {"samples": noise(3.0), "start": 0.0, "duration": 1.0},
        {"audio": "1.wav", "start": 1.0, "duration": 2.0},
    ]
    assert kinds({"train": corpus.split(*rows)}) == []


def test_ctc_needs_a_frame_per_token_and_a_blank_between_equal_tokens(corpus):
    fits, too_long = "a" + "ba" * 6, "a" + "ba" * 6 + "a"  # 13 tokens; 14 and a blank
    splits = {"train": corpus.split({"text": fits}, {"text": too_long})}
    (finding,) = check_manifests(splits, time_reduction=8)
    assert (finding.kind, finding.where) == ("text too long", "train: 2")
    assert finding.problem == "14 tokens need 15 CTC frames; 1.00 s give 13"
    assert kinds(splits) == []


def test_characters_outside_the_vocabulary_are_found(corpus):
    splits = {"train": corpus.split({"text": "abc"}), "valid": corpus.split({"text": "Cäb"})}
    (finding,) = check_manifests(splits)
    assert (finding.where, finding.problem) == ("valid: 2", "'C' 'ä' not in the training texts")
    tokenizer = CharacterTokenizer("ab")
    found = [(f.where, f.problem) for f in check_manifests(splits, tokenizer=tokenizer)]
    assert found == [
        ("train: 1", "'c' not in the model's vocabulary"),
        ("valid: 2", "'C' 'ä' not in the model's vocabulary"),
    ]
    assert kinds(splits, normalizer=normalizer("english")) == []


def test_repeated_audio_is_found(corpus):
    same = noise()
    splits = {
        "train": corpus.split({"samples": same}, {"samples": same}, {"samples": same, "text": "o"}),
        "valid": corpus.split({"samples": same}),
    }
    found = [(f.kind, f.where, f.problem) for f in check_manifests(splits)]
    assert found == [
        ("duplicate", "train: 2", "the same audio and the same text as train: 1"),
        ("duplicate", "train: 3", "the same audio but a different text as train: 1"),
        ("shared audio", "valid: 4", "the same audio and the same text as train: 1"),
    ]


def test_ids_and_speakers_shared_by_splits_are_found(corpus):
    splits = {
        "train": corpus.split({"id": "x", "speaker": "a"}, {"speaker": "b"}),
        "valid": corpus.split({"id": "x", "speaker": "c"}, {"speaker": "a"}, {"speaker": "a"}),
    }
    same_id, same_speaker = check_manifests(splits)
    assert (same_id.kind, same_id.where) == ("duplicate id", "valid: x")
    assert (same_speaker.kind, same_speaker.where) == ("shared speaker", "speaker a")
    assert same_speaker.problem == "utterances in train (1), valid (2)"


def test_findings_are_in_the_order_of_the_utterances(corpus):
    rows = [{"audio": "gone.wav", "duration": 1.0} if i % 3 else {} for i in range(60)]
    split = corpus.split(*rows)
    calls = []
    found = [f.where for f in check_manifests({"t": split}, progress=lambda: calls.append(1))]
    assert found == [f"t: {i + 1}" for i in range(60) if i % 3]
    assert len(calls) == 60


def test_real_recordings_have_no_findings(shared_data):
    items = iter_manifest(shared_data / "english" / "dev.jsonl")
    cuts = [cut for cut, _ in zip(items, range(100), strict=False)]
    assert kinds({"dev": CutSet(cuts)}, max_seconds=30.0) == []
