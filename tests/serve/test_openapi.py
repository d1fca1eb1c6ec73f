"""The OpenAPI description: complete, and true for generated requests."""

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from asr_s2s.serve.app import make_app  # noqa: E402
from tests.support.openapi_check import check_api  # noqa: E402
from tests.support.request_fuzz import make_service  # noqa: E402
from tests.support.servers import Server  # noqa: E402


def test_responses_to_generated_requests_are_as_described() -> None:
    service = make_service()
    counts = check_api(make_app(service), examples=15, seed=3)
    service.close()
    assert {key.split()[1] for key in counts} == set(make_app(service).openapi()["paths"])
    assert any(key.startswith("POST /v1/translate 200") for key in counts)


def test_refusals_are_documented(server: Server) -> None:
    paths = server.http.get("/openapi.json").json()["paths"]
    for path in ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/attention"):
        statuses = set(paths[path]["post"]["responses"])
        assert statuses >= {"200", "400", "401", "403", "404", "408", "413", "429", "503", "507"}
    assert "422" not in {
        s for methods in paths.values() for m in methods.values() for s in m["responses"]
    }
