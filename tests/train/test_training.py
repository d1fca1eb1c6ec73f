"""Training of speech recognizers in real processes, on a small corpus of tones."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import asr_s2s
from asr_s2s.nn.low_precision import multiplies_bf16
from tests.support.limits import TIMEOUT
from tests.support.runs import assert_same, logged, run, start, training_state, wait_for_step
from tests.support.tones import CONFIG, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder, utterances=80)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_killed_and_resumed_training_equals_uninterrupted_training(
    corpus: Path, tmp_path: Path, precision: str
) -> None:
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    replaced = precision == "bf16" and not multiplies_bf16()
    precision = f"train.precision={precision}"
    code, messages = run(corpus, uninterrupted, precision)
    assert code == 0, messages
    assert ("no bf16 instructions" in messages) == replaced
    # Prefetching must not matter either.
    process = start(corpus, resumed, precision, "data.workers=1")
    wait_for_step(resumed, 7, process)  # in the middle of an epoch
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert training_state(resumed)["position"]["step"] < 12
    code, messages = run(corpus, resumed, precision)
    assert code == 0, messages
    assert "resuming" in messages

    assert_same(training_state(uninterrupted), training_state(resumed))
    weights = "model/model.safetensors"
    assert_same(load_file(uninterrupted / weights), load_file(resumed / weights))
    assert logged(uninterrupted) == logged(resumed)


def test_a_run_saved_at_the_end_of_an_epoch_can_be_resumed(corpus: Path, tmp_path: Path) -> None:
    whole = ["data.batch_seconds=1000", "data.buckets=1"]  # one batch per epoch
    assert run(corpus, tmp_path, "train.steps=2", *whole)[0] == 0
    code, messages = run(corpus, tmp_path, "train.steps=4", *whole)
    assert code == 0, messages
    assert "at step 2" in messages
    assert training_state(tmp_path)["position"]["step"] == 4


def test_ctrl_c_saves_the_state_and_the_same_command_resumes(corpus: Path, tmp_path: Path) -> None:
    settings = ["train.checkpoint_every=100000", "data.workers=2"]
    process = start(corpus, tmp_path, "train.steps=100000", *settings)
    wait_for_step(tmp_path, 3, process)
    os.killpg(process.pid, signal.SIGINT)  # like a terminal, to all processes of the run
    _, messages = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert "run the same command again" in messages and "Traceback" not in messages
    stopped_at = training_state(tmp_path)["position"]["step"]
    assert stopped_at >= 3
    code, messages = run(corpus, tmp_path, f"train.steps={stopped_at + 1}", *settings)
    assert code == 0, messages
    assert f"at step {stopped_at}" in messages


def test_only_one_process_trains_in_a_run_folder(corpus: Path, tmp_path: Path) -> None:
    endless = ["train.steps=100000", "train.checkpoint_every=1", "data.workers=1"]
    process = start(corpus, tmp_path, *endless)
    wait_for_step(tmp_path, 2, process)
    code, messages = run(corpus, tmp_path, *endless)
    assert code == 1
    assert "another process" in messages and "Traceback" not in messages
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)  # its reading process lives on for some seconds
    process.communicate()
    step = training_state(tmp_path)["position"]["step"]
    code, messages = run(corpus, tmp_path, f"train.steps={step}", *endless[1:])
    assert code == 0, messages


def test_a_run_folder_contains_the_documented_files(corpus: Path, tmp_path: Path) -> None:
    code, messages = run(corpus, tmp_path, "features.normalization=global", "train.accumulate=2")
    assert code == 0, messages
    for name in ("config.yaml", "last.pt", "metrics.jsonl", "model/README.md", "model/config.yaml",
                 "model/tokenizer.json", "model/model.safetensors"):  # fmt: skip
        assert (tmp_path / name).is_file(), name
    assert list((tmp_path / "tensorboard").iterdir())
    pictures = sorted(path.name for path in (tmp_path / "attention").iterdir())
    assert pictures[:2] == ["step-0000006-0.png", "step-0000006-1.png"]
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "metrics.jsonl").open()]
    assert kinds.count("valid") == 2 and kinds.count("train") == 12
    weights = load_file(tmp_path / "model/model.safetensors")
    mean = weights["encoders.speech.normalize.mean"]
    assert mean.abs().min() > 0.1  # measured on the training set


def test_utterances_without_speech_are_used_only_with_learn_silence(
    tmp_path: Path,
) -> None:
    write_corpus(tmp_path, utterances=8)
    (tmp_path / "config.yaml").write_text(CONFIG)
    silent_row = {"audio": "audio/train-0.wav", "text": ""}
    rows = [json.dumps(silent_row | {"id": f"silent-{number}"}) for number in range(4)]
    with (tmp_path / "train.jsonl").open("a") as manifest:
        manifest.write("\n".join(rows))
    one_by_one = ["train.steps=12", "data.batch_seconds=0.6"]  # includes batches without any text
    code, messages = run(tmp_path, tmp_path / "without", *one_by_one)
    assert code == 0 and "skipped 4 utterances" in messages, messages
    code, messages = run(tmp_path, tmp_path / "with", *one_by_one, "data.learn_silence=true")
    assert code == 0 and "training on 12 utterances" in messages, messages
    losses = [row["loss"] for row in logged(tmp_path / "with") if row["kind"] == "train"]
    assert len(losses) == 12 and None not in losses  # None stands for NaN and infinity


@pytest.mark.parametrize("input_feeding", [True, False])
def test_a_small_model_learns_to_transcribe_tones(tmp_path: Path, input_feeding: bool) -> None:
    corpus = tmp_path / "corpus"
    write_corpus(corpus, utterances=200)
    (corpus / "config.yaml").write_text(CONFIG)
    code, messages = run(
        corpus, tmp_path / "run", "train.steps=240", "train.validate_every=80",
        "train.checkpoint_every=1000", "data.batch_seconds=8", "train.learning_rate=5e-3",
        "speech_encoder.time_reduction=2", "speech_encoder.size=64", "decoder.size=64",
        "decoder.attention_size=64", "decoder.embedding_size=16", "speech_encoder.dropout=0",
        "decoder.dropout=0", "augment.time_masks=0", "augment.frequency_masks=0",
        "augment.noise_probability=0", "augment.speeds=[1.0]", "objective.scheduled_sampling=0",
        f"decoder.input_feeding={str(input_feeding).lower()}",
    )  # fmt: skip
    assert code == 0, messages
    recognizer = asr_s2s.load(str(tmp_path / "run/model"))
    rows = [json.loads(line) for line in (corpus / "valid.jsonl").open()]
    results = recognizer.transcribe([corpus / row["audio"] for row in rows])
    correct = sum(result.text == row["text"] for result, row in zip(results, rows, strict=True))
    assert correct >= 0.6 * len(rows)  # chance level is near 0


def test_a_run_is_not_resumed_with_a_different_configuration(corpus: Path, tmp_path: Path) -> None:
    assert run(corpus, tmp_path, "train.steps=2")[0] == 0
    code, messages = run(corpus, tmp_path, "train.steps=2", "decoder.size=16")
    assert code == 1
    assert "decoder.size=24, not 16" in messages and "Traceback" not in messages


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.stepz=3", "Did you mean train.steps"),
        ("data.train=[missing.jsonl]", "missing.jsonl"),
        ("data.valid=[]", "data.valid: no manifest is given"),
        ("data.max_seconds=0.01", "data.max_seconds"),
        ("speech_encoder.time_reduction=3", "power of 2"),
        ("train.validate_every=0", "train.validate_every: expected a number above 0, found 0"),
        ("decoder.dropout=1.5", "decoder.dropout: expected a number from 0 to 1"),
        ("search.ctc_weight=2", "search.ctc_weight"),
        ("train.precision=fp16", "fp16 needs a GPU"),
        ("text.normalizer=englisch", "english"),
    ],
)
def test_the_error_of_an_invalid_setting_names_it(
    corpus: Path, tmp_path: Path, override: str, words: str
) -> None:
    code, messages = run(corpus, tmp_path, override)
    assert code == 1
    assert words in messages and "Traceback" not in messages


def test_unreadable_recordings_are_reported_and_left_out(corpus: Path, tmp_path: Path) -> None:
    for name in ("train", "valid"):
        rows = [json.loads(line) for line in (corpus / f"{name}.jsonl").open()]
        for row in rows:
            row["audio"] = str(corpus / row["audio"])
            row["duration"] = 0.4
        rows[1]["audio"] = str(tmp_path / f"{name}-gone.wav")
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "config.yaml").write_text(CONFIG)
    code, messages = run(tmp_path, tmp_path / "run", "train.steps=9")
    assert code == 0, messages
    assert "train-gone.wav: there is no such file" in messages
    assert "valid-gone.wav: there is no such file" in messages
    assert "Traceback" not in messages


def test_training_stops_early_when_validation_no_longer_improves(
    corpus: Path, tmp_path: Path
) -> None:
    code, messages = run(
        corpus, tmp_path, "train.steps=100000", "train.validate_every=2", "train.patience=3",
        "train.learning_rate=1e-9",
    )  # fmt: skip
    assert code == 0, messages
    assert "stopped early" in messages
    assert training_state(tmp_path)["position"]["step"] == 8


def test_the_final_model_is_the_mean_of_the_best_checkpoints_or_the_best_one(
    corpus: Path, tmp_path: Path
) -> None:
    code, messages = run(corpus, tmp_path, "train.saved_precision=fp32")
    assert code == 0, messages
    kept = [load_file(path) for path in sorted((tmp_path / "best").iterdir())]
    assert len(kept) == 2
    final = load_file(tmp_path / "model/model.safetensors")
    best = training_state(tmp_path)["position"]["best"][0][1]
    alone = load_file(tmp_path / f"best/step-{best:07d}.safetensors")
    for name, value in final.items():
        expected = alone[name] if "not used" in messages else (kept[0][name] + kept[1][name]) / 2
        torch.testing.assert_close(value, expected)


def test_fine_tuning_starts_from_weights_and_vocabulary_of_a_model(
    corpus: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(corpus, first, "train.steps=3")[0] == 0
    no_change = ["train.steps=1", "train.learning_rate=1e-12", "train.weight_decay=0"]
    code, messages = run(corpus, second, f"train.initialize={first}/model", *no_change)
    assert code == 0, messages
    weights = [load_file(folder / "model/model.safetensors") for folder in (first, second)]
    torch.testing.assert_close(weights[0], weights[1], atol=1e-6, rtol=0)
    code, messages = run(
        corpus, tmp_path / "third", f"train.initialize={first}/model", "decoder.size=16"
    )
    assert code == 1
    assert "the weights do not fit the settings" in messages and "Traceback" not in messages


@pytest.mark.parametrize("count", [1, 3])
def test_training_works_with_very_few_utterances(corpus: Path, tmp_path: Path, count: int) -> None:
    rows = (corpus / "train.jsonl").read_text().splitlines()[:count]
    (corpus / "few.jsonl").write_text("\n".join(rows) + "\n")
    code, messages = run(corpus, tmp_path, "data.train=[few.jsonl]", "train.steps=6")
    assert code == 0, messages
