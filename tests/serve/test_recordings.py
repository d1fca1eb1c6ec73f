"""The recording routes, with concurrent clients, limits and a token."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
import soundfile
from starlette.requests import Request
from starlette.types import Message

import asr_s2s
from asr_s2s.pipeline import Segment, Transcriber, Transcript
from asr_s2s.serve import requests
from asr_s2s.serve.refusals import RefusedError, to_refused_error
from asr_s2s.serve.speech import Speech
from asr_s2s.writers import to_record
from tests.support.joined import write_joined
from tests.support.servers import Server, serving

ROUTE = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def recognizer() -> Transcriber:
    return asr_s2s.load("digits", "cpu")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> list[Path]:
    """Excerpts of the sample of different lengths and formats, and a long recording."""
    folder = tmp_path_factory.mktemp("recordings")
    samples, rate = soundfile.read(sample, dtype="float32")
    paths = []
    for number in range(12):
        path = folder / f"{number}.{('wav', 'flac', 'ogg')[number % 3]}"
        soundfile.write(path, samples[: len(samples) * (number + 4) // 15], rate)
        paths.append(path)
    write_joined(folder / "long.wav", sample, times=7)
    return [*paths, folder / "long.wav"]


def post(server: Server, path: Path, route: str = ROUTE, **fields: Any) -> httpx.Response:
    with path.open("rb") as file:
        return server.http.post(route, files={"file": file}, data=fields)


def test_concurrent_clients_get_the_same_results_as_alone(
    server: Server, recordings: list[Path], recognizer: Transcriber
) -> None:
    before = server.metric("asr_s2s_batch_items_count", model="digits")
    fields = {
        "response_format": "verbose_json",
        "timestamp_granularities[]": ["word", "segment"],
    }
    with ThreadPoolExecutor(len(recordings)) as pool:
        answers = list(pool.map(lambda path: post(server, path, **fields), recordings))
    for path, answer in zip(recordings, answers, strict=True):
        expected = to_record(recognizer.transcribe(path, words=True))
        found = answer.json()
        assert found["text"] == expected["text"]
        assert [s["words"] for s in found["segments"]] == [s["words"] for s in expected["segments"]]
        for segment, right in zip(found["segments"], expected["segments"], strict=True):
            assert (segment["start"], segment["end"]) == (right["start"], right["end"])
            assert segment["score"] == pytest.approx(right["score"], abs=1e-3)
    batches = server.metric("asr_s2s_batch_items_count", model="digits") - before
    pieces = sum(len(answer.json()["segments"]) for answer in answers)
    assert batches < pieces / 2


def test_options_of_a_request_do_not_affect_others(
    server: Server, sample: Path, reference: str
) -> None:
    fields = [{"prompt": "four nine"}, {}, {"beam_size": "1"}, {"prompt": "four nine"}, {}]
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda given: post(server, sample, **given), fields))
    texts = [answer.json()["text"] for answer in answers]
    assert texts[1] == texts[4] == reference
    assert texts[0] == texts[3] != reference


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("suffix", ["webm", "m4a", "mp3"])
def test_recordings_of_browsers_and_phones_are_supported(
    server: Server, sample: Path, reference: str, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"sample.{suffix}"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", sample, path], check=True)
    assert post(server, path).json()["text"] == reference


def test_a_stream_has_words_in_each_segment_and_subtitles_at_its_end(
    server: Server, recordings: list[Path], recognizer: Transcriber
) -> None:
    answer = post(
        server,
        recordings[-1],
        stream="true",
        response_format="verbose_json",
        **{"timestamp_granularities[]": ["word", "segment"], "include[]": ["srt", "vtt"]},
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    expected = recognizer.transcribe(recordings[-1], words=True)
    *deltas, done = events
    assert [event["segment"]["words"] for event in deltas] == [
        segment["words"] for segment in to_record(expected)["segments"]
    ]
    assert [event["segment"]["id"] for event in deltas] == list(range(len(deltas)))
    assert done["srt"].startswith("1\n00:00:")
    assert done["vtt"].startswith("WEBVTT")


def test_attention_is_returned_with_the_spectrogram(
    server: Server, recordings: list[Path], recognizer: Transcriber
) -> None:
    segment = recognizer.transcribe(recordings[-1]).segments[1]
    answer = post(
        server,
        recordings[-1],
        "/v1/attention",
        text=segment.text,
        start=segment.start,
        duration=segment.end - segment.start,
    ).json()
    assert "".join(answer["output"]) == f"{segment.text}</s>"
    assert answer["weights"]["rows"] == len(answer["output"])
    assert answer["sound"]["seconds"] == pytest.approx(segment.end - segment.start, abs=1e-3)
    assert answer["sound"]["log_mel"]["columns"] == 80
    end = answer["sound"]["first"] + answer["sound"]["step"] * answer["weights"]["columns"]
    assert end >= answer["sound"]["seconds"]


def test_a_damaged_recording_is_transcribed_up_to_the_damage(
    server: Server, recordings: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(recordings[-1].read_bytes()[: 22_050 * 2 * 40])
    found = post(server, path).json()
    assert found["text"]
    assert "cut.wav: is cut short" in found["warning"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that requires a token and serves one request at a time."""
    options = ("--max-requests", "1", "--max-upload", "8", "--token", "secret")
    with serving(tmp_path_factory.mktemp("small"), *options) as running:
        running.http.headers["Authorization"] = "Bearer secret"
        yield running


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer secre", "Bearer secret2", "secret", "Bearer s\xe9cret"]
)
def test_a_wrong_token_is_refused(small: Server, header: str) -> None:
    for path in ("/v1/models", "/metrics"):
        answer = small.http.get(path, headers=[(b"Authorization", header.encode("latin-1"))])
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"


