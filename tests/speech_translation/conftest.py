"""A model of speech translation, trained on recordings of tones by the command."""

from pathlib import Path

import pytest

from tests.support.runs import run
from tests.support.spoken import LEARNING, write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech-translation")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="session")
def model(corpus: Path) -> Path:
    """Model folder; recordings are spoken in xx, outputs are in xx or yy."""
    code, messages = run(corpus, corpus / "run", *LEARNING)
    assert code == 0, messages
    return corpus / "run" / "model"
