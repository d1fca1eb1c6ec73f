"""Names that are in no table are refused, with the names that are."""

import shutil
from pathlib import Path

import pytest
import torch

from asr_s2s.config_file import load_config
from asr_s2s.errors import ConfigError, ModelError
from asr_s2s.model.attention import ATTENTION
from asr_s2s.model.decoders import DECODERS
from asr_s2s.model.folder import find_model, load_model
from asr_s2s.model.seq2seq import SPEECH_ENCODERS
from asr_s2s.model.text_encoder import TEXT_ENCODERS
from asr_s2s.nn.recurrent import CELLS
from asr_s2s.text.vocabulary import TOKENIZERS
from asr_s2s.train.loop import train
from tests.support.commands import run_text_command

TABLES = {
    "decoder.attention": ATTENTION,
    "decoder.cell": CELLS,
    "decoder.kind": DECODERS,
    "speech_encoder.kind": SPEECH_ENCODERS,
    "text_encoder.cell": TEXT_ENCODERS,
    "text.tokenizer": TOKENIZERS,
    "source_text.tokenizer": TOKENIZERS.keys() - {"phonemes"},
}


@pytest.mark.parametrize("key", TABLES)
def test_an_unknown_name_is_refused_before_training(corpus: Path, tmp_path: Path, key: str) -> None:
    config = load_config(corpus / "config.yaml", [f"{key}=magic"])
    with pytest.raises(ConfigError) as caught:
        train(config, corpus, tmp_path / "run", torch.device("cpu"))
    assert caught.value.where == key
    assert all(name in caught.value.problem for name in [*TABLES[key], "'magic'"])
    assert not (tmp_path / "run").exists()


def test_a_source_has_no_phonemes(corpus: Path, tmp_path: Path) -> None:
    config = load_config(corpus / "config.yaml", ["source_text.tokenizer=phonemes"])
    with pytest.raises(ConfigError, match=r"source_text\.tokenizer"):
        train(config, corpus, tmp_path / "run", torch.device("cpu"))


def test_an_unknown_name_is_found_by_check(corpus: Path) -> None:
    done = run_text_command(
        "check", "--config", corpus / "config.yaml", "--set", "decoder.kind=magic"
    )
    assert done.returncode == 1
    assert "decoder.kind" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "key", ["decoder.attention", "decoder.cell", "decoder.kind", "speech_encoder.kind"]
)
def test_a_model_with_an_unknown_part_is_refused(tmp_path: Path, key: str) -> None:
    folder = shutil.copytree(find_model("digits"), tmp_path / "model")
    section, name = key.split(".")
    path = folder / "config.yaml"
    head, tail = path.read_text().split(f"\n{section}:\n")
    path.write_text(f"{head}\n{section}:\n  {name}: magic\n{tail.replace(f'  {name}:', '  #')}")
    with pytest.raises(ModelError, match=key.replace(".", r"\.")) as caught:
        load_model(folder)
    assert caught.value.where == str(path)
