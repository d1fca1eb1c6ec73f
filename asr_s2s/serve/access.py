"""Middleware: bearer token, request metrics and security headers."""

import hmac
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr_s2s.serve.metrics import Metrics
from asr_s2s.serve.refusals import CLIENT_LEFT, RefusedError, error_response

PROTECTED = ("/v1/", "/metrics")
"""Path prefixes that require the token; the page and its documentation hold no secrets."""
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


class Access:
    """ASGI middleware that checks the token, adds security headers and records metrics.

    Args:
        app: application to wrap.
        token: bearer token that protected paths require; None requires none.
        metrics: request counters to update.
    """

    def __init__(self, app: ASGIApp, token: str | None, metrics: Metrics) -> None:
        self.app = app
        self.expected = None if token is None else f"Bearer {token}".encode()
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = CLIENT_LEFT

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            if self._is_authorized(scope):
                await self.app(scope, receive, send_with_headers)
            else:
                await error_response(_wrong_token())(scope, receive, send_with_headers)
        except Exception:
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(route, status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _is_authorized(self, scope: Scope) -> bool:
        if self.expected is None or not scope["path"].startswith(PROTECTED):
            return True
        given = Headers(scope=scope).get("authorization", "")
        return hmac.compare_digest(given.encode("latin-1", "replace"), self.expected)


def _wrong_token() -> RefusedError:
    return RefusedError(
        401,
        "The token is missing or wrong. Send the header Authorization: Bearer TOKEN.",
        "invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )
