"""Joint training of a speech encoder and a text encoder with one decoder."""

import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asr_s2s.config_file import load_config
from asr_s2s.metrics.error_rate import Utterance, score
from asr_s2s.model.folder import LoadedModel, build_model, load_model
from asr_s2s.pipeline import Transcriber
from asr_s2s.train.loop import train
from asr_s2s.translator import Translator
from tests.support.runs import assert_same, logged, run, start, training_state, wait_for_step
from tests.support.tones import CONFIG, PITCHES, write_corpus

SYLLABLES = dict(zip(PITCHES, ("la", "mi", "re", "do"), strict=True))
"""Syllables that name the letters of tones."""

TEXT = """
model: {encoders: [speech, text]}
source_text: {tokenizer: words}
text_encoder: {cell: gru, layers: 1, size: 24, embedding_size: 8, dropout: 0.1}
"""


def to_syllables(text: str) -> str:
    return " ".join(SYLLABLES[letter] for letter in text)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write recordings of tones with their letters, and parallel text of syllables and letters."""
    folder = tmp_path_factory.mktemp("both")
    write_corpus(folder, utterances=150)
    for split in ("train", "valid"):
        texts = [json.loads(line)["text"] for line in (folder / f"{split}.jsonl").open()]
        rows = ["source\ttarget", *(f"{to_syllables(text)}\t{text}" for text in texts)]
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    data = "data: {train: [train.jsonl, train.tsv], valid: [valid.jsonl, valid.tsv], batch_tokens: "
    config = CONFIG.replace("data: {train: [train.jsonl], valid: [valid.jsonl],", f"{data}100,")
    (folder / "config.yaml").write_text(config + TEXT)
    return folder


def character_error_rates(loaded: LoadedModel, corpus: Path) -> tuple[float, float]:
    """Return the error rates of speech and of text input on the validation data."""
    device = torch.device("cpu")
    rows = [json.loads(line) for line in (corpus / "valid.jsonl").open()]
    transcripts = Transcriber(loaded, device).transcribe([corpus / row["audio"] for row in rows])
    translations = Translator(loaded, device).translate([to_syllables(row["text"]) for row in rows])
    rates = [
        score([Utterance(str(i), row["text"], r.text) for i, (row, r) in
               enumerate(zip(rows, results, strict=True))]).character_error_rate
        for results in (transcripts, translations)
    ]  # fmt: skip
    return rates[0], rates[1]


def test_one_model_learns_speech_and_text_input(corpus: Path, tmp_path: Path) -> None:
    code, messages = run(
        corpus, tmp_path, "train.steps=320", "train.validate_every=160", "train.learning_rate=5e-3",
        "data.batch_seconds=8", "speech_encoder.time_reduction=2", "speech_encoder.size=64",
        "text_encoder.size=64", "decoder.size=64", "decoder.attention_size=64",
        "speech_encoder.dropout=0", "decoder.dropout=0", "augment.time_masks=0",
        "augment.frequency_masks=0", "augment.noise_probability=0", "augment.speeds=[1.0]",
        "objective.scheduled_sampling=0", "train.checkpoint_every=1000",
    )  # fmt: skip
    assert code == 0, messages
    losses = {"speech": [], "text": []}
    for row in logged(tmp_path):
        for kind, values in losses.items():  # speech and text alternate
            if f"{kind}/attention_loss" in row:
                values.append(row[f"{kind}/attention_loss"])
    assert len(losses["speech"]) == len(losses["text"]) == 160
    for values in losses.values():
        assert sum(values[-10:]) < 0.7 * sum(values[:10])

    loaded = load_model(tmp_path / "model")
    untrained = build_model(loaded.config, loaded.tokenizer, loaded.source_tokenizer).eval()
    before = character_error_rates(loaded._replace(model=untrained), corpus)
    after = character_error_rates(loaded, corpus)
    for kind in range(2):
        assert after[kind] < 0.4 < 0.8 < before[kind]


def test_both_encoders_and_the_decoder_are_trained(corpus: Path, tmp_path: Path) -> None:
    weights = []
    for steps in (1, 3):
        overrides = [f"train.steps={steps}", "train.weight_decay=0"]
        config = load_config(corpus / "config.yaml", overrides)
        folder = train(config, corpus, tmp_path / str(steps), torch.device("cpu"))
        weights.append(load_file(folder / "model.safetensors"))
    first, third = weights
    for part in ("encoders.speech", "encoders.text", "source_embedding", "decoder", "ctc"):
        trained = {name: value for name, value in first.items() if name.startswith(part)}
        assert trained
        for name, value in trained.items():
            assert "normalize" in name or not torch.equal(value, third[name]), name


def test_killed_and_resumed_training_equals_uninterrupted_training(
    corpus: Path, tmp_path: Path
) -> None:
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    # The kinds alternate: after an odd number of steps, the next batch is text.
    settings = ["train.checkpoint_every=3", "train.attention_pictures=0"]
    code, messages = run(corpus, uninterrupted, *settings)
    assert code == 0, messages
    process = start(corpus, resumed, *settings, "data.workers=1")
    wait_for_step(resumed, 10, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert training_state(resumed)["position"]["step"] == 9
    code, messages = run(corpus, resumed, *settings)
    assert code == 0, messages
    assert "at step 9" in messages

    assert_same(training_state(uninterrupted), training_state(resumed))
    position = training_state(uninterrupted)["position"]
    assert position["epoch"].keys() == position["batch"].keys() == {"speech", "text"}
    weights = "model/model.safetensors"
    assert_same(load_file(uninterrupted / weights), load_file(resumed / weights))
    assert logged(uninterrupted) == logged(resumed)