def test_the_page_and_health_need_no_token(small: Server) -> None:
    for path in ("/", "/docs", "/healthz"):
        assert small.http.get(path).status_code == 200
    assert small.http.get("/v1/models").status_code == 200


def test_a_request_beyond_the_limit_gets_429_and_retry_after(
    small: Server, sample: Path, tmp_path: Path
) -> None:
    write_joined(tmp_path / "long.wav", sample, times=25)  # several batches
    with (
        (tmp_path / "long.wav").open("rb") as long,
        small.http.stream("POST", ROUTE, files={"file": long}, data={"stream": "true"}) as first,
    ):
        assert first.status_code == 200  # and further segments follow below
        with sample.open("rb") as file:
            second = small.http.post(ROUTE, files={"file": file})
        assert second.status_code == 429
        assert 1 <= int(second.headers["retry-after"]) <= 60
        assert second.json()["error"]["type"] == "rate_limit_error"
        first.read()


def test_an_upload_takes_no_place_until_it_is_complete(
    small: Server, sample: Path, reference: str
) -> None:
    def body() -> Iterator[bytes]:
        yield b"--x\r\n"  # the rest of this form follows below
        with sample.open("rb") as file:
            second = small.http.post(ROUTE, files={"file": file})
        assert second.json()["text"] == reference
        yield b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        yield sample.read_bytes()
        yield b"\r\n--x--\r\n"

    first = small.http.post(
        ROUTE,
        content=body(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert first.json()["text"] == reference


def test_reading_stops_at_the_time_limit(recognizer: Transcriber, recordings: list[Path]) -> None:
    speech = Speech(recognizer, recordings=1, batch_seconds=30.0)

    async def transcribe(limit: float) -> list[Segment | Transcript]:
        file = recordings[-1].open("rb")
        recording = speech.begin(file, "long.wav", speech.options(), limit)
        return [result async for result in recording.results()]

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(transcribe(0.001))
    assert (to_refused_error(caught.value).status, to_refused_error(caught.value).code) == (
        400,
        "time_limit",
    )
    # The only reader is free again, and pieces of the first request do not block the second.
    *segments, transcript = asyncio.run(transcribe(600.0))
    assert isinstance(transcript, Transcript)
    assert list(transcript.segments) == segments
    speech.close()


def test_a_slow_upload_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "GRACE_SECONDS", 0.2)

    form_start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    parts = chain([form_start], repeat(b"-"))

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": next(parts), "more_body": True}

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    request = Request({"type": "http", "headers": headers}, receive)
    with pytest.raises(RefusedError) as caught:
        asyncio.run(requests.read_upload(request, 1024, Event()))
    assert (caught.value.status, caught.value.code) == (408, "too_slow")


@pytest.mark.parametrize("declared", [True, False])
def test_an_upload_over_the_size_limit_is_refused(small: Server, declared: bool) -> None:
    data = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    data += bytes(9 * 1024**2)
    content = data if declared else iter([data])
    answer = small.http.post(
        ROUTE,
        content=content,
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
