"""Fixtures: a server shared by the tests that do not change its state, and a transcript."""

from collections.abc import Iterator
from pathlib import Path

import pytest

for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "httpx", "openai"):
    pytest.importorskip(package, reason="the extra asr-s2s[serve] is not installed")

from tests.support.servers import Server, serving  # noqa: E402


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Server with a speech model and a text model."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, "--model", "digits", "--model", "en-de") as running:
        yield running
        assert "Traceback" not in running.stop()


@pytest.fixture(scope="session")
def reference(sample: Path) -> str:
    """Reference transcript of the sample."""
    return sample.with_suffix(".txt").read_text().strip()
