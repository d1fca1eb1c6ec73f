"""Live transcription over a WebSocket, in process and by a real server."""

import base64
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from openai import OpenAI
from starlette.testclient import WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

import asr_s2s
from asr_s2s.audio.decode import read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.serve import realtime
from asr_s2s.serve.admission import Admission
from asr_s2s.serve.app import make_app
from asr_s2s.serve.service import Limits, Service
from tests.support.servers import Server

ITEM = "conversation.item.input_audio_transcription"


@pytest.fixture
def service() -> Service:
    return Service({"digits": asr_s2s.load("digits", "cpu")}, Limits(sessions=2))


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(make_app(service)) as client:
        yield client


@pytest.fixture
def audio(sample: Path) -> list[str]:
    """Blocks of base64 PCM of 0.2 s at 16 kHz."""
    samples = (read_audio(sample) * 32767).astype("<i2")
    size = SAMPLE_RATE // 5
    blocks = [samples[i : i + size].tobytes() for i in range(0, len(samples), size)]
    return [base64.b64encode(block).decode() for block in blocks]


def update(**audio_input: Any) -> dict[str, Any]:
    chosen = {"format": {"type": "audio/pcm", "rate": 16000}, **audio_input}
    session = {"type": "transcription", "audio": {"input": chosen}}
    return {"type": "session.update", "session": session}


def append(session: WebSocketTestSession, audio: list[str]) -> None:
    for block in audio:
        session.send_json({"type": "input_audio_buffer.append", "audio": block})


def until(session: WebSocketTestSession, kind: str) -> list[dict[str, Any]]:
    """Receive events up to the first of a type."""
    events = [session.receive_json()]
    while events[-1]["type"] != kind:
        events.append(session.receive_json())
    return events


def test_committed_words_are_deltas_of_the_transcript(
    client: TestClient, audio: list[str], reference: str
) -> None:
    with client.websocket_connect("/v1/realtime?intent=transcription") as session:
        created = session.receive_json()
        assert created["type"] == "session.created"
        assert created["session"]["audio"]["input"]["transcription"]["model"] == "digits"
        session.send_json(update(turn_detection=None))
        updated = session.receive_json()
        assert updated["type"] == "session.updated"
        assert updated["session"]["audio"]["input"]["format"]["rate"] == 16000
        for _ in range(2):
            append(session, audio)
            session.send_json({"type": "input_audio_buffer.commit"})
            events = until(session, f"{ITEM}.completed")
            deltas = [event["delta"] for event in events if event["type"] == f"{ITEM}.delta"]
            assert "".join(deltas) == events[-1]["transcript"] == reference
            assert events[-1]["usage"]["seconds"] == pytest.approx(4.48, abs=0.1)
            items = {event["item_id"] for event in events}
            assert len(items) == 1


