"""Random hostile requests to the server's application, without a socket between them.

    python -m tests.support.request_fuzz [--count 3000] [--seed 1]

Requests are variations of valid ones: repeated, renamed and missing fields, odd encodings, lengths,
headers, methods and paths, broken multipart forms and JSON, and clients that leave. No response may
have a 5xx status except 503 and 507, reveal the server's internals, or lack an error message.
"""

import argparse
import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from tests.support.hostile import AUDIO, NAMES, VALUES

ALLOWED = (503, 507)
"""Statuses of 500 or more that a response may have."""
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "QUERY", "x")
PATHS = (
    *AUDIO, "/v1/translate", "/v1/models", "/v1/models/digits", "/v1/models/whisper-1",
    "/v1/models/%2e%2e", "/v1/models/\u00fc", "/v1/models/a/b", "/healthz", "/metrics", "/",
    "/docs", "/openapi.json", "/page/main.js", "/page/../app.py", "/page/%00", "//", "/v1", "",
)  # fmt: skip
FIELDS = (
    "model", "language", "prompt", "response_format", "timestamp_granularities", "include",
    "stream", "beam_size", "text", "start", "duration", "temperature", "file",
)  # fmt: skip
GOOD = {
    "model": ("digits", "whisper-1", "en-de"),
    "response_format": ("json", "text", "srt", "vtt", "verbose_json"),
    "timestamp_granularities": ("word", "segment"),
    "include": ("srt", "vtt"),
    "stream": ("true", "false"),
    "beam_size": ("1", "2"),
    "prompt": ("four nine", "Kubernetes, two"),
    "text": ("one two",),
    "start": ("0",),
    "duration": ("0.3",),
}
"""Values that a field accepts."""
CHARSETS = ("", "; charset=utf-16", "; charset=hex", "; charset=zlib", "; charset=idna",
            "; charset=punycode", "; charset=undefined", "; charset=rot13",
            "; charset=x")  # fmt: skip
HEADERS = (
    (b"range", b"bytes=0-1,2-3,-5"), (b"range", b"bytes=9999999-"), (b"range", b"x=\xff"),
    (b"if-none-match", b"*"), (b"if-modified-since", b"never"), (b"host", b"\xff"), (b"host", b""),
    (b"origin", b"null"), (b"origin", b"http://\xff"), (b"x-request-id", b"a b\x7f"),
    (b"x-request-id", b"x" * 5000), (b"authorization", b"Bearer \xff"), (b"accept", b"\xff"),
    (b"content-length", b"99999999999999999999"), (b"content-length", b"-1"),
    (b"content-length", b"\xb2"), (b"cookie", b"=;" * 500), (b"expect", b"100-continue"),
)  # fmt: skip
JSON_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1e300, 10**30, "", "a", "\ud800", "\x00", "\u202e", [], {}, [[]],
    ["a", None], ["a"] * 1001, "a" * 10_001, {"a": 1}, "1", [""], float("nan"),
)  # fmt: skip


@dataclass
class HostileRequest:
    """A request to send, and when its client leaves."""

    method: str
    path: str
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    chunk: int = 1 << 20
    """Bytes that arrive at a time."""
    leaves: bool = False
    """Whether the client disconnects instead of sending the last part of the body."""


def form_request(rng: random.Random, recording: bytes) -> HostileRequest:
    """A form with good and bad, repeated, renamed and misplaced fields."""
    parts = [("file", "a.wav", recording)] if rng.random() < 0.8 else []
    for name in rng.choices(FIELDS, k=rng.randint(0, 6)):
        good = name in GOOD and rng.random() < 0.7
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            value = rng.choice(GOOD[name] if good else VALUES).encode()
            ending = rng.choice(("", "", "[]", "[]", "[][]", "[0]", "\x00", " "))
            filename = rng.choice((None, None, None, None, *NAMES[:3]))
            parts.append((name + ending, filename, value))
    rng.shuffle(parts)
    body = b""
    for name, filename, content in parts:
        shown = "" if filename is None else f'; filename="{filename}"'
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    body += b"--b--\r\n"
    content_type = f"multipart/form-data; boundary=b{rng.choice(CHARSETS)}"
    headers = [(b"content-type", content_type.encode())]
    return HostileRequest("POST", rng.choice(AUDIO), body, headers)


def broken_form(rng: random.Random, recording: bytes) -> HostileRequest:
    """A form with random changes of its bytes."""
    request = form_request(rng, recording[:2000])
    body = bytearray(request.body)
    for _ in range(rng.randint(1, 10)):
        place = rng.randrange(len(body) + 1)
        body[place : place + rng.choice((0, 0, 1, 50))] = rng.randbytes(rng.choice((0, 1, 8)))
    request.body = bytes(body)
    request.leaves = rng.random() < 0.2
    return request


def damaged_recording(rng: random.Random, recording: bytes) -> HostileRequest:
    """A valid form whose recording is damaged."""
    data = bytearray(recording)
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(60)] = rng.randrange(256)
    data = data[: rng.choice((44, 60, 500, len(data)))]
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    text = b'\r\n--b\r\nContent-Disposition: form-data; name="text"\r\n\r\none\r\n--b--\r\n'
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    return HostileRequest("POST", rng.choice(AUDIO), head + bytes(data) + text, headers)


