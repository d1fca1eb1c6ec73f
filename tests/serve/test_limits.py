"""Nobody is starved: idle and slow clients, full disks, and shutdown under load."""

import resource
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from asr_s2s.serve.connections import HEADER_SECONDS
from asr_s2s.serve.places import Places, client_of
from tests.support.joined import write_joined
from tests.support.limits import TIMEOUT
from tests.support.servers import Server, serving

ROUTE = "/v1/audio/transcriptions"
HALF_HEADER = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
FORM_HEADER = HALF_HEADER + (
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n--x\r\n"
)


@pytest.fixture
def few_files(tmp_path: Path) -> Iterator[Server]:
    """A server that can open 64 files."""
    with serving(tmp_path, "--model", "digits", limits={resource.RLIMIT_NOFILE: 64}) as running:
        yield running


def transcribe(server: Server, path: Path) -> httpx.Response:
    with path.open("rb") as file, httpx.Client(timeout=TIMEOUT) as client:
        return client.post(f"{server.url}{ROUTE}", files={"file": file})


def connect(server: Server, data: bytes, held: ExitStack) -> socket.socket:
    connection = held.enter_context(socket.create_connection(("127.0.0.1", server.port), TIMEOUT))
    connection.sendall(data)
    return connection


def test_idle_connections_keep_nobody_out(few_files: Server, sample: Path, reference: str) -> None:
    with ExitStack() as held:
        for number in range(100):
            connect(few_files, HALF_HEADER if number % 2 else b"", held)
        for _ in range(3):
            assert transcribe(few_files, sample).json()["text"] == reference
    assert few_files.stop() == ""


def test_a_client_that_sends_no_header_is_disconnected(server: Server) -> None:
    started = time.monotonic()
    with ExitStack() as held:
        idle, half = connect(server, b"", held), connect(server, HALF_HEADER, held)
        second = connect(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET", held)
        assert idle.recv(1000) == b""
        assert half.recv(1000).startswith(b"HTTP/1.1 408")
        received = b""
        while data := second.recv(1000):
            received += data
        assert received.startswith(b"HTTP/1.1 200")
    assert time.monotonic() - started >= HEADER_SECONDS - 1


def test_slow_uploads_take_no_places(tmp_path: Path, sample: Path, reference: str) -> None:
    options = ("--model", "digits", "--max-requests", "20")
    with serving(tmp_path, *options) as running, ExitStack() as held:
        for _ in range(100):
            connect(running, FORM_HEADER, held)
        while running.metric("asr_s2s_active_requests") < 100:
            time.sleep(0.05)
        assert transcribe(running, sample).json()["text"] == reference
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(TIMEOUT) == 0


def test_one_client_cannot_take_all_places() -> None:
    places = Places(total=3, per_client=2)
    with places.take("a"), places.take("a"):
        assert places.problem("a") is not None
        assert places.problem("b") is None
        with places.take("b"):
            assert places.problem("c") is not None
        assert places.problem("c") is None
    assert places.problem("a") is None
    assert not places.taken


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("unix", "unix"),
    ],
)
def test_a_client_is_an_address_or_an_ipv6_network(address: str, client: str) -> None:
    assert client_of({"client": (address, 1)}) == client


def test_an_upload_that_cannot_be_stored_gets_507(
    tmp_path: Path, sample: Path, reference: str
) -> None:
    # A limit on the size of files takes the place of a full disk.
    limits = {resource.RLIMIT_FSIZE: 3 * 1024**2}
    with serving(tmp_path / "server", "--model", "digits", limits=limits) as running:
        large = tmp_path / "large.wav"
        write_joined(large, sample, seconds=120)
        answer = transcribe(running, large)
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "no_space")
        assert transcribe(running, sample).json()["text"] == reference
        assert running.metric("asr_s2s_active_requests") == 0
        assert running.stop() == ""


def test_shutdown_ends_within_its_time_and_refuses_what_is_not_finished(
    tmp_path: Path, sample: Path
) -> None:
    minute = tmp_path / "minute.wav"
    write_joined(minute, sample, seconds=60)
    with serving(tmp_path / "server", "--model", "digits", "--grace", "6") as running:
        with ThreadPoolExecutor(30) as pool:
            answers = [pool.submit(transcribe, running, minute) for _ in range(30)]
            while running.metric("asr_s2s_active_requests") < 30:
                assert not all(answer.done() for answer in answers)
            started = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(TIMEOUT) == 0
            seconds = time.monotonic() - started
            statuses = {answer.result().status_code for answer in answers}
        assert statuses <= {200, 503}
        assert 503 in statuses
        assert seconds < 30  # 6, on a machine that does nothing else
        assert running.process.stderr is not None
        assert b"Traceback" not in running.process.stderr.read()
