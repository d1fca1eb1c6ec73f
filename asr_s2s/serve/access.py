"""Middleware around every request: request id, security headers, metrics and access log."""

import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr_s2s.serve.metrics import Metrics
from asr_s2s.serve.places import client_of
from asr_s2s.serve.refusals import CLIENT_LEFT

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
REQUEST_ID = "X-Request-Id"
"""Header with the id of a request; the response repeats it, or names a new one."""
_VALID_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_LONGEST_PATH = 200  # characters of a path in the log


class Access:
    """ASGI middleware that is the first to see requests and the last to see responses.

    HEAD is answered like GET, without a body. A WebSocket is a request that ends when it is closed,
    with status 101, or 403 if it was refused.

    Args:
        app: application to wrap.
        metrics: request counters to update.
        log: receives a line for each finished request; None for no log.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, log: Callable[[str], None] | None = None
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = CLIENT_LEFT
        method = scope.get("method", "GET")
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _VALID_ID.fullmatch(given) else uuid4().hex
        # A copy, because the server needs the method to leave out the body.
        scope = {**scope, "method": "GET" if method == "HEAD" else method}

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and status == CLIENT_LEFT:
                status = 403  # closed before it was accepted
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:
            status = 500
            raise
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(route, status).inc()
            self.metrics.seconds.labels(route).observe(seconds)
            if self.log is not None:
                self.log(_line(scope, request_id, method, status, seconds))


def _line(scope: Scope, request_id: str, method: str, status: int, seconds: float) -> str:
    """Line of the access log, without the query, which may hold secrets."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    path = raw.decode("ascii", "backslashreplace")[:_LONGEST_PATH]
    fields = {
        "id": request_id,
        "client": client_of(scope),
        "method": method,
        "path": path,
        "status": status,
        "seconds": f"{seconds:.3f}",
    }
    audio = scope.get("state", {}).get("audio_seconds")
    if audio is not None:
        fields["audio_seconds"] = f"{audio:.3f}"
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    # An address in X-Forwarded-For, or a method, may be any text.
    values = (f"{name}={re.sub(r'[^!-~]', '_', str(value))}" for name, value in fields.items())
    return " ".join((now, *values))


def print_line(line: str) -> None:
    """Print a line to standard output, if it is still open; requests do not fail without it."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