def json_request(rng: random.Random, recording: bytes) -> HostileRequest:
    """JSON with wrong types, repeated keys, and broken syntax."""
    names = ("text", "model", "language", "beam_size", "n_best", "alignment", "text", "other")
    pairs = [
        ("text", "Two dogs."),
        *((name, rng.choice(JSON_VALUES)) for name in rng.choices(names, k=rng.randint(0, 3))),
    ]
    rng.shuffle(pairs)
    members = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pairs)
    text = "{" + ", ".join(members) + "}"
    if rng.random() < 0.3:
        place = rng.randrange(len(text))
        text = (
            text[:place]
            + rng.choice(("", "[" * 3000, "9" * 5000, "\ufeff", "\\ud800"))
            + text[place + 1 :]
        )
    body = text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "utf-32")), "replace")
    content_type = rng.choice(
        (b"application/json", b"text/plain", b"multipart/form-data; boundary=b")
    )
    return HostileRequest("POST", "/v1/translate", body, [(b"content-type", content_type)])


def odd_route(rng: random.Random, recording: bytes) -> HostileRequest:
    """A method, a path and headers that do not fit together."""
    headers = rng.sample(HEADERS, rng.randint(0, 3))
    body = rng.randbytes(rng.choice((0, 0, 1, 100)))
    return HostileRequest(rng.choice(METHODS), rng.choice(PATHS), body, list(headers))


KINDS: tuple[Callable[[random.Random, bytes], HostileRequest], ...] = (
    form_request, form_request, broken_form, damaged_recording, json_request, odd_route,
)  # fmt: skip


async def send(app: ASGIApp, request: HostileRequest) -> tuple[int, dict[str, str], bytes]:
    """Send a request; returns status, headers and body, and status 0 if there is no response."""
    parts = [
        request.body[i : i + request.chunk] for i in range(0, len(request.body), request.chunk)
    ]
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts or [b""], start=1)
    ]
    if request.leaves:
        messages[-1] = {"type": "http.disconnect"}
    answer: list[Message] = []
    done = asyncio.Event()

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await done.wait()
        return {"type": "http.disconnect"}

    async def send_message(message: Message) -> None:
        answer.append(message)

    headers = request.headers
    if not any(name == b"host" for name, _ in headers):
        headers = [(b"host", b"localhost"), *headers]
    raw_path = request.path.encode("utf-8")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(request.path),
        "raw_path": raw_path,
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send_message)
    done.set()
    if not answer:
        return 0, {}, b""
    found = {
        name.decode("latin-1"): value.decode("latin-1") for name, value in answer[0]["headers"]
    }
    body = b"".join(message.get("body", b"") for message in answer[1:])
    return answer[0]["status"], found, body


def problem(
    request: HostileRequest, status: int, headers: dict[str, str], body: bytes
) -> str | None:
    """Problem with a response; None if there is none."""
    if not status:
        return None if request.leaves else "no response"
    if status >= 500 and status not in ALLOWED:
        return f"status {status}"
    if "x-request-id" not in headers:
        return "no request id"
    for secret in (b"Traceback", b'File "', b"site-packages", b"root:"):
        if secret in body:
            return f"reveals {secret!r}"
    if status >= 400 and headers.get("content-type") == "application/json" and body:
        error = json.loads(body)["error"]
        if not (error["message"] and error["type"] and error["code"]):
            return "an error without message, type or code"
    return None


def fuzz(
    app: ASGIApp, recording: bytes, *, count: int, seed: int
) -> tuple[Counter[str], list[str]]:
    """Send requests; returns counts per kind and status, and the problems found."""

    async def run() -> tuple[Counter[str], list[str]]:
        counts: Counter[str] = Counter()
        problems = []
        for number in range(count):
            rng = random.Random(f"{seed} {number}")
            kind = rng.choice(KINDS)
            request = kind(rng, recording)
            request.chunk = (
                rng.choice((1 << 20, 1000, 17)) if len(request.body) < 20_000 else 1 << 20
            )
            try:
                status, headers, body = await send(app, request)
                wrong = problem(request, status, headers, body)
            except Exception as error:
                status, wrong = 500, repr(error)
            counts[f"{kind.__name__} {status}"] += 1
            if wrong:
                problems.append(f"request {number} ({kind.__name__}): {wrong}")
        return counts, problems

    return asyncio.run(run())


def make_service() -> Any:
    """A service with a speech model and a text model."""
    import asr_s2s
    from asr_s2s.serve.service import Service

    return Service(
        {
            "digits": asr_s2s.load("digits", "cpu"),
            "en-de": asr_s2s.load_translator("en-de", "cpu"),
        }
    )


def main() -> None:
    from pathlib import Path

    from asr_s2s.serve.app import make_app

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recording", type=Path, help="a short WAV file")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    service = make_service()
    counts, problems = fuzz(
        make_app(service), options.recording.read_bytes(), count=options.count, seed=options.seed
    )
    service.close()
    for line in [*(f"{count:6} {kind}" for kind, count in sorted(counts.items())), *problems]:
        print(line)
    raise SystemExit(bool(problems))


if __name__ == "__main__":
    main()
