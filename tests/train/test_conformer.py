"""A Conformer speech encoder in everything that uses an encoder, on recordings of tones."""

import json
import shutil
import signal
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from asr_s2s.audio.decode import read_audio
from asr_s2s.model.folder import load_model
from asr_s2s.model.weights import convert_weights
from asr_s2s.pipeline import Transcriber
from asr_s2s.search.align import align
from tests.support.commands import run_text_command
from tests.support.runs import (
    assert_same,
    logged,
    run,
    start,
    training_state,
    wait_for_step,
)
from tests.support.tones import CONFIG, write_corpus

CPU = torch.device("cpu")
CONFORMER = [
    "speech_encoder.kind=conformer", "speech_encoder.layers=2", "speech_encoder.size=48",
    "speech_encoder.heads=2", "speech_encoder.feedforward_size=96", "speech_encoder.kernel_size=7",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder, utterances=150)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def recordings(corpus: Path) -> dict[Path, str]:
    """Validation recordings with their transcripts."""
    rows = [json.loads(line) for line in (corpus / "valid.jsonl").open()]
    return {corpus / row["audio"]: row["text"] for row in rows}


@pytest.fixture(scope="module")
def model(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a trained model."""
    output = tmp_path_factory.mktemp("trained")
    code, messages = run(
        corpus, output, *CONFORMER, "train.steps=180", "train.validate_every=180",
        "train.checkpoint_every=1000", "data.batch_seconds=8", "train.learning_rate=4e-3",
        "train.warmup_steps=20", "decoder.size=48", "decoder.attention_size=48",
        "speech_encoder.dropout=0", "decoder.dropout=0", "augment.time_masks=0",
        "augment.frequency_masks=0", "augment.noise_probability=0", "augment.speeds=[1.0]",
        "objective.scheduled_sampling=0",
    )  # fmt: skip
    assert code == 0, messages
    return output / "model"


def test_it_learns_and_decodes_alone_as_in_a_batch(
    model: Path, recordings: dict[Path, str]
) -> None:
    transcriber = Transcriber(load_model(model), CPU)
    together = transcriber.transcribe(list(recordings), words=True)
    correct = [
        result.text == text for result, text in zip(together, recordings.values(), strict=True)
    ]
    assert np.mean(correct) >= 0.8  # chance level is near 0
    assert len({len(text) for text in recordings.values()}) > 1  # rows are padded
    for path, expected in list(zip(recordings, together, strict=True))[:6]:
        alone = transcriber.transcribe(path, words=True)
        assert alone.text == expected.text
        assert alone.score == pytest.approx(expected.score, abs=1e-4)
        for one, other in zip(alone.segments, expected.segments, strict=True):
            assert [(w.start, w.end) for w in one.words] == [(w.start, w.end) for w in other.words]


def test_frames_of_tokens_are_where_the_tones_are(model: Path, recordings: dict[Path, str]) -> None:
    loaded = load_model(model)
    distances = []
    for path, text in recordings.items():
        samples = torch.from_numpy(read_audio(path))
        with torch.inference_mode():
            memory = loaded.model.encode("speech", samples[None], torch.tensor([len(samples)]))
        output = loaded.tokenizer.encode(text)
        prompts = torch.zeros(1, 0, dtype=torch.long)
        (alignment,) = align(loaded.model, memory, [output], prompts)
        for number, span in enumerate(alignment.spans):
            times = [loaded.model.frame_time(frame) for frame in (span.start, span.end)]
            distances.append(sum(times) / 2 - (0.1 + 0.1 * number))  # centers of tones
    assert abs(np.mean(distances)) <= 0.02
    assert np.quantile(np.abs(distances), 0.9) <= 0.05


def test_words_have_times_without_ctc(model: Path, recordings: dict[Path, str]) -> None:
    loaded = load_model(model)
    loaded.model.ctc = None  # attention then judges and aligns outputs
    words = [
        (word, result.duration)
        for result in Transcriber(loaded, CPU).transcribe(list(recordings), words=True)
        for segment in result.segments
        for word in segment.words
    ]
    assert len(words) >= len(recordings) / 2  # an output is one word or empty
    for word, duration in words:
        assert 0.0 <= word.start <= word.end <= duration + 1e-6


def test_commands_write_word_times_and_attention(
    model: Path, recordings: dict[Path, str], tmp_path: Path
) -> None:
    path, text = max(recordings.items(), key=lambda item: len(item[1]))
    done = run_text_command("transcribe", path, "--model", model, "--words", "--format", "json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["text"] == text
    (word,) = record["segments"][0]["words"]
    assert word["start"] == pytest.approx(0.05, abs=0.06)
    assert word["end"] == pytest.approx(record["duration"], abs=0.06)

    options = ("--model", model, "--output-text", text)
    done = run_text_command("attention", path, *options, "-o", tmp_path / "weights.json")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "weights.json").read_text())
    # Frames of 40 ms, the first of which is centered on the first of two frames that are added.
    assert record["times"][:2] == pytest.approx([-0.02, 0.02])
    weights = np.array(record["weights"])
    assert weights.shape == (len(text) + 1, len(record["times"]))
    assert weights.sum(1) == pytest.approx(np.ones(len(weights)), abs=1e-3)
    done = run_text_command("attention", path, *options, "-o", tmp_path / "picture.png")
    assert done.returncode == 0, done.stderr
    assert matplotlib.image.imread(tmp_path / "picture.png").shape[1] > 1000


def test_it_has_the_same_outputs_with_8_bit_weights(
    model: Path, recordings: dict[Path, str], tmp_path: Path
) -> None:
    copied = shutil.copytree(model, tmp_path / "int8")
    convert_weights(copied, "int8")
    results = Transcriber(load_model(copied), CPU).transcribe(list(recordings))
    assert np.mean([r.text == t for r, t in zip(results, recordings.values(), strict=True)]) >= 0.8


def test_killed_and_resumed_training_equals_uninterrupted_training(
    corpus: Path, tmp_path: Path
) -> None:
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    code, messages = run(corpus, uninterrupted, *CONFORMER)
    assert code == 0, messages
    process = start(corpus, resumed, *CONFORMER)
    wait_for_step(resumed, 7, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert training_state(resumed)["position"]["step"] < 12
    code, messages = run(corpus, resumed, *CONFORMER)
    assert code == 0, messages
    assert_same(training_state(uninterrupted), training_state(resumed))
    weights = "model/model.safetensors"
    assert_same(load_file(uninterrupted / weights), load_file(resumed / weights))
    assert logged(uninterrupted) == logged(resumed)


def test_impossible_settings_are_refused_before_training(corpus: Path, tmp_path: Path) -> None:
    code, messages = run(corpus, tmp_path / "run", *CONFORMER, "speech_encoder.kernel_size=4")
    assert code == 1
    assert "speech_encoder.kernel_size" in messages and "Traceback" not in messages
