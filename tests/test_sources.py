"""Recordings in the forms in which callers have them."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import asr_s2s
from asr_s2s.audio.waveform import from_array
from asr_s2s.errors import AudioError, ConfigError
from asr_s2s.pipeline import IncompleteError, Transcriber
from asr_s2s.sources import as_collection, as_recording


@pytest.fixture(scope="module")
def recognizer() -> Transcriber:
    return asr_s2s.load("digits", device="cpu")


@pytest.fixture(scope="module")
def samples(sample: Path) -> np.ndarray:
    """Samples of the sample recording, 16-bit, at its rate."""
    return soundfile.read(sample, dtype="int16")[0]


@pytest.fixture(scope="module")
def rate(sample: Path) -> int:
    return soundfile.info(sample).samplerate


FORMS: dict[str, Callable[[Path, np.ndarray, int], Any]] = {
    "bytes": lambda path, samples, rate: path.read_bytes(),
    "text file": lambda path, samples, rate: path.open(encoding="latin-1"),
    "pair": lambda path, samples, rate: (rate, samples),
    "reversed pair": lambda path, samples, rate: (torch.tensor(samples / 32768.0), rate),
    "datasets": lambda path, samples, rate: {
        "path": None,
        "array": samples / 32768.0,
        "sampling_rate": rate,
    },
    "row": lambda path, samples, rate: {"audio": path, "text": "..."},
    "encoded": lambda path, samples, rate: {"bytes": path.read_bytes(), "path": "a.wav"},
    "tensor": lambda path, samples, rate: (rate, torch.tensor(samples)[None]),
    "gradient": lambda path, samples, rate: (
        rate,
        (torch.tensor(samples) / 32768.0).requires_grad_(),
    ),
    "int32": lambda path, samples, rate: (rate, samples.astype(np.int32)),
    "int64": lambda path, samples, rate: (rate, samples.astype(np.int64)),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same_transcript(
    recognizer: Transcriber, sample: Path, samples: np.ndarray, rate: int, form: str
) -> None:
    source = FORMS[form](sample, samples, rate)
    result = recognizer.transcribe(source, beam_size=1)
    assert result.text == sample.with_suffix(".txt").read_text().strip()


def test_collections_of_any_kind_are_transcribed(recognizer: Transcriber, sample: Path) -> None:
    expected = recognizer.transcribe(sample, beam_size=1).text
    collections: list[Any] = [
        sample.parent.glob(sample.name),
        {sample},
        (path for path in [str(sample)]),
        np.array([str(sample)]),
        np.array([sample], dtype=object),
    ]
    for collection in collections:
        (result,) = recognizer.transcribe(collection, beam_size=1)
        assert result.text == expected


def test_single_recordings_are_no_collections(tmp_path: Path) -> None:
    array = np.zeros(1000, np.float32)
    with tempfile.NamedTemporaryFile() as file:
        for single in ("a.wav", Path("a.wav"), b"RIFF", array, (16_000, array), (array, 16_000),
                       torch.zeros(1000), {"array": array}, io.BytesIO(), file):  # fmt: skip
            assert as_collection(single) is None
        assert as_recording(file, 0, 16_000).name == file.name
    assert as_collection((array, array)) is not None


@pytest.mark.parametrize(
    "source",
    [io.StringIO("text"), 0.5, None, {"array": np.zeros(1000)}, {"sound": "a.wav"}, {}],
    ids=["text", "number", "none", "rate missing", "no audio", "empty"],
)
def test_other_types_are_errors_that_name_the_way_out(source: object) -> None:
    with pytest.raises(AudioError) as caught:
        as_recording(source, 0, 16_000)
    assert caught.value.fix


def test_one_wrong_type_does_not_stop_the_others(recognizer: Transcriber, sample: Path) -> None:
    with pytest.raises(IncompleteError) as caught:
        recognizer.transcribe([0.5, sample], beam_size=1)  # type: ignore[list-item]
    assert caught.value.results[1] == recognizer.transcribe(sample, beam_size=1)


@pytest.mark.parametrize(
    "option",
    [{"sample_rate": 0}, {"sample_rate": "16000"}, {"batch_seconds": 0}, {"audio_track": 0},
     {"beam_size": 2.5}, {"n_best": "3"}, {"phrases": ["Kubernetes"]}],
    ids=str,
)  # fmt: skip
def test_options_of_wrong_types_are_refused_at_the_call(
    recognizer: Transcriber, option: dict[str, Any]
) -> None:
    (name,) = option
    with pytest.raises(ConfigError) as caught:
        recognizer.stream([], **option)
    assert caught.value.where == name


def test_wide_integers_are_scaled_by_what_they_hold() -> None:
    tone = np.sin(np.arange(4000) / 5)
    narrow = (10_000 * tone).astype(np.int16)
    expected = from_array(narrow, 16_000, name="array")
    for wide in (narrow.astype(np.int32), narrow.astype(np.int64), narrow.astype(np.int32) << 16):
        assert np.array_equal(from_array(wide, 16_000, name="array"), expected)
