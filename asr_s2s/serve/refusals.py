"""Requests that are refused, answered in the shape that OpenAI's clients read.

`{"error": {"message", "type", "param", "code"}}`: a message for people, and a code for programs.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from asr_s2s.errors import AudioError, UserError
from asr_s2s.serve.batcher import StoppedError

LONGEST_QUOTE = 60
"""Characters of a wrong value that are shown again."""
CLIENT_LEFT = 499
"""Status of requests whose client has left, in the metrics; nobody reads the answer."""


class RefusedError(Exception):
    """A request that is not carried out.

    Args:
        status: of the HTTP answer.
        message: what is wrong, and its fix.
        code: the same for programs.
        param: the field at fault.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = headers


def bad_field(error: ValidationError) -> RefusedError:
    """What is wrong with the first of the fields that are."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "the body"
    message = f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}"
    if isinstance(first["input"], str | int | float):
        message += f", found {quoted(str(first['input']))}"
    return RefusedError(400, f"{message}.", "invalid_value", param=name)


def quoted(text: str) -> str:
    """Text of a client, short enough for a message."""
    return repr(text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 1]}\u2026")


def error_body(refusal: RefusedError) -> dict[str, Any]:
    """The JSON object of a refusal."""
    kinds = {429: "rate_limit_error"}
    kind = kinds.get(refusal.status)
    kind = kind or ("server_error" if refusal.status >= 500 else "invalid_request_error")
    return {
        "error": {
            "message": refusal.message,
            "type": kind,
            "param": refusal.param,
            "code": refusal.code,
        }
    }


def refusal_of(error: Exception) -> RefusedError:
    """What a client is told of an error. Nothing of the server's inside."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, AudioError):
        return RefusedError(400, str(error), "invalid_audio", param="file")
    if isinstance(error, UserError):
        return RefusedError(400, str(error), "invalid_value", param=error.where)
    if isinstance(error, StoppedError):
        return stopping()
    if isinstance(error, TimeoutError):
        message = "It was not done in the time that requests have here. Send shorter parts."
        return RefusedError(400, message, "time_limit")
    if isinstance(error, HTTPException):
        return RefusedError(
            error.status_code, f"{error.detail}.", "invalid_request", headers=error.headers
        )
    return RefusedError(500, "The server failed; its log says why.", "internal_error")


def stopping() -> RefusedError:
    """What those are told that the server cannot serve any more."""
    return RefusedError(
        503, "The server stops. Send it again.", "stopping", headers={"Retry-After": "5"}
    )


def refused(refusal: RefusedError) -> Response:
    """The HTTP answer."""
    return JSONResponse(error_body(refusal), refusal.status, headers=dict(refusal.headers or {}))


def answer_errors(app: FastAPI) -> None:
    """Make an application answer every error in this shape."""

    async def answer(request: Request, error: Exception) -> Response:
        return refused(refusal_of(error))

    async def left(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_LEFT)

    for kind in (RefusedError, UserError, HTTPException, StoppedError, TimeoutError, Exception):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(ClientDisconnect, left)
