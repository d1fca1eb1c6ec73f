"""Error responses, compatible with OpenAI's API.

The body is `{"error": {"message", "type", "param", "code"}}`: `message` is for people, `code` for
programs.
"""

import errno
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from asr_s2s.errors import AudioError, UserError
from asr_s2s.serve.batcher import StoppedError

STATUSES = {
    400: "The request is invalid; `error.param` names the field.",
    401: "The token is missing or wrong.",
    403: "The Host or Origin header is not allowed.",
    404: "There is no such model.",
    408: "The upload was too slow.",
    413: "The request is too large.",
    429: "The server is busy, or this client has too many requests in progress; retry after the "
    "seconds in `Retry-After`.",
    503: "The server is shutting down, or out of resources.",
    507: "The server has no space to store the upload.",
}
"""Statuses of error responses, and their meanings."""
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of the operating system that pass when other work ends."""
LONGEST_QUOTE = 60
"""Maximum characters of a wrong value quoted in a message."""
CLIENT_LEFT = 499
"""Status recorded in the metrics if the client disconnected before the response."""


class RefusedError(Exception):
    """A request was refused.

    Args:
        status: HTTP status code.
        message: what is wrong, and how to fix it.
        code: machine-readable error code.
        param: name of the invalid field.
        headers: additional HTTP headers.
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
    """Convert a validation error; reports the first invalid field."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "body"
    message = f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}"
    if isinstance(first["input"], str | int | float):
        message += f", found {quoted(str(first['input']))}"
    return RefusedError(400, f"{message}.", "invalid_value", param=name)


def quoted(text: str) -> str:
    """Quote text of a client, shortened to fit a message."""
    return repr(text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 1]}\u2026")


def error_body(refusal: RefusedError) -> dict[str, Any]:
    """JSON body of an error response."""
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


def to_refused_error(error: Exception) -> RefusedError:
    """Convert any error to one that can be sent; reveals nothing of the server's internals."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, AudioError):
        return RefusedError(400, str(error), "invalid_audio", param="file")
    if isinstance(error, UserError):
        return RefusedError(400, str(error), "invalid_value", param=error.where)
    if isinstance(error, StoppedError):
        return stopping_error()
    if isinstance(error, TimeoutError):
        message = "The request exceeded the server's time limit. Send shorter recordings or texts."
        return RefusedError(400, message, "time_limit")
    if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
        return overloaded_error()
    if isinstance(error, HTTPException):
        return RefusedError(
            error.status_code, f"{error.detail}.", "invalid_request", headers=error.headers
        )
    return RefusedError(500, "Internal server error; see the server's log.", "internal_error")


def stopping_error() -> RefusedError:
    """Error for requests that arrive while the server is shutting down."""
    return RefusedError(
        503,
        "The server is shutting down. Send the request again later.",
        "stopping",
        headers={"Retry-After": "5"},
    )


def overloaded_error() -> RefusedError:
    """Error for requests that need more files or memory than the operating system has left."""
    return RefusedError(
        503,
        "The server is out of resources. Send the request again later.",
        "overloaded",
        headers={"Retry-After": "5"},
    )


def error_response(refusal: RefusedError) -> Response:
    """HTTP response for a refused request."""
    return JSONResponse(error_body(refusal), refusal.status, headers=dict(refusal.headers or {}))


def add_error_handlers(app: FastAPI) -> None:
    """Make an application answer all errors in this format."""

    async def answer(request: Request, error: Exception) -> Response:
        return error_response(to_refused_error(error))

    async def answer_if_overloaded(request: Request, error: Exception) -> Response:
        if to_refused_error(error).status == 500:
            raise error  # logged, and answered as any exception
        return await answer(request, error)

    async def disconnected(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_LEFT)

    for kind in (RefusedError, UserError, HTTPException, StoppedError, TimeoutError, Exception):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(OSError, answer_if_overloaded)
    app.add_exception_handler(ClientDisconnect, disconnected)
