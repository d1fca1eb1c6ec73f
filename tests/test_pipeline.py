"""The shipped model through the Python interface, on real audio."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

import asr_s2s
from asr_s2s.data.manifest import read_manifest
from asr_s2s.errors import AudioError, ConfigError, ModelError
from asr_s2s.pipeline import Failure, Transcriber, Transcript


@pytest.fixture(scope="module")
def recogniser() -> Transcriber:
    return asr_s2s.load("digits", device="cpu")


@pytest.fixture(scope="module")
def recordings(shared_data: Path) -> list[Path]:
    """Recordings of 0.2 to 1 s by many speakers, at 8 and 16 kHz."""
    rows = [json.loads(line) for line in (shared_data / "english" / "test.jsonl").open()]
    files = [shared_data / "english" / r["audio"] for r in rows if r["corpus"] == "speechcommands"]
    commands = sorted(set(files))[:24]
    return commands + sorted((shared_data / "fsdd" / "recordings").glob("*_0.wav"))[:24]


def test_the_sample_is_transcribed_rightly(recogniser: Transcriber, sample: Path) -> None:
    expected = sample.with_suffix(".txt").read_text().strip()
    result = recogniser.transcribe(sample)
    assert result.text == expected
    assert result.source == str(sample)
    assert result.duration == pytest.approx(soundfile.info(sample).duration, abs=0.01)


@pytest.mark.parametrize("beam_size", [1, 8])
def test_same_text_and_score_alone_padded_and_in_any_batch(
    recogniser: Transcriber, recordings: list[Path], beam_size: int
) -> None:
    alone = {str(path): recogniser.transcribe(path, beam_size=beam_size) for path in recordings}
    shuffled = list(recordings)
    random.Random(3).shuffle(shuffled)
    for order, batch_seconds in ((recordings, 1000.0), (shuffled, 1000.0), (shuffled, 7.0)):
        results = recogniser.transcribe(order, beam_size=beam_size, batch_seconds=batch_seconds)
        assert [result.source for result in results] == [str(path) for path in order]
        for result in results:
            assert result.text == alone[result.source].text
            assert result.score == pytest.approx(alone[result.source].score, abs=1e-4)


def test_paths_files_arrays_and_cuts_are_all_sources(
    recogniser: Transcriber, sample: Path, tmp_path: Path
) -> None:
    samples, rate = soundfile.read(sample, dtype="float32")
    manifest = tmp_path / "cuts.jsonl"
    manifest.write_text(json.dumps({"audio": str(sample.resolve()), "text": ""}) + "\n")
    cuts = read_manifest(manifest)
    assert isinstance(cuts, CutSet)
    with sample.open("rb") as file:
        texts = {
            recogniser.transcribe(source, sample_rate=rate).text
            for source in (sample, str(sample), samples, file, next(iter(cuts)))
        }
    assert len(texts) == 1
    stereo = np.stack([samples, samples], axis=1)
    assert recogniser.transcribe(stereo, sample_rate=rate).text in texts


def test_n_best_are_in_order_and_begin_with_the_text(recogniser: Transcriber, sample: Path) -> None:
    result = recogniser.transcribe(sample, n_best=4)
    assert len(result.alternatives) == 4
    assert result.alternatives[0].text == result.text
    scores = [alternative.score for alternative in result.alternatives]
    assert scores == sorted(scores, reverse=True)


def test_a_failed_recording_does_not_stop_the_others(
    recogniser: Transcriber, sample: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.wav"
    results = list(recogniser.stream([sample, missing, sample]))
    assert [type(result) for result in results] == [Transcript, Failure, Transcript]
    assert results[0] == results[2]
    with pytest.raises(AudioError, match=r"missing\.wav"):
        recogniser.transcribe([sample, missing])


def test_silence_gives_no_words_and_says_so(recogniser: Transcriber) -> None:
    result = recogniser.transcribe(np.zeros(16_000, dtype=np.float32))
    assert result.text == ""
    assert result.warning is not None and "silent" in str(result.warning)


def test_results_come_before_all_sources_are_read(recogniser: Transcriber, sample: Path) -> None:
    taken = 0

    def sources():
        nonlocal taken
        for _ in range(200):
            taken += 1
            yield sample

    first = next(iter(recogniser.stream(sources(), batch_seconds=10)))
    assert isinstance(first, Transcript)
    assert taken < 60


def test_a_wrong_model_or_device_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Shipped models: digits"):
        asr_s2s.load("english-large")
    (tmp_path / "config.yaml").write_text("text: [")
    with pytest.raises(ModelError, match=r"config\.yaml"):
        asr_s2s.load(str(tmp_path))
    with pytest.raises(ModelError, match="abacus"):
        asr_s2s.load("digits", device="abacus")
    with pytest.raises(ModelError, match="meta"):
        asr_s2s.load("digits", device="meta")


def test_what_is_no_recording_is_refused(recogniser: Transcriber, sample: Path) -> None:
    with pytest.raises(TypeError, match="cannot transcribe a dict"):
        recogniser.transcribe({"audio": sample})
    with pytest.raises(ConfigError, match="beam_size: expected at least 1, found 0"):
        recogniser.transcribe(sample, beam_size=0)
