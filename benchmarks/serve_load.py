"""Throughput, latency and memory of `asr-s2s serve` under many clients.

    python benchmarks/serve_load.py [--requests 500] [--clients 64] [--model digits] [RECORDING ...]

Starts a server, and sends it recordings of 2 to 15 s, made of those that are given: first each one
alone, which tells what is right and how fast one client is served, then drawn at random from all
clients at once. Every answer is compared; 429 is obeyed and counted. The table goes to standard
output. With --requests 2000, the last columns tell whether memory stays flat.
"""

import argparse
import io
import os
import platform
import random
import re
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

import asr_s2s

SAMPLE = Path(__file__).parent.parent / "docs" / "samples" / "digits.wav"
SHORTEST, LONGEST = 2.0, 15.0
"""Seconds."""
ROUTE = "/v1/audio/transcriptions"


class Recording(NamedTuple):
    """What is sent."""

    data: bytes
    seconds: float


class Answer(NamedTuple):
    """What came of one request."""

    recording: int
    text: str
    seconds: float
    """From the first attempt to the answer."""
    refused: int
    """How often it was told to come again."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", nargs="*", type=Path, default=[SAMPLE])
    parser.add_argument("--model", default="digits")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--distinct", type=int, default=50, help="recordings made")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch-seconds", type=float, help="those of the server")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    rng = random.Random(options.seed)
    sources = [read(path) for path in options.recordings]
    recordings = [make(rng, rng.choice(sources)) for _ in range(options.distinct)]
    command = [sys.executable, "-m", "asr_s2s", "serve", "--port", "0", "--model", options.model]
    batch = ["--batch-seconds", str(options.batch_seconds)] if options.batch_seconds else []
    with subprocess.Popen(
        [*command, "--workers", str(options.workers), *batch],
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(options.threads)},
    ) as server:
        try:
            assert server.stderr is not None
            url = server.stderr.readline().decode().split()[-1]
            print(report(options, url, recordings, rng))
        finally:
            server.terminate()


def read(path: Path) -> tuple[np.ndarray, int]:
    """Samples (samples,) and their rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate


def make(rng: random.Random, source: tuple[np.ndarray, int]) -> Recording:
    """A recording of random length, from a random place on, of speech said over and over."""
    samples, rate = source
    length = round(rng.uniform(SHORTEST, LONGEST) * rate)
    start = rng.randrange(len(samples))
    repeated = np.tile(samples, 2 + length // len(samples))[start : start + length]
    file = io.BytesIO()
    soundfile.write(file, repeated, rate, "PCM_16", format="WAV")
    return Recording(file.getvalue(), length / rate)


def report(
    options: argparse.Namespace, url: str, recordings: list[Recording], rng: random.Random
) -> str:
    """Both measurements, as a table in Markdown."""
    send(url, recordings, [0])  # warms up
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
            f"`python benchmarks/serve_load.py --model {options.model} --requests "
            f"{options.requests} --clients {options.clients} --threads {options.threads} "
            f"--workers {options.workers}`",
            "",
            f"Recordings of {SHORTEST:g} to {LONGEST:g} s; {options.threads} threads on "
            f"{processor()}; Python {platform.python_version()}, asr_s2s {asr_s2s.__version__}; "
            f"{items / batches:.1f} pieces a batch on average. Resident memory: {memory[0]:.0f} MB "
            f"before the clients came, {half[0]:.0f} MB halfway, {memory[-1]:.0f} MB in the end, "
            f"{max(memory):.0f} MB at most.",
            "",
            "| clients | requests | wrong | sent away (429) | p50 (s) | p95 (s) | "
            "seconds of audio a second | against one client |",
            "|---|---|---|---|---|---|---|---|",
            *(
                f"| {clients} | {count} | {bad} | {away} | {p50:.2f} | {p95:.2f} | {rate:.1f} "
                f"| {gain:.2f} |"
                for clients, count, bad, away, p50, p95, rate, gain in rows
            ),
        ]
    )


def send(url: str, recordings: list[Recording], numbers: Iterable[int]) -> list[Answer]:
    """One client: recordings one after the other."""
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
    """The median and the 95th percentile, in seconds."""
    cuts = statistics.quantiles([answer.seconds for answer in answers], n=20, method="inclusive")
    return cuts[9], cuts[18]


def metric(url: str, name: str) -> float:
    """A metric of the server, summed over its labels."""
    lines = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", httpx.get(f"{url}/metrics").text, re.M)
    return sum(map(float, lines))


def resident(url: str) -> float:
    """Memory of the server, in MB."""
    return metric(url, "process_resident_memory_bytes") / 1024**2


def sample_memory(url: str, memory: list[float], done: threading.Event) -> None:
    """Add the server's memory to a list every two seconds."""
    while not done.wait(2.0):
        memory.append(resident(url))


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text() if info.is_file() else "")
    return found[1] if found else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
