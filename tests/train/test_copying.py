"""Training of models that copy: names that are not in the vocabulary survive translation."""

import json
import shutil
from pathlib import Path

import pytest
import sacrebleu
import torch

from asr_s2s.config_file import load_config
from asr_s2s.errors import ConfigError
from asr_s2s.model.folder import load_model
from asr_s2s.text.tokenizer import UNK
from asr_s2s.train.loop import train
from asr_s2s.train.settings import check_seq2seq
from asr_s2s.translator import Translator
from tests.support.ciphers import CONFIG, write_corpus
from tests.support.commands import run_text_command
from tests.support.runs import assert_same, logged, run, training_state

WITHOUT_NAMES = [
    "text.vocabulary_size=24", "source_text.joint=true", "train.steps=200",
    "train.validate_every=100", "train.attention_pictures=1",
]  # fmt: skip
"""The joint vocabulary has the words of both languages, and none of the names."""
COPYING = [
    *WITHOUT_NAMES, "decoder.copy=true", "decoder.attention=coverage",
    "objective.coverage_weight=0.5",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    write_corpus(folder, sentences=400, names=0.3)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def copying(corpus: Path) -> Path:
    """Return the run folder of a model that copies."""
    code, messages = run(corpus, corpus / "copying", *COPYING)
    assert code == 0, messages
    return corpus / "copying"


@pytest.fixture(scope="module")
def translator(copying: Path) -> Translator:
    return Translator.load(copying / "model", device="cpu")


@pytest.fixture(scope="module")
def pairs(corpus: Path) -> list[tuple[str, str]]:
    """Sentences with their translations."""
    sides = ((corpus / f"valid.{side}").read_text().splitlines() for side in ("xx", "yy"))
    return list(zip(*sides, strict=True))


def names_of(text: str) -> list[str]:
    return [word for word in text.split() if word.startswith("N")]


def survived(translator: Translator, pairs: list[tuple[str, str]]) -> float:
    """Return the share of names that are in the translations."""
    results = translator.translate([source for source, _ in pairs])
    expected = [(name, i) for i, (_, reference) in enumerate(pairs) for name in names_of(reference)]
    return sum(name in results[i].text.split() for name, i in expected) / len(expected)


def test_names_survive_only_with_copying(
    corpus: Path, translator: Translator, pairs: list[tuple[str, str]]
) -> None:
    code, messages = run(corpus, corpus / "plain", *WITHOUT_NAMES)
    assert code == 0, messages
    known = translator.output.tokenizer.pieces
    assert not any(name in known for _, reference in pairs for name in names_of(reference))
    assert survived(Translator.load(corpus / "plain" / "model", device="cpu"), pairs) == 0.0
    assert survived(translator, pairs) > 0.9
    texts = [result.text for result in translator.translate([source for source, _ in pairs])]
    references = [[reference for _, reference in pairs]]
    assert sacrebleu.corpus_bleu(texts, references, tokenize="none").score > 70


def test_words_of_any_script_are_copied(translator: Translator) -> None:
    result = translator.translate("bado \u9f98\u9750 kime")
    assert "\u9f98\u9750" in result.text.split()


def test_text_and_score_do_not_depend_on_the_batch(
    translator: Translator, pairs: list[tuple[str, str]]
) -> None:
    lines = [source for source, _ in pairs]
    lines.append(" ".join(f"N{number}" for number in range(200, 230)))  # many unknown words
    together = translator.translate(lines, n_best=3)
    for line, result in zip(lines, together, strict=True):
        alone = translator.translate(line, n_best=3)
        assert [a.text for a in alone.alternatives] == [a.text for a in result.alternatives]
        assert result.score == pytest.approx(alone.score, abs=1e-4)


def test_unknown_tokens_are_still_replaced_beside_copied_words(translator: Translator) -> None:
    """A word that the decoder can only write as an unknown token is replaced by attention."""
    line = "bado N5 kime N77"
    copied = translator.translate(line)
    assert set(names_of(copied.text)) == {"N5", "N77"}
    loaded = load_model(translator.folder)
    loaded.model.decoder.output.bias.data[UNK] = 20.0
    generous = Translator(loaded, torch.device("cpu"))
    replaced = generous.translate(line, replace_unknown=True, n_best=4)
    for alternative in replaced.alternatives:
        assert set(alternative.text.split()) <= {*line.split(), *translator.output.tokenizer.pieces}
    assert "<unk>" not in replaced.text


def test_training_reports_the_coverage_loss_and_draws_attention(copying: Path) -> None:
    losses = [row["coverage_loss"] for row in logged(copying) if "coverage_loss" in row]
    assert len(losses) == 20 and losses[-1] < losses[0]
    pictures = sorted((copying / "attention").iterdir())
    assert len(pictures) == 2
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_copied_words_are_named_by_the_commands_that_look_into_a_model(
    copying: Path, tmp_path: Path
) -> None:
    for command in ("attention", "explain"):
        output = tmp_path / f"{command}.json"
        done = run_text_command(command, "bado N5 kime", "--model", copying / "model", "-o", output)
        assert done.returncode == 0, done.stderr
        record = json.loads(output.read_text())
        assert "N5" in record["source"]
        words = record.get("output") or [word["text"] for word in record["words"]]
        assert "N5" in words


def test_an_exported_model_in_8_bits_copies(
    copying: Path, corpus: Path, pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    done = run_text_command(
        "export", copying / "model", "-o", tmp_path / "small", "--precision", "int8"
    )
    assert done.returncode == 0, done.stderr
    assert survived(Translator.load(tmp_path / "small", device="cpu"), pairs) > 0.9
    evaluated = run_text_command(
        "evaluate", corpus / "valid.{xx,yy}", "--model", tmp_path / "small", "--expect", "70"
    )
    assert evaluated.returncode == 0, evaluated.stdout + evaluated.stderr


def test_language_models_and_phrases_score_copied_words_as_unknown_tokens(
    copying: Path, corpus: Path, pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    model = shutil.copytree(copying / "model", tmp_path / "model")
    ngram = tmp_path / "ngram.safetensors"
    for command in (
        ("ngram", corpus / "train.yy", "--model", model, "--order", "2", "-o", ngram),
        ("attach", ngram, "--model", model, "--weight", "0.1"),
    ):
        done = run_text_command(*command)
        assert done.returncode == 0, done.stderr
    translator = Translator.load(model, device="cpu")
    assert survived(translator, pairs) > 0.8
    (tmp_path / "phrases.txt").write_text("aster\n")
    result = translator.translate("bado N5 kime", phrases=tmp_path / "phrases.txt")
    assert "N5" in result.text.split()


def test_interrupted_training_equals_uninterrupted_training(corpus: Path, tmp_path: Path) -> None:
    subwords = [
        "text.tokenizer=sentencepiece", "text.vocabulary_size=40", "text.sampling=0.2",
        "text.character_coverage=0.99", "source_text.joint=true", "decoder.copy=true",
        "text_encoder.shared_embedding=true", "decoder.tied_output=true",
        "objective.coverage_weight=1", "objective.scheduled_sampling=0.2",
        "train.validate_every=6", "train.log_every=1", "train.attention_pictures=0",
        "train.schedule=constant", "train.precision=bf16",
    ]  # fmt: skip
    code, messages = run(corpus, tmp_path / "whole", *subwords, "train.steps=12")
    assert code == 0, messages
    for steps in (6, 12):
        code, messages = run(corpus, tmp_path / "parts", *subwords, f"train.steps={steps}")
        assert code == 0, messages
    assert_same(training_state(tmp_path / "whole"), training_state(tmp_path / "parts"))


def test_settings_that_do_not_fit_are_refused(corpus: Path) -> None:
    wrong = {
        "decoder.copy": ["decoder.copy=true"],
        "objective.coverage_weight": ["objective.coverage_weight=1", "decoder.attention=none"],
    }
    for key, overrides in wrong.items():
        with pytest.raises(ConfigError) as refused:
            check_seq2seq(load_config(corpus / "config.yaml", overrides))
        assert refused.value.where == key


def test_a_transformer_copies(corpus: Path, tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    transformer = [
        *WITHOUT_NAMES, "decoder.copy=true", "decoder.kind=transformer", "decoder.layers=2",
        "train.attention_pictures=0", "train.validate_every=200",
    ]  # fmt: skip
    config = load_config(corpus / "config.yaml", transformer)
    model = train(config, corpus, tmp_path, torch.device("cpu"))
    assert survived(Translator.load(model, device="cpu"), pairs) > 0.6
