"""Shared fixtures: corpora, if they are available, and a recording that ships with the project."""

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


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
