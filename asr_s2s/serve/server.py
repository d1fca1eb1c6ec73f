"""The process: a socket, and an end that answers what was accepted."""

import asyncio
import signal
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from asr_s2s.serve.service import Service
from asr_s2s.serve.sockets import BACKLOG

GRACE = 30.0
"""Seconds after SIGTERM until what still waits for the decoder is refused."""


def run(app: FastAPI, service: Service, listener: socket.socket, greeting: str) -> None:
    """Serve until SIGTERM or Ctrl-C, and then until what was accepted is answered.

    Args:
        greeting: is printed to standard error once signals end the server well.
    """
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, backlog=BACKLOG, ws="none"
    )
    server = _Server(config, service)
    # uvicorn handles these itself, but restores what was there before and raises them again when
    # it ends: with the handler that it would restore to, the process ends well.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    print(greeting, file=sys.stderr, flush=True)
    server.run([listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.service.stopping.set()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        timer = asyncio.get_running_loop().call_later(GRACE, self.service.give_up)
        await super().shutdown(sockets)
        timer.cancel()
