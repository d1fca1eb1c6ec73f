"""One server for the tests that leave it as it was, and recordings to send it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "httpx", "openai"):
    pytest.importorskip(package, reason="the extra asr-s2s[serve] is not installed")

sys.path.insert(0, str(Path(__file__).parent))
from servers import Server, serving  # noqa: E402


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, "--model", "digits", "--model", "en-de") as running:
        yield running
        assert "Traceback" not in running.stop()


@pytest.fixture(scope="session")
def said(sample: Path) -> str:
    """What is said in the sample."""
    return sample.with_suffix(".txt").read_text().strip()
