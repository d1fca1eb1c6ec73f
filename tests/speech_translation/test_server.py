"""Speech translation by the server, with OpenAI's client."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "httpx", "openai"):
    pytest.importorskip(package, reason="the extra asr-s2s[serve] is not installed")

import openai  # noqa: E402

from asr_s2s.pipeline import Transcriber  # noqa: E402
from tests.support.servers import Server, serving  # noqa: E402


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, "--model", str(model)) as running:
        yield running
        assert "Traceback" not in running.stop()


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def recording(corpus: Path) -> Path:
    return corpus / json.loads((corpus / "valid.jsonl").read_text().splitlines()[0])["audio"]


def test_speech_is_translated_into_a_requested_language(
    client: openai.OpenAI, recording: Path, model: Path
) -> None:
    expected = Transcriber.load(model, "cpu").transcribe(recording, language="yy").text
    answer = client.audio.translations.create(
        file=recording,
        model="whisper-1",
        response_format="verbose_json",
        extra_body={"language": "yy"},
    )
    assert answer.text == expected
    assert answer.language == "yy"
    assert answer.task == "translate"  # type: ignore[attr-defined]
    same = client.audio.transcriptions.create(
        file=recording, model="whisper-1", language="yy", response_format="verbose_json"
    )
    assert same.text == expected
    assert same.task == "translate"  # type: ignore[attr-defined]
    transcript = client.audio.transcriptions.create(
        file=recording, model="whisper-1", response_format="verbose_json"
    )
    assert (transcript.language, transcript.task) == ("xx", "transcribe")  # type: ignore[attr-defined]


@pytest.mark.parametrize("fields", [{}, {"language": "xx"}, {"language": "zz"}], ids=str)
def test_a_language_that_the_model_cannot_translate_into_is_refused(
    client: openai.OpenAI, recording: Path, fields: dict[str, str]
) -> None:
    with pytest.raises(openai.BadRequestError, match="yy") as refused:
        client.audio.translations.create(file=recording, model="whisper-1", extra_body=fields)
    assert refused.value.param == "language"