def test_silence_completes_an_item(client: TestClient, audio: list[str], reference: str) -> None:
    silence = base64.b64encode(np.zeros(SAMPLE_RATE // 5, "<i2").tobytes()).decode()
    with client.websocket_connect("/v1/realtime") as session:
        session.send_json(update(turn_detection={"type": "server_vad"}))
        append(session, [*audio, *[silence] * 10])
        words = until(session, f"{ITEM}.completed")[-1]["transcript"].split()
        while len(words) < len(reference.split()):
            words += until(session, f"{ITEM}.completed")[-1]["transcript"].split()
        assert words == reference.split()


def test_settings_of_the_first_version_of_the_api(client: TestClient, audio: list[str]) -> None:
    chosen = {
        "input_audio_format": "pcm16",
        "input_audio_transcription": {"model": "whisper-1", "prompt": "one, two"},
        "turn_detection": None,
    }
    with client.websocket_connect("/v1/realtime", subprotocols=["realtime"]) as session:
        assert session.accepted_subprotocol == "realtime"
        session.receive_json()
        session.send_json({"type": "transcription_session.update", "session": chosen})
        updated = session.receive_json()
        assert updated["type"] == "transcription_session.updated"
        assert updated["session"]["audio"]["input"]["transcription"]["prompt"] == "one, two"


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("[]", "invalid_value", "type"),
        ('{"type": "response.create"}', "invalid_value", "type"),
        ('{"type": "input_audio_buffer.append", "audio": "?"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": 3}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", None),
        ('{"type": "session.update"}', "invalid_value", "session"),
        (json.dumps(update(format={"rate": 7})), "invalid_value", "audio"),
        (json.dumps(update(transcription={"model": "other"})), "model_not_found", "model"),
        ("x" * 1_100_000, "too_large", None),
    ],
)
def test_a_mistake_is_reported_and_the_session_goes_on(
    client: TestClient, message: str, code: str, param: str | None
) -> None:
    with client.websocket_connect("/v1/realtime") as session:
        session.receive_json()
        session.send_text(message)
        event = session.receive_json()
        assert (event["type"], event["error"]["code"]) == ("error", code)
        assert event["error"]["param"] == param
        session.send_json({"type": "input_audio_buffer.clear"})
        assert session.receive_json()["type"] == "input_audio_buffer.cleared"


def closed_with(session: WebSocketTestSession) -> tuple[str, int]:
    """Code of the error event that ends a session, and its close code."""
    event = until(session, "error")[-1]
    with pytest.raises(WebSocketDisconnect) as closed:
        session.receive_json()
    return event["error"]["code"], closed.value.code


def test_sessions_have_a_limit(client: TestClient) -> None:
    with (
        client.websocket_connect("/v1/realtime") as first,
        client.websocket_connect("/v1/realtime") as second,
    ):
        assert first.receive_json()["type"] == second.receive_json()["type"] == "session.created"
        with client.websocket_connect("/v1/realtime") as third:
            assert closed_with(third) == ("busy", 1013)


def test_an_unknown_model_and_an_idle_session_are_closed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client.websocket_connect("/v1/realtime?model=other") as session:
        assert closed_with(session) == ("model_not_found", 1008)
    monkeypatch.setattr(realtime, "IDLE_SECONDS", 0.05)
    with client.websocket_connect("/v1/realtime") as session:
        assert closed_with(session) == ("idle", 1008)


def test_a_failure_is_an_event_without_details(
    client: TestClient, service: Service, audio: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(service.speech["digits"].batcher, "work", fail)
    with (
        pytest.raises(RuntimeError, match="a secret"),  # for the log of the server
        client.websocket_connect("/v1/realtime") as session,
    ):
        append(session, audio)
        event = until(session, "error")[-1]
        assert event["error"]["code"] == "internal_error"
        assert "secret" not in str(event)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_other_hosts_and_origins_are_refused(service: Service, headers: dict[str, str]) -> None:
    admission = Admission(hosts=("testserver",))
    with TestClient(make_app(service, admission)) as client, pytest.raises(WebSocketDisconnect):
        client.websocket_connect("/v1/realtime", headers=headers).__enter__()


def test_a_token_is_required_in_a_header_or_a_subprotocol(service: Service) -> None:
    with TestClient(make_app(service, Admission(token="a b/c"))) as client:
        for protocols in (None, ["realtime", "openai-insecure-api-key.wrong"]):
            with pytest.raises(WebSocketDisconnect):
                client.websocket_connect("/v1/realtime", subprotocols=protocols).__enter__()
        headers = {"Authorization": "Bearer a b/c"}
        with client.websocket_connect("/v1/realtime", headers=headers) as session:
            assert session.receive_json()["type"] == "session.created"
        protocols = ["realtime", "openai-insecure-api-key.a%20b%2Fc"]
        with client.websocket_connect("/v1/realtime", subprotocols=protocols) as session:
            assert session.receive_json()["type"] == "session.created"


def test_a_plain_request_is_told_to_use_a_websocket(client: TestClient) -> None:
    answer = client.get("/v1/realtime")
    assert answer.status_code == 426
    assert answer.json()["error"]["code"] == "no_websocket"


def test_the_client_of_openai(server: Server, audio: list[str], reference: str) -> None:
    if importlib.util.find_spec("websockets") is None:
        pytest.skip("websockets is not installed (extra asr-s2s[serve])")
    address = server.url.replace("http", "ws") + "/v1"
    client = OpenAI(base_url=f"{server.url}/v1", websocket_base_url=address, api_key="any")
    with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        connection.send(update(turn_detection=None))
        for block in audio:
            connection.input_audio_buffer.append(audio=block)
        connection.input_audio_buffer.commit()
        deltas = ""
        for event in connection:
            if event.type == f"{ITEM}.delta":
                deltas += event.delta
            if event.type == f"{ITEM}.completed":
                break
        assert event.transcript == deltas == reference
    connection.close()
    assert server.metric("asr_s2s_audio_seconds_total") > 4
