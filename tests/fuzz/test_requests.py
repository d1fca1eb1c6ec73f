"""Random hostile requests, with fixed seeds."""

import io
from pathlib import Path

import pytest
import soundfile

for package in ("fastapi", "python_multipart", "prometheus_client"):
    pytest.importorskip(package, reason="the extra asr-s2s[serve] is not installed")

from asr_s2s.serve.app import make_app  # noqa: E402
from tests.support.request_fuzz import fuzz, make_service  # noqa: E402


def test_no_hostile_request_fails_the_server(sample: Path) -> None:
    samples, rate = soundfile.read(sample, dtype="float32")
    short = io.BytesIO()
    soundfile.write(short, samples[: rate // 3], rate, format="WAV")
    service = make_service()
    counts, problems = fuzz(make_app(service), short.getvalue(), count=300, seed=7)
    active = service.metrics.registry.get_sample_value("asr_s2s_active_requests")
    service.close()
    assert problems == []
    assert active == 0
    assert any(kind.endswith(" 200") for kind in counts)
    assert any(kind.startswith("form_request 400") for kind in counts)
