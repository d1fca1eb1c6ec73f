"""Who may use a server: tokens, hosts and origins; request ids and the access log."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from asr_s2s.errors import UserError
from asr_s2s.serve.admission import Admission, read_token
from tests.support.servers import Server, serving

ROUTE = "/v1/audio/transcriptions"
APP = "https://app.example"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("token", ["", " ", "a\nb"])
def test_a_server_with_an_empty_or_invalid_token_does_not_start(host: str, token: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "asr_s2s", "serve", "--port", "0", "--host", host],
        env=os.environ | {"ASR_S2S_TOKEN": token},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"TOKEN" in done.stderr.upper()
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"one\ntwo\n"])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_token(path)
    assert caught.value.where == f"--token-file {path}"


@pytest.mark.parametrize(
    ("hosts", "origins"),
    [(["http://a.example"], []), (["a.example:80"], []), (["a b"], [])]
    + [([], [origin]) for origin in ("a.example", "https://a.example/", "https://", "")],
)
def test_hosts_and_origins_that_match_nothing_are_refused(
    hosts: list[str], origins: list[str]
) -> None:
    with pytest.raises(UserError, match="--allow"):
        Admission(hosts=hosts, origins=origins)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on loopback with a token from a file, and one other host and origin."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text("secret\n")
    options = ("--token-file", str(folder / "token"), "--allowed-host", "proxy.example")
    with serving(folder, *options, "--allow-origin", APP, "--model", "digits") as running:
        running.http.headers["Authorization"] = "Bearer secret"
        yield running


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:1234", 200), ("127.0.0.1:80", 200), ("[::1]:8000", 200),
        ("127.9.9.9", 200), ("proxy.example", 200), ("evil.example", 403),
        ("evil.example:8000", 403),
        ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403), ("192.0.2.1", 403),
        ("", 403), ("[", 403), ("proxy.example.evil.example", 403),
    ],
)  # fmt: skip
def test_a_host_that_is_not_this_machine_is_refused(
    guarded: Server, host: str, status: int
) -> None:
    for path in ("/v1/models", "/", "/healthz"):
        answer = guarded.http.get(path, headers={"Host": host})
        assert answer.status_code == status
        if status == 403:
            assert answer.json()["error"]["code"] == "wrong_host"


def test_pages_of_other_sites_are_refused(guarded: Server, sample: Path) -> None:
    for origin in ("http://evil.example", "null", "http://localhost:1", "https://app.example:1"):
        with sample.open("rb") as file:
            answer = guarded.http.post(ROUTE, files={"file": file}, headers={"Origin": origin})
        assert answer.json()["error"]["code"] == "wrong_origin"
        assert answer.status_code == 403
    for origin in (guarded.url, APP):
        assert guarded.http.get("/v1/models", headers={"Origin": origin}).status_code == 200


def test_a_page_of_an_allowed_origin_can_use_the_server(guarded: Server) -> None:
    asked = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    with httpx.Client(base_url=guarded.url) as browser:
        preflight = browser.options(ROUTE, headers=asked)
        refused = browser.get("/v1/models", headers={"Origin": APP})
        other = browser.options(ROUTE, headers=asked | {"Origin": "http://evil.example"})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == APP
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert refused.status_code == 401  # and the page can read why
    assert refused.headers["access-control-allow-origin"] == APP
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers


def test_every_request_has_an_id_and_a_line_in_the_log(guarded: Server, sample: Path) -> None:
    with sample.open("rb") as file:
        answer = guarded.http.post(
            f"{ROUTE}?key=hidden", files={"file": file}, headers={"X-Request-Id": "call-7"}
        )
    assert answer.headers["x-request-id"] == "call-7"
    made = guarded.http.get("/v1/models", headers={"X-Request-Id": "a b"}).headers["x-request-id"]
    assert len(made) == 32
    guarded.http.head("/v1/models", headers={"X-Request-Id": "call-8"})
    while "call-8" not in (log := guarded.log.read_text()):  # written after the response
        time.sleep(0.02)
    lines = {
        line.partition("id=")[2].partition(" ")[0]: dict(
            field.split("=", 1) for field in line.split(" ")[1:]
        )
        for line in log.splitlines()
    }
    line = lines["call-7"]
    assert (line["client"], line["method"], line["path"]) == ("127.0.0.1", "POST", ROUTE)
    assert line["status"] == "200"
    assert float(line["seconds"]) > 0
    assert float(line["audio_seconds"]) > 4
    assert lines[made]["path"] == "/v1/models"
    assert (lines["call-8"]["method"], lines["call-8"]["status"]) == ("HEAD", "200")
    assert "hidden" not in log


def test_head_is_get_without_a_body(guarded: Server) -> None:
    for path in ("/v1/models", "/v1/models/digits", "/healthz", "/", "/docs", "/page/main.js"):
        got, head = guarded.http.get(path), guarded.http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]
