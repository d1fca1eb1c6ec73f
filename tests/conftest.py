"""Shared fixtures: the real data where it is, and small real recordings everywhere."""

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the corpora; tests that need it are skipped on machines without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the corpora are not here ({SHARED_DATA})")
    return SHARED_DATA


@pytest.fixture(scope="session")
def sample() -> Path:
    """The recording that ships with the project."""
    return ROOT / "docs" / "samples" / "digits.wav"


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
