"""Fixtures that train small models on recordings of tones, in this process."""

from pathlib import Path
from typing import Protocol

import pytest
import torch

from asr_s2s.config_file import load_config
from asr_s2s.train.loop import train
from tests.support.tones import CONFIG, write_corpus


class Trainer(Protocol):
    """Trains a model for a few steps and returns its folder."""

    def __call__(self, *overrides: str) -> Path: ...


@pytest.fixture(scope="package")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write recordings of tones and a configuration of a small model."""
    folder = tmp_path_factory.mktemp("tones") / "corpus"
    write_corpus(folder, utterances=20)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def train_tones(corpus: Path, tmp_path: Path) -> Trainer:
    """Train the small model with changed settings."""

    def run(*overrides: str) -> Path:
        few = ["train.steps=6", "train.attention_pictures=0", *overrides]
        config = load_config(corpus / "config.yaml", few)
        folder = train(config, corpus, tmp_path / "run", torch.device("cpu"))
        assert folder is not None
        return folder

    return run
