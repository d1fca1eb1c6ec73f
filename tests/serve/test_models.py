"""Names and aliases of models, languages of answers, and repeated form fields."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from asr_s2s.errors import UserError
from asr_s2s.serve.service import check_aliases
from tests.support.servers import Server, serving

ROUTE = "/v1/audio/transcriptions"


def post(server: Server, path: Path, fields: dict[str, Any]) -> httpx.Response:
    with path.open("rb") as file:
        return server.http.post(ROUTE, files={"file": file}, data=fields)


def test_a_model_is_found_by_its_name_or_an_alias(server: Server) -> None:
    for name, found in (("digits", "digits"), ("en-de", "en-de"), ("whisper-1", "digits")):
        assert server.http.get(f"/v1/models/{name}").json()["id"] == found
    answer = server.http.get("/v1/models/other")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_answers_name_the_model_that_was_used(server: Server, sample: Path) -> None:
    for name in ("", "digits", "whisper-1", "gpt-4o-transcribe"):
        assert post(server, sample, {"model": name}).json()["model"] == "digits"
    assert post(server, sample, {"response_format": "srt"}).headers["x-model"] == "digits"
    answer = server.http.post("/v1/translate", json={"text": "Two dogs.", "model": "whisper-1"})
    assert answer.json()["model"] == "en-de"


def test_unknown_and_unfit_models_are_refused(server: Server, sample: Path) -> None:
    for name, status, code in (("other", 404, "model_not_found"), ("en-de", 400, "wrong_model")):
        answer = post(server, sample, {"model": name})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.json()["error"]["param"] == "model"


@pytest.fixture(scope="module")
def aliased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ("--model", "digits", "--model", "en-de", "--no-access-log")
    aliases = ("--alias", "whisper-1=en-de", "--alias", "numbers=digits")
    with serving(tmp_path_factory.mktemp("aliased"), *options, *aliases) as running:
        yield running


def test_aliases_replace_those_of_openai(aliased: Server, sample: Path) -> None:
    assert post(aliased, sample, {"model": "numbers"}).json()["model"] == "digits"
    assert post(aliased, sample, {"model": "whisper-1"}).status_code == 400
    listed = {row["id"]: row["aliases"] for row in aliased.http.get("/v1/models").json()["data"]}
    assert listed["digits"] == ["numbers", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"]
    assert listed["en-de"] == ["whisper-1"]
    assert aliased.log.read_text() == ""


@pytest.mark.parametrize("alias", [("digits", "en-de"), ("other", "nowhere")])
def test_an_alias_that_hides_a_model_or_selects_none_is_refused(alias: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="--alias"):
        check_aliases(dict([alias]), {"digits": 0, "en-de": 0})


def test_the_language_of_an_answer_is_that_of_its_text(server: Server, sample: Path) -> None:
    fields = {"response_format": "verbose_json", "language": "de"}  # the model writes English only
    assert post(server, sample, fields).json()["language"] == "en"


def test_repeated_fields_are_all_read(server: Server, sample: Path, reference: str) -> None:
    fields = {
        "response_format": "verbose_json",
        "timestamp_granularities": "word",
        "timestamp_granularities[]": "segment",
        "include": ["srt", "srt"],
        "include[]": "vtt",
        "prompt": ["Kubernetes", "seven"],
        "prompt[]": "ÅÅÅ",
    }
    answer = post(server, sample, fields).json()
    assert answer["text"] == reference
    assert answer["words"] and answer["segments"] and answer["srt"] and answer["vtt"]
    assert "'Kubernetes', 'ÅÅÅ'" in answer["warning"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ["digits", "digits"]}, "model"),
        ({"response_format": "text", "response_format[]": "srt"}, "response_format"),
        ({"beam_size[]": ["1", "2"]}, "beam_size"),
        ({"file": "text"}, "file"),
        ({"timestamp_granularities": ["word", "x"]}, "timestamp_granularities"),
    ],
)
def test_a_field_that_cannot_be_repeated_is_named(
    server: Server, sample: Path, fields: dict[str, Any], param: str
) -> None:
    answer = post(server, sample, fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_several_files_are_refused(server: Server, sample: Path, reference: str) -> None:
    data = sample.read_bytes()
    one = [("file[]", ("a.wav", data))]
    assert server.http.post(ROUTE, files=one).json()["text"] == reference
    assert server.http.post(ROUTE, files=[*one, ("file", ("b.wav", data))]).status_code == 400
    assert server.http.post(ROUTE, files=[*one, *one]).status_code == 400


def test_repeated_json_keys_are_refused(server: Server) -> None:
    answer = server.http.post("/v1/translate", content=b'{"text": "a", "text": "b"}')
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
