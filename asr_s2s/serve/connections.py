"""HTTP connections with time limits, and a limit on their number.

A connection waits for a request, receives and answers it, and waits for the next one. While it
waits it may be closed at any time to make room for a new one, so that idle clients keep nobody out.
"""

import asyncio
import os
from collections import Counter
from contextlib import suppress
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from asr_s2s.serve.places import client_of

HEADER_SECONDS = 10.0
"""Seconds within which a client must send the header of a request."""
STALLED_SECONDS = 60.0
"""Seconds within which a client must read some of its response."""
MOST_CONNECTIONS = 1000
"""Default of the maximum number of connections."""
FEWEST_CONNECTIONS = 4
"""Minimum number of connections."""
ACCEPTED_AT_ONCE = 4
"""Connections accepted before other work continues; they have no limit until it does."""
LARGEST_MESSAGE = 1024 * 1024
"""Maximum bytes of a message of a WebSocket."""
_SPARE_FILES = 8 * ACCEPTED_AT_ONCE  # files kept for all but connections and uploads


def allowed_connections(most: int) -> int:
    """Raise the limit on open files, and return the number of connections that it allows.

    Each connection may need two files, one of them for an upload.

    Args:
        most: maximum to return.
    """
    soft, hard = getrlimit(RLIMIT_NOFILE)
    wanted = 2 * most + 4 * _SPARE_FILES
    if soft != RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems have another, unnamed, limit
            setrlimit(RLIMIT_NOFILE, (wanted if hard == RLIM_INFINITY else min(wanted, hard), hard))
    soft, _ = getrlimit(RLIMIT_NOFILE)
    if soft == RLIM_INFINITY:
        return most
    lowest_free = os.open(os.devnull, os.O_RDONLY)  # about the number of files that are open
    os.close(lowest_free)
    return min(most, max(FEWEST_CONNECTIONS, (soft - lowest_free - _SPARE_FILES) // 2))


class Connection(H11Protocol):
    """A connection of a server of uvicorn, with limits."""

    most = MOST_CONNECTIONS
    """Maximum number of connections; subclasses set their own."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._waiting_since = self.loop.time()
        self._header_timer: asyncio.TimerHandle | None = None
        self._stalled_timer: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def client_key(self) -> str:
        """Client at the other end."""
        return client_of({"client": self.client})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most and not self._make_room():
            self._answer_and_close(b"503 Service Unavailable")
            return
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._header_timer, self._stalled_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.is_waiting:
            self._received_header()
        elif self._header_timer is None:
            self._await_header()

    def on_response_complete(self) -> None:
        self._waiting_since = self.loop.time()
        super().on_response_complete()  # may begin the next request, which was sent ahead
        if not self.is_waiting:
            self._received_header()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._received_header()
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_timer = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()

    def _await_header(self) -> None:
        self._waiting_since = self.loop.time()
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._header_missed)

    def _received_header(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_missed(self) -> None:
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._answer_and_close(b"408 Request Timeout")
        else:
            self.transport.abort()

    def _answer_and_close(self, status: bytes) -> None:
        head = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        self.transport.write(head % status)
        self.transport.close()

    def _make_room(self) -> bool:
        """Close a waiting connection, of the client that has most; returns whether there is one."""
        others = [c for c in self.connections if isinstance(c, Connection) and c is not self]
        waiting = [c for c in others if c.is_waiting and not c.transport.is_closing()]
        if not waiting:
            return False
        counts = Counter(c.client_key for c in others)
        closed = min(waiting, key=lambda c: (-counts[c.client_key], c._waiting_since))
        self.connections.discard(closed)
        closed.transport.abort()
        return True
