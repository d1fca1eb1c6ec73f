"""Training of a model whose encoder is given the output language, and its use."""

import json
from pathlib import Path

import pytest
import torch

from asr_s2s.config_file import load_config
from asr_s2s.train.loop import train
from asr_s2s.translator import Translator
from tests.support.ciphers import CONFIG, write_corpus
from tests.support.commands import run_text_command
from tests.support.runs import run


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("languages")
    write_corpus(folder)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def model(corpus: Path) -> Path:
    code, messages = run(
        corpus, corpus / "run", "data.train=[train.tsv]", "data.valid=[valid.tsv]",
        "text.languages=[yy,zz]", "model.language_to_encoder=true", "data.batch_tokens=500",
        "train.validate_every=1000", "train.attention_pictures=1",
    )  # fmt: skip
    assert code == 0, messages
    return corpus / "run" / "model"


def test_test_sets_of_mixed_languages_are_evaluated(model: Path, corpus: Path) -> None:
    done = run_text_command("evaluate", corpus / "valid.tsv", "--model", model, "--expect", "40")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_source_is_translated_into_either_language(model: Path, corpus: Path) -> None:
    translator = Translator.load(model, device="cpu")
    assert translator.model.languages["text"].weight.abs().sum() > 0
    source = (corpus / "valid.xx").read_text().splitlines()[0]
    texts = {}
    for language in ("yy", "zz"):
        texts[language] = translator.translate(source, language=language).text
        words = set((corpus / f"train.{language}").read_text().split())
        assert set(texts[language].split()) <= words
    assert texts["yy"] != texts["zz"]


@pytest.mark.parametrize("command", ["attention", "explain"])
def test_commands_that_look_into_a_model_give_it_the_language(
    model: Path, tmp_path: Path, command: str
) -> None:
    output = tmp_path / "out.json"
    done = run_text_command(
        command, "bado kime", "--model", model, "--language", "zz", "-o", output
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(output.read_text())
    assert record.get("output", ["<zz>"])[0] == "<zz>"


def test_fine_tuning_adds_the_units_of_new_texts(model: Path, tmp_path: Path) -> None:
    """Names are new words of the output and the source."""
    write_corpus(tmp_path, 100, names=0.3, seed=5)
    (tmp_path / "config.yaml").write_text(CONFIG)
    settings = [
        "data.train=[train.tsv]", "data.valid=[valid.tsv]", "text.languages=[yy,zz]",
        "model.language_to_encoder=true", f"train.initialize={model}", "train.steps=2",
        "train.validate_every=2", "train.learning_rate=1e-12", "train.weight_decay=0",
        "train.attention_pictures=0",
    ]  # fmt: skip
    config = load_config(tmp_path / "config.yaml", [*settings, "train.missing_units=add"])
    folder = train(config, tmp_path, tmp_path / "run", torch.device("cpu"))
    before, after = (Translator.load(path, device="cpu") for path in (model, folder))
    for old, new in (
        (before.output.tokenizer, after.output.tokenizer),
        (before.dataset.source_tokenizer, after.dataset.source_tokenizer),
    ):
        assert new.pieces[: len(old)] == old.pieces
        assert any(piece.startswith("N") for piece in new.pieces[len(old) :])
    for language in ("yy", "zz"):
        lines = ["bado kime", "luro fasa nito"]
        texts = [
            [result.text for result in translator.translate(lines, language=language)]
            for translator in (before, after)
        ]
        assert texts[0] == texts[1]


def test_fine_tuning_refuses_missing_characters(tmp_path: Path) -> None:
    write_corpus(tmp_path / "first", 60)
    write_corpus(tmp_path / "second", 60, names=0.3)
    common = [
        "text.tokenizer=characters", "source_text.joint=true", "train.steps=2",
        "train.validate_every=2", "train.attention_pictures=0", "data.batch_tokens=1000",
    ]  # fmt: skip
    for name in ("first", "second"):
        (tmp_path / name / "config.yaml").write_text(CONFIG)
    code, messages = run(tmp_path / "first", tmp_path / "run", *common)
    assert code == 0, messages
    tuned = [*common, f"train.initialize={tmp_path}/run/model"]
    code, messages = run(tmp_path / "second", tmp_path / "tuned", *tuned)
    assert code == 1 and "Traceback" not in messages
    assert "train.missing_units" in messages and "'N'" in messages and "'7'" in messages
    for choice in ("unknown", "add"):
        output = tmp_path / choice
        code, messages = run(tmp_path / "second", output, *tuned, f"train.missing_units={choice}")
        assert code == 0, messages
        tokenizer = Translator.load(output / "model", device="cpu").output.tokenizer
        assert bool(tokenizer.unknown_characters("N7")) == (choice == "unknown")
