"""Robustness against hostile requests, and graceful shutdown."""

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import httpx
import pytest
import soundfile

from tests.support.hostile import attack
from tests.support.limits import TIMEOUT
from tests.support.servers import Server, serving

ROUTE = "/v1/audio/transcriptions"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    """A new server with a small upload limit."""
    with serving(tmp_path, "--max-upload", "1") as running:
        yield running


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> bytes:
    """The first second of the sample."""
    path = tmp_path_factory.mktemp("short") / "short.wav"
    samples, rate = soundfile.read(sample, dtype="float32")
    soundfile.write(path, samples[:rate], rate)
    return path.read_bytes()


def test_hostile_requests_leak_no_files_or_requests(
    fresh: Server, short: bytes, sample: Path, reference: str
) -> None:
    files = fresh.metric("process_open_fds")
    counts, problems = attack(fresh.url, short, count=150, seed=5, clients=6, largest=1024**2)
    assert not problems
    assert {kind.split()[0] for kind in counts} > {"slow_sender", "broken_multipart"}
    with sample.open("rb") as file:
        answer = fresh.http.post(ROUTE, files={"file": file})
    assert answer.json()["text"] == reference
    assert fresh.metric("asr_s2s_active_requests") == 0
    assert fresh.metric("asr_s2s_waiting_items") == 0
    assert fresh.metric("process_open_fds") <= files + 2
    assert list(fresh.uploads.iterdir()) == []
    assert "Traceback" not in fresh.stop()


def test_accepted_requests_are_answered_after_sigterm(
    fresh: Server, sample: Path, reference: str
) -> None:
    sent = Barrier(9)

    def client(_: int) -> httpx.Response:
        with sample.open("rb") as file, httpx.Client(timeout=TIMEOUT) as session:
            session.get(f"{fresh.url}/healthz")  # opens the connection
            sent.wait()
            return session.post(f"{fresh.url}{ROUTE}", files={"file": file})

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client, number) for number in range(8)]
        sent.wait()
        while fresh.metric("asr_s2s_active_requests") < 8:
            assert not all(answer.done() for answer in answers)
        fresh.process.send_signal(signal.SIGTERM)
        texts = [answer.result().json()["text"] for answer in answers]
    assert texts == [reference] * 8
    assert fresh.process.wait(250) == 0


def test_a_paused_upload_does_not_delay_shutdown_by_ctrl_c(fresh: Server) -> None:
    stopped = Event()

    def body() -> Iterator[bytes]:
        yield b"--x\r\n"
        fresh.process.send_signal(signal.SIGINT)
        stopped.wait(250)

    def send() -> httpx.Response:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        return fresh.http.post(ROUTE, content=body(), headers=headers)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send)
        assert fresh.process.wait(250) == 0
        stopped.set()
        assert answer.exception() is not None or answer.result().status_code == 503


def test_a_port_in_use_gives_a_one_line_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(AssertionError, match=r"asr-s2s: --host .* cannot listen there"):
            Server(tmp_path, "--port", port)
