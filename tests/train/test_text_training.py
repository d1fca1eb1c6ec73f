"""Training of translation models in real processes, on a synthetic language."""

import gzip
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import sacrebleu
import torch
from safetensors.torch import load_file

from asr_s2s.config_file import load_config
from asr_s2s.errors import ConfigError, ManifestError, UserError
from asr_s2s.model.folder import LoadedModel, build_model, load_model, read_config
from asr_s2s.train.loop import train
from asr_s2s.train.settings import check_seq2seq
from asr_s2s.translator import Translator
from tests.support.ciphers import CONFIG, write_corpus
from tests.support.commands import run_text_command
from tests.support.limits import TIMEOUT
from tests.support.runs import (
    assert_same,
    logged,
    run,
    start,
    training_state,
    wait_for_step,
)

SUBWORDS = [
    "text.tokenizer=sentencepiece", "text.vocabulary_size=45", "text.sampling=0.2",
    "source_text.joint=true", "text_encoder.shared_embedding=true", "decoder.tied_output=true",
    "train.steps=12", "train.validate_every=6", "train.checkpoint_every=2", "train.log_every=1",
    "train.attention_pictures=0", "text_augment.uppercase_probability=0.3",
    "text_augment.strip_end_probability=0.3", "text_augment.symbol_probability=0.2",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ciphers")
    write_corpus(folder)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def trained(corpus: Path) -> Path:
    """Return the run folder of a model trained to translate xx into yy."""
    code, messages = run(corpus, corpus / "trained")
    assert code == 0, messages
    return corpus / "trained"


def bleu(loaded: LoadedModel, corpus: Path) -> float:
    """Return BLEU on the validation data."""
    sources, references = (
        (corpus / f"valid.{side}").read_text().splitlines() for side in ("xx", "yy")
    )
    results = Translator(loaded, torch.device("cpu")).translate(sources)
    texts = [result.text for result in results]
    return sacrebleu.corpus_bleu(texts, [references], tokenize="none").score


def test_a_small_model_learns_to_translate(corpus: Path, trained: Path) -> None:
    loaded = load_model(trained / "model")
    random = build_model(loaded.config, loaded.tokenizer, loaded.source_tokenizer).eval()
    assert bleu(loaded._replace(model=random), corpus) < 5
    assert bleu(loaded, corpus) > 60
    measured = [row["bleu"] for row in logged(trained) if row["kind"] == "valid"]
    assert max(measured) > 60


def test_the_model_folder_can_be_used_and_evaluated(
    corpus: Path, trained: Path, tmp_path: Path
) -> None:
    model = trained / "model"
    with gzip.open(tmp_path / "text.gz", "wt") as file:
        file.write((corpus / "valid.xx").read_text())
    translated = run_text_command("translate", tmp_path / "text.gz", "--model", model)
    assert translated.returncode == 0, translated.stderr
    evaluated = run_text_command(
        "evaluate", corpus / "valid.{xx,yy}", "--model", model, "--format", "json", "--expect", "60"
    )
    assert evaluated.returncode == 0, evaluated.stdout + evaluated.stderr
    score = sacrebleu.corpus_bleu(
        translated.stdout.splitlines(),
        [(corpus / "valid.yy").read_text().splitlines()],
        tokenize="none",
    ).score
    assert json.loads(evaluated.stdout)["bleu"]["value"] == pytest.approx(score, abs=0.01)


def test_attention_over_words_is_drawn(trained: Path) -> None:
    pictures = sorted((trained / "attention").iterdir())
    assert [path.name for path in pictures[:2]] == ["step-0000075-0.png", "step-0000075-1.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_killed_and_resumed_training_equals_uninterrupted_training(
    corpus: Path, tmp_path: Path
) -> None:
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    code, messages = run(corpus, uninterrupted, *SUBWORDS)
    assert code == 0, messages
    process = start(corpus, resumed, *SUBWORDS, "data.workers=1")  # prefetching must not matter
    wait_for_step(resumed, 7, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert training_state(resumed)["position"]["step"] < 12
    code, messages = run(corpus, resumed, *SUBWORDS)
    assert code == 0, messages
    assert "resuming" in messages

    assert_same(training_state(uninterrupted), training_state(resumed))
    weights = "model/model.safetensors"
    assert_same(load_file(uninterrupted / weights), load_file(resumed / weights))
    assert logged(uninterrupted) == logged(resumed)


def test_ctrl_c_saves_the_state(corpus: Path, tmp_path: Path) -> None:
    process = start(corpus, tmp_path, "train.steps=100000", "train.log_every=1", "data.workers=2")
    wait_for_step(tmp_path, 3, process)
    os.killpg(process.pid, signal.SIGINT)  # like a terminal, to all processes of the run
    _, messages = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert "run the same command again" in messages and "Traceback" not in messages
    assert training_state(tmp_path)["position"]["step"] >= 3


def test_a_model_translates_into_the_requested_language(corpus: Path, tmp_path: Path) -> None:
    code, messages = run(
        corpus, tmp_path, "data.train=[train.tsv]", "data.valid=[valid.tsv]",
        "text.languages=[yy,zz]", "data.batch_tokens=500", "train.validate_every=1000",
        "train.attention_pictures=0",
    )  # fmt: skip
    assert code == 0, messages
    translator = Translator.load(tmp_path / "model")
    sources = (corpus / "valid.xx").read_text().splitlines()
    translations = {}
    for language in ("yy", "zz"):
        words = set((corpus / f"train.{language}").read_text().split())
        texts = [result.text for result in translator.translate(sources, language=language)]
        assert {word for text in texts for word in text.split()} <= words
        references = (corpus / f"valid.{language}").read_text().splitlines()
        assert sacrebleu.corpus_bleu(texts, [references], tokenize="none").score > 40
        translations[language] = texts
    assert all(a != b for a, b in zip(*translations.values(), strict=True))

    with pytest.raises(ManifestError, match=r"no language is given.*yy, zz"):
        translator.translate(sources)
    done = run_text_command("translate", corpus / "valid.xx", "--model", tmp_path / "model",
                   "--language", "xx", "-o", tmp_path / "out.txt")  # fmt: skip
    assert done.returncode == 1
    assert "xx is not a language of the model" in done.stderr and "yy, zz" in done.stderr
    assert not (tmp_path / "out.txt").exists()


def test_the_bleu_tokenizer_may_change_when_resuming(
    corpus: Path, trained: Path, tmp_path: Path
) -> None:
    resumed = tmp_path / "run"
    shutil.copytree(trained, resumed)
    config = load_config(corpus / "config.yaml", ["text.bleu_tokenizer=char"])
    model = train(config, corpus, resumed, torch.device("cpu"))
    assert model is not None
    assert read_config(model).text.bleu_tokenizer == "char"


@pytest.mark.parametrize("override", ["search.coverage_penalty=0.2", "search.unknown=true"])
def test_search_settings_that_use_attention_require_attention(corpus: Path, override: str) -> None:
    config = load_config(corpus / "config.yaml", [override])
    check_seq2seq(config)
    config = load_config(corpus / "config.yaml", [override, "decoder.attention=none"])
    with pytest.raises(ConfigError, match=f"{override.split('=')[0]}: .*decoder.attention is none"):
        check_seq2seq(config)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("text.languages=[zz]", "train:1: yy is not a language of the model.*text.languages: zz"),
        ("data.max_tokens=2", "data.max_tokens: all 300 training pairs"),
        ("model.encoders=[speech]", r"data.train: it contains no recordings.*\[speech\]"),
        ("text_encoder.shared_embedding=true", "source_text.joint"),
        ("text.tokenizer=sentencepiece", "text.vocabulary_size: 500 is too large"),
        ("text.bleu_tokenizer=zhh", "text.bleu_tokenizer: zhh: expected one of .*13a"),
        ("train.validation_beam_size=1001", "train.validation_beam_size: expected .* to 1,000"),
    ],
)
def test_the_error_names_a_setting_that_does_not_fit_the_data(
    corpus: Path, tmp_path: Path, override: str, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        config = load_config(corpus / "config.yaml", [override])
        train(config, corpus, tmp_path, torch.device("cpu"))
