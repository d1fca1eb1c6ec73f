"""Measure throughput, latency and memory of `asr-s2s serve` under many clients.

    python benchmarks/serve_load.py [RECORDING | FOLDER ...] [--requests 500] [--clients 64]

Starts a server and sends it recordings of 2 to 15 s, joined from the given ones, which must have
the same sampling rate. First one client sends each recording, which gives the reference texts and
the speed without concurrency. Then all clients send recordings drawn at random. Every answer is
compared with the reference; 429 is retried and counted. The table is printed and written to
benchmarks/RESULTS.md. --requests 2000 is enough to see whether memory stays constant.
"""

import argparse
import io
import os
import platform
import random
import re
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import soundfile
from report import RESULTS, processor, write_section

import asr_s2s

SAMPLE = Path(__file__).parent.parent / "docs" / "samples" / "digits.wav"
SHORTEST, LONGEST = 2.0, 15.0
"""Range of durations of the recordings sent, in seconds."""
PAUSE = 0.3
"""Silence between joined recordings, in seconds."""
ROUTE = "/v1/audio/transcriptions"


class Recording(NamedTuple):
    """A WAV file to send, and its duration in seconds."""

    data: bytes
    seconds: float


class Answer(NamedTuple):
    """Result of one request."""

    recording: int
    """Index of the recording."""
    text: str
    seconds: float
    """Time from the first attempt to the answer."""
    refused: int
    """Number of attempts that were answered with 429."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", nargs="*", type=Path, default=[SAMPLE])
    parser.add_argument("--model", default="digits")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--distinct", type=int, default=50, help="number of different recordings")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, help="option of the server")
    parser.add_argument("--batch-seconds", type=float, help="option of the server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="results file")
    options = parser.parse_args()

    rng = random.Random(options.seed)
    sources = [
        read(file)
        for path in options.recordings
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
    ]
    recordings = [make(rng, sources) for _ in range(options.distinct)]
    command = [sys.executable, "-m", "asr_s2s", "serve", "--port", "0", "--model", options.model]
    chosen = ["--batch-seconds", str(options.batch_seconds)] if options.batch_seconds else []
    chosen += ["--workers", str(options.workers)] if options.workers else []
    with subprocess.Popen(
        [*command, *chosen],
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(options.threads)},
    ) as server:
        try:
            assert server.stderr is not None
            url = server.stderr.readline().decode().split()[-1]
            table = report(options, url, recordings, rng)
            print(table)
            write_section("serve_load", table, options.results)
        finally:
            server.terminate()


def read(path: Path) -> tuple[np.ndarray, int]:
    """Read mono samples `(samples,)` and their sampling rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate


def make(rng: random.Random, sources: list[tuple[np.ndarray, int]]) -> Recording:
    """Join random sources to a recording of random length; the last one is cut off."""
    rate = sources[0][1]
    length = round(rng.uniform(SHORTEST, LONGEST) * rate)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < length:
        parts += [rng.choice(sources)[0], np.zeros(round(PAUSE * rate), np.float32)]
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(parts)[:length], rate, "PCM_16", format="WAV")
    return Recording(file.getvalue(), length / rate)


def report(
    options: argparse.Namespace, url: str, recordings: list[Recording], rng: random.Random
) -> str:
    """Run both measurements and format them as a Markdown table."""
    send(url, recordings, [0])  # warm-up
    started = time.perf_counter()
    alone = [answer for n in range(len(recordings)) for answer in send(url, recordings, [n])]
    alone_seconds = time.perf_counter() - started
    right = {answer.recording: answer.text for answer in alone}

    chosen = [rng.randrange(len(recordings)) for _ in range(options.requests)]
    shares = [chosen[client :: options.clients] for client in range(options.clients)]
    memory = [resident(url)]
    done = threading.Event()
    watch = threading.Thread(target=sample_memory, args=(url, memory, done))
    watch.start()
    started = time.perf_counter()
    with ThreadPoolExecutor(options.clients) as pool:
        parts = pool.map(lambda share: send(url, recordings, share), shares)
        together = [answer for part in parts for answer in part]
    seconds = time.perf_counter() - started
    done.set()
    watch.join()
    memory.append(resident(url))
    wrong = sum(answer.text != right[answer.recording] for answer in together)
    items, batches = (metric(url, f"asr_s2s_batch_items_{name}") for name in ("sum", "count"))
    speed = lambda answers, took: sum(recordings[a.recording].seconds for a in answers) / took  # noqa: E731
    slow, fast = speed(alone, alone_seconds), speed(together, seconds)
    half = memory[len(memory) // 2 :]
    rows = [
        ("1", len(alone), 0, 0, *latencies(alone), slow, 1.0),
        (
            str(options.clients),
            len(together),
            wrong,
            sum(answer.refused for answer in together),
            *latencies(together),
            fast,
            fast / slow,
        ),
    ]
    return "\n".join(
        [
            "# Serving many clients",
            "",
            f"`{shlex.join(['python', 'benchmarks/serve_load.py', *sys.argv[1:]])}`",
            "",
            f"Recordings of {SHORTEST:g} to {LONGEST:g} s; {options.threads} threads on "
            f"{processor()}; Python {platform.python_version()}, asr_s2s {asr_s2s.__version__}; "
            f"{items / batches:.1f} pieces per batch on average. Resident memory: "
            f"{memory[0]:.0f} MB at the start, {half[0]:.0f} MB halfway, {memory[-1]:.0f} MB at "
            f"the end, {max(memory):.0f} MB at most.",
            "",
            "| clients | requests | wrong | refused (429) | p50 (s) | p95 (s) | "
            "seconds of audio per second | relative to one client |",
            "|---|---|---|---|---|---|---|---|",
            *(
                f"| {clients} | {count} | {bad} | {refused} | {p50:.2f} | {p95:.2f} | {rate:.1f} "
                f"| {gain:.2f} |"
                for clients, count, bad, refused, p50, p95, rate, gain in rows
            ),
        ]
    )


def send(url: str, recordings: list[Recording], numbers: Iterable[int]) -> list[Answer]:
    """Act as one client that sends recordings one after the other."""
    answers = []
    with httpx.Client(timeout=600) as client:
        for number in numbers:
            started = time.perf_counter()
            refused = 0
            while True:
                file = {"file": (f"{number}.wav", recordings[number].data)}
                answer = client.post(f"{url}{ROUTE}", files=file, data={"model": "whisper-1"})
                if answer.status_code != 429:
                    break
                refused += 1
                time.sleep(float(answer.headers["retry-after"]))
            answer.raise_for_status()
            elapsed = time.perf_counter() - started
            answers.append(Answer(number, answer.json()["text"], elapsed, refused))
    return answers


def latencies(answers: list[Answer]) -> tuple[float, float]:
    """Median and 95th percentile of the response time, in seconds."""
    cuts = statistics.quantiles([answer.seconds for answer in answers], n=20, method="inclusive")
    return cuts[9], cuts[18]


def metric(url: str, name: str) -> float:
    """Value of a server metric, summed over its labels."""
    lines = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", httpx.get(f"{url}/metrics").text, re.M)
    return sum(map(float, lines))


def resident(url: str) -> float:
    """Resident memory of the server, in MB."""
    return metric(url, "process_resident_memory_bytes") / 1024**2


def sample_memory(url: str, memory: list[float], done: threading.Event) -> None:
    """Append the server's memory to a list every two seconds."""
    while not done.wait(2.0):
        memory.append(resident(url))


if __name__ == "__main__":
    main()
