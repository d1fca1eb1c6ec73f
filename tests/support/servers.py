"""Runs `asr-s2s serve` as a subprocess on a free port."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.limits import TIMEOUT


class Server:
    """A running server process.

    Args:
        folder: folder for its temporary files and its log.
        options: options of `asr-s2s serve`.
        limits: limits of the process, by the numbers of `resource`.
    """

    def __init__(
        self, folder: Path, *options: str, limits: Mapping[int, int] | None = None
    ) -> None:
        self.uploads = folder / "tmp"  # where Python makes temporary files
        self.uploads.mkdir(parents=True)
        self.log = folder / "log"

        def set_limits() -> None:
            for number, value in (limits or {}).items():
                resource.setrlimit(number, (value, value))

        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "asr_s2s", "serve", "--port", "0", *options],
                stdout=log,
                stderr=subprocess.PIPE,
                preexec_fn=set_limits,
                env=os.environ | {"TMPDIR": str(self.uploads), "OMP_NUM_THREADS": "1"},
            )
        assert self.process.stderr is not None
        line = self.process.stderr.readline().decode()
        assert line.startswith("listening at http://127.0.0.1:"), line
        self.url = line.split()[-1]
        self.http = httpx.Client(base_url=self.url, timeout=TIMEOUT)
        """HTTP client of the server."""
        self.port = int(self.url.rpartition(":")[2])

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric over all series with these labels."""
        lines = self.http.get("/metrics").text.splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.partition(" ")[0].partition("{")[0] == name and all(w in line for w in wanted)
        )

    def stop(self) -> str:
        """Stop the server with SIGTERM; returns its standard error output."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr is not None
        messages = self.process.stderr.read().decode()
        assert self.process.wait() == 0, messages
        return messages


@contextmanager
def serving(
    folder: Path, *options: str, limits: Mapping[int, int] | None = None
) -> Iterator[Server]:
    """Run a server within a context."""
    server = Server(folder, *options, limits=limits)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
