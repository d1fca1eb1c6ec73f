"""Servers as a user starts them: processes of their own, on free ports."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


class Server:
    """A server that runs."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.uploads = folder / "tmp"  # where Python makes temporary files
        self.uploads.mkdir(parents=True)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "asr_s2s", "serve", "--port", "0", *options],
                stdout=log,
                stderr=subprocess.PIPE,
                env=os.environ | {"TMPDIR": str(self.uploads), "OMP_NUM_THREADS": "1"},
            )
        assert self.process.stderr is not None
        line = self.process.stderr.readline().decode()
        assert line.startswith("listening at http://127.0.0.1:"), line
        self.url = line.split()[-1]
        self.http = httpx.Client(base_url=self.url, timeout=120)
        """What most tests ask it with."""
        self.port = int(self.url.rpartition(":")[2])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over what the labels leave open."""
        lines = self.http.get("/metrics").text.splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.partition(" ")[0].partition("{")[0] == name and all(w in line for w in wanted)
        )

    def stop(self) -> str:
        """End it as an operator does; what it wrote to standard error."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr is not None
        said = self.process.stderr.read().decode()
        assert self.process.wait() == 0, said
        return said


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(folder, *options)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
