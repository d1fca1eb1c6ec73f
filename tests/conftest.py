"""Shared fixtures: corpora, if they are available, and a recording that ships with the project."""

from pathlib import Path

import pytest
import torch

from asr_s2s.metrics.error_rate import ErrorRates, Utterance, score

ROOT = Path(__file__).parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


SLOW = (
    "tests/train/", "tests/serve/", "tests/recipes/", "tests/benchmarks/", "tests/test_docs.py",
    "tests/test_batch_invariance.py", "tests/cli/test_transcribe.py", "tests/test_translator.py",
    "tests/inspect/test_attention_pictures.py", "tests/model/test_ctc.py",
    "tests/extension/test_task", "tests/cli/test_evaluate.py", "tests/cli/test_ngram_command.py",
    "tests/cli/test_extras.py", "tests/test_generation.py", "tests/speech_translation/",
    "tests/cli/test_odd_machines.py", "tests/test_sources.py",
    "tests/fuzz/test_requests.py", "tests/cli/test_score.py", "tests/cli/test_pipes.py",
    "tests/cli/test_evaluate_parts.py", "tests/cli/test_listen.py", "tests/test_live.py",
)  # fmt: skip
"""Paths of tests that train, serve, or run many processes: `./run test --quick` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the corpora; tests that require it are skipped if it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the corpora are missing ({SHARED_DATA})")
    return SHARED_DATA


@pytest.fixture(scope="session")
def sample() -> Path:
    """Path of the recording that ships with the project."""
    return ROOT / "docs" / "samples" / "digits.wav"


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Seed torch before every test."""
    torch.manual_seed(0)


@pytest.fixture
def rates() -> ErrorRates:
    """Error rates of three short utterances."""
    return score(
        [
            Utterance("a", "one two three four", "one too three four five"),
            Utterance("b", "five six", "five six"),
            Utterance("c", "seven eight nine", "nine"),
        ]
    )
