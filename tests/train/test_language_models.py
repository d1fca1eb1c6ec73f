"""Language models: training, building, attaching and tuning in real processes."""

import gzip
import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from safetensors.torch import load_file

from asr_s2s.config_file import load_config
from asr_s2s.errors import ConfigError, ModelError, UserError
from asr_s2s.model.folder import find_model, load_language_model, load_model, own_folder
from asr_s2s.text.vocabulary import load_tokenizer
from asr_s2s.train.loop import train
from tests.support.commands import run_text_command
from tests.support.runs import (
    assert_same,
    logged,
    run,
    start,
    training_state,
    wait_for_step,
)

DIGITS_MODEL = ("--model", "digits")
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
CONFIG = """
model: {encoders: [none]}
language_model: {vocabulary_of: digits, layers: 2, size: 32, embedding_size: 16, dropout: 0.1}
data: {train: [train.txt.gz], valid: [valid.txt], batch_tokens: 300, buckets: 3, workers: 0}
objective: {label_smoothing: 0}
train: {steps: 120, warmup_steps: 5, learning_rate: 2.0e-2, validate_every: 60, keep_best: 2,
        checkpoint_every: 1000, log_every: 1}
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    rng = random.Random(0)

    def lines(count: int) -> str:
        return "".join(f"{' '.join(rng.choices(DIGITS, k=4))}\n" for _ in range(count))

    with gzip.open(folder / "train.txt.gz", "wt") as file:
        file.write(lines(400) + "\n \n!!!\n" + " ".join(DIGITS * 30))
    (folder / "valid.txt").write_text(lines(30).upper())
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def trained(corpus: Path) -> Path:
    code, messages = run(corpus, corpus / "trained")
    assert code == 0, messages
    assert "lines of text" in messages
    return corpus / "trained"


@pytest.fixture
def recognizer(tmp_path: Path) -> Path:
    """Return a copy of a shipped model."""
    return Path(shutil.copytree(find_model("digits"), tmp_path / "recognizer"))


def test_a_language_model_learns(trained: Path) -> None:
    perplexities = [row["perplexity"] for row in logged(trained) if row["kind"] == "valid"]
    assert perplexities[-1] < perplexities[0] < 20
    assert perplexities[-1] < 4
    model = trained / "model"
    assert set(yaml.safe_load((model / "config.yaml").read_text())) == {
        "format", "text", "model", "language_model",
    }  # fmt: skip
    assert "perplexity" in (model / "README.md").read_text()
    tokenizer = load_tokenizer(find_model("digits"))
    assert load_tokenizer(model).pieces == tokenizer.pieces
    assert not load_language_model(model, tokenizer).training


def test_text_is_normalized_like_that_of_the_recognizer(trained: Path) -> None:
    assert load_config(trained / "config.yaml").text.normalizer == "english"


def test_resumed_training_equals_uninterrupted_training(corpus: Path, tmp_path: Path) -> None:
    steps = ["train.steps=14", "train.validate_every=7", "train.checkpoint_every=2"]
    assert run(corpus, tmp_path / "uninterrupted", *steps)[0] == 0
    for stop in (signal.SIGKILL, signal.SIGINT):
        process = start(corpus, tmp_path / "resumed", *steps)
        wait_for_step(tmp_path / "resumed", 5 if stop == signal.SIGKILL else 9, process)
        os.killpg(process.pid, stop)
        process.wait()
    assert run(corpus, tmp_path / "resumed", *steps)[0] == 0
    assert_same(training_state(tmp_path / "resumed"), training_state(tmp_path / "uninterrupted"))
    assert logged(tmp_path / "resumed") == logged(tmp_path / "uninterrupted")
    weights = (
        load_file(tmp_path / r / "model" / "model.safetensors")
        for r in ("resumed", "uninterrupted")
    )
    assert_same(*weights)


@pytest.mark.parametrize(
    ("override", "kind", "message"),
    [
        ("language_model.vocabulary_of=null", ConfigError, "needs the vocabulary"),
        ("language_model.vocabulary_of=nowhere", ModelError, "no such model folder"),
        ("data.train=[train.jsonl]", ConfigError, "a table, not plain text"),
        ("data.valid=[nothing.txt]", UserError, "nothing.txt"),
        ("language_model.size=0", ConfigError, "language_model.size"),
    ],
)
def test_invalid_settings_are_refused_at_the_start(
    corpus: Path, tmp_path: Path, override: str, kind: type[UserError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        config = load_config(corpus / "config.yaml", [override])
        train(config, corpus, tmp_path / "run", torch.device("cpu"))


def test_a_language_model_is_not_loaded_as_a_recognizer(trained: Path) -> None:
    with pytest.raises(ModelError, match="this is a language model"):
        load_model(trained / "model")


def test_built_and_trained_language_models_are_attached_and_tuned(
    corpus: Path, trained: Path, recognizer: Path, tmp_path: Path, sample: Path
) -> None:
    grams = tmp_path / "grams.safetensors"
    built = run_text_command(
        "ngram", corpus / "train.txt.gz", "--model", recognizer, "--order", "5", "-o", grams
    )
    assert built.returncode == 0, built.stderr
    assert "order 1 to 5" in built.stdout
    for model, weight in ((grams, "0.2"), (trained / "model", "0.1")):
        attached = run_text_command("attach", model, "--model", recognizer, "--weight", weight)
        assert attached.returncode == 0, attached.stderr
    loaded = load_model(recognizer)
    assert loaded.config.search.ngram_weight == 0.2
    assert loaded.config.search.language_model_weight == 0.1
    assert loaded.language_models.ngram is not None
    assert loaded.language_models.ngram.order == 5
    assert loaded.language_models.recurrent is not None

    samples, rate = soundfile.read(sample)
    soundfile.write(tmp_path / "dev.wav", samples[:rate], rate)  # 1 s, as it is decoded many times
    (tmp_path / "dev.jsonl").write_text(json.dumps({"audio": "dev.wav", "text": "three"}))
    tuned = run_text_command(
        "tune", tmp_path / "dev.jsonl", "--model", recognizer, "--beam-size", "2"
    )
    assert tuned.returncode == 0, tuned.stderr
    header, best, *_ = tuned.stdout.splitlines()
    search = yaml.safe_load((recognizer / "config.yaml").read_text())["search"]
    names, values = header.split("\t")[1:], best.split("\t")[1:]
    assert {name: search[name] for name in names} == dict(
        zip(names, map(float, values), strict=True)
    )
    assert {"ngram_weight", "language_model_weight", "token_bonus", "ctc_weight"} <= set(names)


def test_language_models_of_a_different_vocabulary_are_not_attached(
    corpus: Path, recognizer: Path, tmp_path: Path
) -> None:
    grams = tmp_path / "grams.safetensors"
    assert (
        run_text_command("ngram", corpus / "valid.txt", "--model", "en-de", "-o", grams).returncode
        == 0
    )
    refused = run_text_command("attach", grams, "--model", recognizer)
    assert refused.returncode == 1
    assert "another vocabulary" in refused.stderr
    assert not (recognizer / "ngram.safetensors").exists()


def test_shipped_models_cannot_be_changed() -> None:
    with pytest.raises(ModelError, match="ships with the package"):
        own_folder("digits")


def test_an_arpa_file_is_converted(recognizer: Path, tmp_path: Path) -> None:
    grams = [" ".join(word) for word in DIGITS]
    letters = sorted(set("".join(DIGITS)))
    arpa = ["\\data\\", f"ngram 1={len(letters) + 2}", "ngram 2=1", "", "\\1-grams:"]
    arpa += ["-99\t<s>\t-0.5", "-1\t</s>", *(f"-1.5\t{letter}\t-0.2" for letter in letters)]
    arpa += ["", "\\2-grams:", f"-0.1\t{grams[0][:3]}", "", "\\end\\", ""]
    (tmp_path / "a.arpa").write_text("\n".join(arpa))
    output = tmp_path / "ngram.safetensors"
    built = run_text_command("ngram", tmp_path / "a.arpa", "--model", recognizer, "-o", output)
    assert built.returncode == 0, built.stderr
    assert run_text_command("attach", output, "--model", recognizer).returncode == 0


def test_phrases_are_favored_in_transcripts(tmp_path: Path, sample: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("Eight\t20\n")
    plain = run_text_command("transcribe", sample, *DIGITS_MODEL)
    favored = run_text_command("transcribe", sample, *DIGITS_MODEL, "--phrases", names)
    assert favored.returncode == 0, favored.stderr
    assert favored.stdout.split().count("eight") > plain.stdout.split().count("eight")


def test_phrases_outside_the_vocabulary_are_refused(tmp_path: Path, sample: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("quick\n")
    refused = run_text_command("transcribe", sample, *DIGITS_MODEL, "--phrases", names)
    assert refused.returncode == 1
    assert "cannot write 'ckq'" in refused.stderr
