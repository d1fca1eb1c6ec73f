"""Sources longer than trained for: what use, training and `asr-s2s check` do with them."""

from pathlib import Path

import pytest
import torch

from asr_s2s.config_file import load_config
from asr_s2s.errors import ConfigError
from asr_s2s.model.folder import read_config
from asr_s2s.train.loop import train
from asr_s2s.train.settings import check_long_sources
from asr_s2s.translator import Translator
from tests.support.ciphers import CONFIG, write_corpus
from tests.support.commands import run_text_command
from tests.support.text_models import write_text_model

LINE = "xyzzxy" * 5


def translator(folder: Path, treatment: str) -> Translator:
    source = {"tokenizer": "characters", "long_sources": treatment}
    model = write_text_model(folder, source_text=source, search={"piece_tokens": 11})
    return Translator.load(model, "cpu")


def test_a_model_cuts_truncates_or_reads_the_whole_line(tmp_path: Path) -> None:
    cut, truncated, whole = (
        translator(tmp_path / name, name) for name in ("cut", "truncate", "whole")
    )
    pieces = cut.translate(LINE)
    assert "translated in" in str(pieces.warning)

    beginning = truncated.translate(LINE)
    assert beginning.text == truncated.translate(LINE[:10]).text
    assert "first 11 tokens" in str(beginning.warning)
    assert truncated.translate(LINE[:10]).warning is None
    alone, in_batch = truncated.translate(LINE), truncated.translate(["x", LINE, LINE[:9]])[1]
    assert (alone.text, alone.score) == (in_batch.text, pytest.approx(in_batch.score, abs=1e-5))
    first, second = truncated.score([LINE, LINE[:10]], ["a b", "a b"])
    assert first == second

    entire = whole.translate(LINE)
    assert entire.warning is None
    assert entire.score != pytest.approx(beginning.score, abs=1e-6)
    assert whole.dataset.source_tokens(LINE) == cut.dataset.source_tokens(LINE)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_corpus(tmp_path, sentences=40)
    with (tmp_path / "train.xx").open("a") as sources, (tmp_path / "train.yy").open("a") as targets:
        sources.write("bado kime " * 40 + "\n")
        targets.write("vo wun\n")
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


SMALL = ["train.steps=2", "train.attention_pictures=0", "data.max_tokens=30"]


def test_training_and_check_agree_with_use(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truncating = ["source_text.long_sources=truncate", "search.piece_tokens=12"]
    for overrides, skipped in ((truncating, False), ([], True)):
        run = corpus / f"run{skipped}"
        config = load_config(corpus / "config.yaml", [*SMALL, *overrides])
        model = train(config, corpus, run, torch.device("cpu"))
        assert model is not None
        assert ("skipped 1 pairs" in capsys.readouterr().err) == skipped
        settings = [f"--set={override}" for override in (*SMALL, *overrides)]
        settings += ["--model", str(model), "--format", "json"]
        done = run_text_command("check", "--config", corpus / "config.yaml", *settings)
        assert ("too long" in done.stdout) == skipped, done.stderr
    assert read_config(corpus / "runFalse" / "model").source_text.long_sources == "truncate"


def test_truncating_to_more_than_training_accepts_is_refused(corpus: Path) -> None:
    overrides = ["source_text.long_sources=truncate", "data.max_tokens=100"]
    with pytest.raises(ConfigError) as caught:
        check_long_sources(load_config(corpus / "config.yaml", overrides))
    assert caught.value.where == "search.piece_tokens"
