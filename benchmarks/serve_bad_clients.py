"""Measure what slow and leaving clients of `asr-s2s serve` cost all others.

    python benchmarks/serve_bad_clients.py [RECORDING | FOLDER ...] [--seconds 20] [--rounds 3]

Starts a server on loopback. 24 clients send recordings of 2 to 15 s, one after the other, in turns
alone and beside 20 clients that send a body at 1 kB/s and 20 that disconnect in the middle of an
upload or before the response. The table has the response times of the 24; it is printed and written
to benchmarks/RESULTS.md.
"""

import argparse
import os
import random
import shlex
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from report import RESULTS, processor, write_section
from serve_load import ROUTE, SAMPLE, Recording, make, read

import asr_s2s

GOOD, SLOW, LEAVING = 24, 20, 20
"""Number of clients of each kind."""
TRICKLE = 100
"""Bytes that a slow client sends every tenth of a second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", nargs="*", type=Path, default=[SAMPLE])
    parser.add_argument("--model", default="digits")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="results file")
    options = parser.parse_args()

    rng = random.Random(options.seed)
    sources = [
        read(file)
        for path in options.recordings
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
    ]
    recordings = [make(rng, sources) for _ in range(50)]
    command = [sys.executable, "-m", "asr_s2s", "serve", "--port", "0", "--model", options.model]
    with subprocess.Popen(
        [*command, "--no-access-log"],
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(options.threads)},
    ) as server:
        try:
            assert server.stderr is not None
            url = server.stderr.readline().decode().split()[-1]
            alone: list[float] = []
            beside: list[float] = []
            good = [good_client] * GOOD
            bad = [slow_client] * SLOW + [leaving_client] * LEAVING
            measure(url, recordings, good, options.seconds / 4)  # warm-up
            for _ in range(options.rounds):
                alone += measure(url, recordings, good, options.seconds)
                beside += measure(url, recordings, good + bad, options.seconds)
        finally:
            server.terminate()
    table = report(options, alone, beside)
    print(table)
    write_section("serve_bad_clients", table, options.results)


Client = Callable[[str, list[Recording], random.Random, threading.Event, list[float]], None]


def measure(
    url: str, recordings: list[Recording], clients: list[Client], seconds: float
) -> list[float]:
    """Run clients at the same time; returns the response times of the good ones, in seconds."""
    over = threading.Event()
    times: list[float] = []
    threads = [
        threading.Thread(target=client, args=(url, recordings, random.Random(seed), over, times))
        for seed, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    over.set()
    for thread in threads:
        thread.join()
    return times


def good_client(
    url: str,
    recordings: list[Recording],
    rng: random.Random,
    over: threading.Event,
    times: list[float],
) -> None:
    """Send recordings and wait for each response."""
    with httpx.Client(timeout=600) as client:
        while not over.is_set():
            started = time.perf_counter()
            file = {"file": ("a.wav", rng.choice(recordings).data)}
            client.post(f"{url}{ROUTE}", files=file).raise_for_status()
            times.append(time.perf_counter() - started)


def slow_client(
    url: str,
    recordings: list[Recording],
    rng: random.Random,
    over: threading.Event,
    times: list[float],
) -> None:
    """Send a recording slowly, again and again."""
    while not over.is_set():
        request = form(rng.choice(recordings).data)
        with connect(url) as connection:
            for start in range(0, len(request), TRICKLE):
                if over.wait(0.1):
                    return
                try:
                    connection.sendall(request[start : start + TRICKLE])
                except OSError:
                    break  # refused as too slow


def leaving_client(
    url: str,
    recordings: list[Recording],
    rng: random.Random,
    over: threading.Event,
    times: list[float],
) -> None:
    """Disconnect in the middle of an upload, or after it."""
    while not over.wait(rng.uniform(0.2, 1.0)):
        request = form(rng.choice(recordings).data)
        with connect(url) as connection:
            connection.sendall(request[: rng.choice((len(request) // 2, len(request)))])
            over.wait(rng.uniform(0.0, 0.3))


def connect(url: str) -> socket.socket:
    """Connect to the server."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def form(data: bytes) -> bytes:
    """Request that sends a recording."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = head + data + b"\r\n--b--\r\n"
    header = (
        f"POST {ROUTE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    return header.encode() + body


def report(options: argparse.Namespace, alone: list[float], beside: list[float]) -> str:
    """Format the response times as a Markdown table."""
    rows = []
    reference = percentiles(alone)[1]
    for name, times in (("alone", alone), (f"beside {SLOW} slow, {LEAVING} leaving", beside)):
        p50, p95 = percentiles(times)
        row = (name, str(len(times)), f"{p50:.2f}", f"{p95:.2f}", f"{p95 / reference:.2f}")
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join(
        [
            "# Slow and leaving clients",
            "",
            f"`{shlex.join(['python', 'benchmarks/serve_bad_clients.py', *sys.argv[1:]])}`",
            "",
            f"{GOOD} clients with recordings of 2 to 15 s; {options.rounds} rounds of "
            f"{options.seconds:g} s in turns; {options.threads} threads on {processor()}; asr_s2s "
            f"{asr_s2s.__version__}.",
            "",
            f"| {GOOD} clients | requests | p50 (s) | p95 (s) | p95 relative to alone |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def percentiles(times: list[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return cuts[9], cuts[18]


if __name__ == "__main__":
    main()
