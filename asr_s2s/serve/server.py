"""Server process: opens its socket, and shuts down gracefully, after answering accepted requests.

Does not import torch, so that a port in use is reported before models are loaded.
"""

import asyncio
import os
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from asr_s2s.errors import UserError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from asr_s2s.serve.service import Service

BACKLOG = 512
"""Maximum connections waiting to be accepted."""
GRACE_SECONDS = 30.0
"""Seconds after SIGTERM until work still queued for decoding is refused."""


def open_listener(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 selects a free port.

    Raises:
        UserError: the address does not exist on this machine, or the port is in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        where = f"--host {host} --port {port}"
        number = getattr(error, "errno", None) or 0  # negative for unknown host names
        reason = os.strerror(number) if number > 0 else str(error)
        raise UserError(
            where, f"cannot listen there ({reason})", "Choose another address"
        ) from error


def run(app: "FastAPI", service: "Service", listener: socket.socket, greeting: str) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the accepted requests and return.

    Args:
        app: application to serve.
        service: models of the application.
        listener: listening socket.
        greeting: message printed to standard error once signals shut down gracefully.
    """
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, backlog=BACKLOG, ws="none"
    )
    server = _Server(config, service)
    # uvicorn handles these signals, but at its end restores the previous handlers and raises the
    # signals again. With its own handler installed beforehand, that does not kill the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    print(greeting, file=sys.stderr, flush=True)
    server.run([listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: "Service") -> None:
        super().__init__(config)
        self.service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.service.stopping.set()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        timer = asyncio.get_running_loop().call_later(GRACE_SECONDS, self.service.abandon)
        await super().shutdown(sockets)
        timer.cancel()
