"""Server process: opens its socket, and shuts down gracefully, after answering accepted requests.

Does not import torch, so that a port in use is reported before models are loaded.
"""

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import sys
import time
from threading import Timer
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from asr_s2s.errors import EXIT_INTERRUPTED, UserError
from asr_s2s.serve.connections import ACCEPTED_AT_ONCE, LARGEST_MESSAGE, Connection
from asr_s2s.serve.refusals import OUT_OF_RESOURCES

if TYPE_CHECKING:
    from fastapi import FastAPI

    from asr_s2s.serve.service import Service

BACKLOG = 512
"""Maximum connections waiting to be accepted."""
GRACE_SECONDS = 30.0
"""Default of the seconds between SIGTERM and the end of the process."""
ANSWER_SECONDS = 3.0
"""Seconds of these, but at most half, left for refusing requests that cannot be finished."""
LOG_SECONDS = 60.0
"""Minimum seconds between messages that resources are exhausted."""


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


def is_private(listener: socket.socket) -> bool:
    """Whether only programs on this machine can reach a listening socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def run(
    app: "FastAPI",
    service: "Service",
    listener: socket.socket,
    greeting: str,
    *,
    connections: int,
    grace: float = GRACE_SECONDS,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the accepted requests and return.

    Requests that cannot be finished in time are answered with status 503. A second Ctrl-C ends the
    process at once; the end of the time to shut down ends it with exit code 0.

    Args:
        app: application to serve.
        service: models of the application.
        listener: listening socket.
        greeting: message printed to standard error once signals shut down gracefully.
        connections: maximum number of connections.
        grace: maximum seconds to shut down.
    """
    protocol = type("Connection", (Connection,), {"most": connections})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="auto",  # none without the package websockets
        ws_max_size=2 * LARGEST_MESSAGE,  # smaller ones that are too large get an error event
        ws_max_queue=4,
        log_level="error",  # warnings tell of malformed requests
        access_log=False,
        server_header=False,
        backlog=ACCEPTED_AT_ONCE,
    )
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # likewise
    server = _Server(config, service, grace)
    # uvicorn handles these signals, but at its end restores the previous handlers and raises the
    # signals again. With its own handler installed beforehand, that does not kill the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    print(greeting, file=sys.stderr, flush=True)
    server.run([listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: "Service", grace: float) -> None:
        super().__init__(config)
        self.service = service
        self.grace = grace
        self.reported = -LOG_SECONDS
        self.finished = False  # then uvicorn raises the signals again

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT and self.service.stopping.is_set() and not self.finished:
            os._exit(EXIT_INTERRUPTED)
        self.service.stopping.set()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(self._report)
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # asyncio has set it to the number accepted at once

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A batch at work cannot be canceled, and would delay the end of the process by minutes.
        end = Timer(self.grace, os._exit, [0])
        end.daemon = True
        end.start()
        loop = asyncio.get_running_loop()
        work = self.grace - min(ANSWER_SECONDS, self.grace / 2)
        self.service.stop_at(loop.time() + work)
        loop.call_later(work, self.service.abandon)
        await super().shutdown(sockets)
        end.cancel()
        self.finished = True

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report an error outside requests; exhausted resources in one line, and not too often."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES):
            loop.default_exception_handler(context)
        elif time.monotonic() >= self.reported + LOG_SECONDS:
            self.reported = time.monotonic()
            print(f"cannot accept connections ({error.strerror})", file=sys.stderr, flush=True)
