"""Server-sent events, sent until the client disconnects."""

import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from asr_s2s.serve.service import until_disconnect


def event(values: dict[str, Any]) -> bytes:
    """Encode a JSON object as a server-sent event."""
    return f"data: {json.dumps(values, ensure_ascii=False)}\n\n".encode()


class EventStream(Response):
    """Streaming response of server-sent events.

    Args:
        events: encoded events.
        held: resources of the request, released when the response ends or the client disconnects.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], held: ExitStack) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.events = events
        self.held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.held, suppress(ClientDisconnect):
            await until_disconnect(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        async for data in self.events:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
