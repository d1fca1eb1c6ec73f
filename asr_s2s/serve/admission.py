"""Middleware that admits requests by their Host and Origin headers and by a bearer token.

A browser sends requests to this machine for any page that a user visits. Pages of other sites are
known by the header Origin. A page whose name was made to resolve to this machine (DNS rebinding)
has an origin equal to the Host header; but the name in both is not one of this machine.
"""

import hmac
import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from asr_s2s.errors import UserError
from asr_s2s.serve.refusals import RefusedError, error_response

TOKEN_PROTOCOL = "openai-insecure-api-key."
"""Beginning of the WebSocket subprotocol that holds the token, percent-encoded if it has other
characters than a subprotocol may have: browsers cannot send an Authorization header there. The name
is that of OpenAI's clients."""
PROTECTED = ("/v1/", "/metrics")
"""Path prefixes that require the token; the page and its documentation hold no secrets."""
ANY = "*"
"""Host or origin that stands for all."""
_HOST = re.compile(r"\*|[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#@\s]+")


@dataclass(frozen=True)
class Admission:
    """Who may use a server."""

    token: str | None = None
    """Bearer token that protected paths require; None requires none."""
    hosts: Collection[str] | None = None
    """Names in the Host header that are allowed besides those of loopback; None allows all."""
    origins: Collection[str] = ()
    """Origins of web pages that are allowed besides the server's own."""

    def __post_init__(self) -> None:
        check_token(self.token, "--token")
        for host in self.hosts or ():
            if not _HOST.fullmatch(host.lower()):
                problem = "expected the name or address of a host, without scheme and port"
                raise UserError(f"--allowed-host {host}", problem, "Correct it")
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin.lower()):
                problem = "expected an origin, such as https://app.example:8443"
                raise UserError(f"--allow-origin {origin}", problem, "Correct it")

    def allows_host(self, host: str) -> bool:
        """Whether a Host header is allowed."""
        if self.hosts is None:
            return True
        name = re.sub(r":\d*$", "", host.lower())
        allowed = {allowed.lower() for allowed in self.hosts}
        return ANY in allowed or name in allowed or is_loopback(name.strip("[]"))

    def allows_origin(self, origin: str | None, host: str) -> bool:
        """Whether an Origin header, if any, is allowed for a Host header."""
        if origin is None:
            return True
        allowed = {allowed.lower() for allowed in self.origins}
        # A proxy may have spoken another scheme to the browser.
        own = origin.lower().partition("://")[2] == host.lower() != ""
        return ANY in allowed or origin.lower() in allowed or own

    def allows_token(self, path: str, authorization: str) -> bool:
        """Whether an Authorization header is enough for a path."""
        if self.token is None or not path.startswith(PROTECTED):
            return True
        expected = f"Bearer {self.token}".encode()
        return hmac.compare_digest(authorization.encode("latin-1", "replace"), expected)


def is_loopback(host: str) -> bool:
    """Whether a name or address is that of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def check_token(token: str | None, where: str) -> None:
    """Check that a token, if there is one, can be sent in a header.

    Raises:
        UserError: it is empty, or has other characters than printable ASCII; names `where`.
    """
    if token is None or (token.isascii() and token.isprintable() and token == token.strip() != ""):
        return
    found = "found an empty token" if not token.strip() else "without spaces around it"
    raise UserError(where, f"expected printable ASCII characters, {found}", "Choose another token")


def read_token(path: Path) -> str:
    """Read a token from a file of one line.

    Raises:
        UserError: the file cannot be read, or has no valid token.
    """
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is not text"
        raise UserError(
            f"--token-file {path}", f"cannot be read ({reason})", "Correct the path"
        ) from error
    check_token(token, f"--token-file {path}")
    return token


EVERYONE = Admission()
"""Admits every request."""


class HostCheck:
    """ASGI middleware that refuses hosts and origins that are not allowed."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self.app = app
        self.admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            host, origin = headers.get("host", ""), headers.get("origin")
            if not self.admission.allows_host(host):
                message = "This Host header is not allowed; see --allowed-host of the server."
                await _refuse(RefusedError(403, message, "wrong_host"), scope, receive, send)
                return
            if not self.admission.allows_origin(origin, host):
                message = "Pages of this origin are not allowed; see --allow-origin of the server."
                await _refuse(RefusedError(403, message, "wrong_origin"), scope, receive, send)
                return
        await self.app(scope, receive, send)


class TokenCheck:
    """ASGI middleware that refuses requests without the token."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self.app = app
        self.admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            given = [Headers(scope=scope).get("authorization", "")]
            for protocol in scope.get("subprotocols", ()):
                if protocol.startswith(TOKEN_PROTOCOL):
                    given.append(f"Bearer {unquote(protocol.removeprefix(TOKEN_PROTOCOL))}")
            if not any(self.admission.allows_token(scope["path"], value) for value in given):
                refusal = RefusedError(
                    401,
                    "The token is missing or wrong. Send the header Authorization: Bearer TOKEN.",
                    "invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
                await _refuse(refusal, scope, receive, send)
                return
        await self.app(scope, receive, send)


async def _refuse(refusal: RefusedError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # the request to connect
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
    else:
        await error_response(refusal)(scope, receive, send)
