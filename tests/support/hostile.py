"""Random malformed and abusive requests for testing the robustness of a server.

    python tests/support/hostile.py http://127.0.0.1:8000 [--count 2000] [--seed 1] [--clients 8]

Every response must have a 2xx or 4xx status and reveal nothing of the server's internals. Run this
against a server with `--max-upload 1` or similar. Requests never send a valid token.
"""

import argparse
import io
import json
import random
import socket
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from tests.support.limits import TIMEOUT

AUDIO = ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/attention")
ROUTES = (*AUDIO, "/v1/translate", "/v1/models", "/metrics", "/healthz", "/", "/docs")
NAMES = (
    "../../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\boot.ini",
    "a\x00b.wav",
    "\u202egnp.wav",
    "x" * 5000,
    'a"; name="model',
    "%2e%2e%2fetc%2fpasswd",
    "\r\nSet-Cookie: a=b",
    "",
    ".",
    "file:///etc/passwd",
    "NUL.wav",
)
VALUES = (
    "",
    "1",
    "-1",
    "nan",
    "1e999",
    "true",
    "null",
    "[]",
    "{}",
    "\u0000",
    "'; --",
    "\U0001f642" * 50,
)
FIELDS = (
    "response_format", "timestamp_granularities[]", "timestamp_granularities", "language", "prompt",
    "stream", "beam_size", "include[]", "model", "temperature", "text", "start", "duration", "file",
)  # fmt: skip


class Hostile:
    """Sends one random hostile request at a time."""

    def __init__(self, url: str, recording: bytes, largest: int) -> None:
        self.host = urlsplit(url).hostname or ""
        self.port = urlsplit(url).port or 80
        self.recording = recording
        self.largest = largest

    def attack(self, rng: random.Random) -> tuple[str, bytes]:
        """Send a random hostile request; returns its kind and the complete response."""
        kinds: tuple[Callable[[random.Random], bytes], ...] = (
            self.broken_multipart,
            self.wrong_values,
            self.tiny_body,
            self.oversized_body,
            self.slow_sender,
            self.not_a_recording,
            self.path_as_name,
            self.wrong_token,
            self.disconnect_before_response,
            self.disconnect_while_streaming,
            self.bad_json,
            self.odd_path,
            self.not_http,
        )
        kind = rng.choice(kinds)
        try:
            return kind.__name__, kind(rng)
        except (ConnectionError, TimeoutError) as error:
            return kind.__name__, f"({type(error).__name__})".encode()

    def broken_multipart(self, rng: random.Random) -> bytes:
        body = bytearray(self.form([("file", "a.wav", self.recording[:5000])]))
        for _ in range(rng.randint(1, 20)):
            place = rng.randrange(min(len(body), 300))
            change = rng.choice(("cut", "flip", "insert"))
            if change == "cut":
                del body[place : place + rng.randint(1, 100)]
            elif change == "flip":
                body[place] = rng.randrange(256)
            else:
                body[place:place] = rng.randbytes(rng.randint(1, 100))
            if not body:
                body += b"-"
        content = rng.choice(
            (
                "multipart/form-data; boundary=b",
                "multipart/form-data",
                "multipart/form-data; boundary=",
            )
        )
        return self.send(self.request("POST", rng.choice(AUDIO), bytes(body), content))

    def wrong_values(self, rng: random.Random) -> bytes:
        parts: list[tuple[str, str | None, bytes]] = [("file", "a.wav", self.recording)]
        for name in rng.choices(FIELDS, k=rng.randint(1, 5)):
            filename = rng.choice((None, None, None, "b.wav"))
            parts.append((name, filename, rng.choice(VALUES).encode()))
        rng.shuffle(parts)
        return self.send(self.request("POST", rng.choice(AUDIO), self.form(parts)))

    def tiny_body(self, rng: random.Random) -> bytes:
        content = rng.choice(("application/json", "multipart/form-data; boundary=b", "text/plain"))
        return self.send(
            self.request("POST", rng.choice(ROUTES), rng.randbytes(rng.randint(0, 1)), content)
        )

    def oversized_body(self, rng: random.Random) -> bytes:
        form = self.form([("file", "a.wav", bytes(self.largest))])
        if rng.random() < 0.5:
            return self.send(self.request("POST", rng.choice(AUDIO), form))
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(form), form)
        head = self.head("POST", rng.choice(AUDIO), ["Transfer-Encoding: chunked"])
        return self.send(head + chunks)

    def slow_sender(self, rng: random.Random) -> bytes:
        """Send slowly, then disconnect before the end."""
        request = self.request(
            "POST", rng.choice(AUDIO), self.form([("file", "a", self.recording)])
        )
        with self.connect() as connection:
            for _ in range(3):
                cut = rng.randrange(1, 400)
                connection.sendall(request[:cut])
                request = request[cut:]
                time.sleep(rng.random() * 0.2)
        return b""

    def not_a_recording(self, rng: random.Random) -> bytes:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a.wav", bytes(100_000))
        header = bytearray(self.recording[:44])
        header[rng.randrange(44)] = rng.randrange(256)
        data = rng.choice(
            (
                archive.getvalue(),
                "Dear all, \u00e4\u00f6\u00fc".encode() * 100,
                b"\x89PNG\r\n\x1a\n" + rng.randbytes(500),
                rng.randbytes(rng.randint(1, 3000)),
                self.recording[: rng.randrange(len(self.recording))],
                bytes(header) + self.recording[44:],
                b"#EXTM3U\nfile:///etc/passwd\n",
                b"ffconcat version 1.0\nfile /etc/passwd\n",
                b"<svg><image href='http://127.0.0.1/'/></svg>",
                b"OggS" + rng.randbytes(200),
                b"fLaC" + rng.randbytes(200),
                b"ID3" + rng.randbytes(200),
                b"\x1aE\xdf\xa3" + rng.randbytes(200),
            )
        )
        parts = [("file", rng.choice(("a.wav", "a.mp3", "a.m3u8", "a")), data)]
        if rng.random() < 0.5:
            parts.append(("text", None, b"one"))
        return self.send(self.request("POST", rng.choice(AUDIO), self.form(parts)))

    def path_as_name(self, rng: random.Random) -> bytes:
        form = self.form([("file", rng.choice(NAMES), self.recording), ("text", None, b"three")])
        return self.send(self.request("POST", rng.choice(AUDIO), form))

    def wrong_token(self, rng: random.Random) -> bytes:
        token = rng.choice(("", "Bearer", "Bearer x", "Basic eDp5", "Bearer " + "\xff" * 40))
        form = self.form([("file", "a.wav", self.recording)])
        return self.send(
            self.request("POST", rng.choice(AUDIO), form, extra=[f"Authorization: {token}"])
        )

    def disconnect_before_response(self, rng: random.Random) -> bytes:
        request = self.request("POST", AUDIO[0], self.form([("file", "a", self.recording)]))
        with self.connect() as connection:
            connection.sendall(request[: rng.choice((100, len(request) // 2, len(request)))])
            time.sleep(rng.choice((0.0, 0.05)))
        return b""

    def disconnect_while_streaming(self, rng: random.Random) -> bytes:
        parts: list[tuple[str, str | None, bytes]] = [("file", "a.wav", self.recording)]
        form = self.form([*parts, ("stream", None, b"true")])
        with self.connect() as connection:
            connection.sendall(self.request("POST", AUDIO[0], form))
            connection.recv(rng.randint(1, 100))
            return b"(disconnected)"

    def bad_json(self, rng: random.Random) -> bytes:
        value: object = rng.choice(VALUES)
        texts: tuple[object, ...] = (
            value, 1, None, [], [[]], {"a": 1}, ["a", 1], [None], ["a"] * 5000, "a" * 20_000,
            "\ud800", "\x00", "\u202e" * 30,
        )  # fmt: skip
        body = rng.choice(
            (
                json.dumps({"text": rng.choice(texts), rng.choice(("model", "n_best")): value}),
                "[" * 50_000,
                '{"text": ' + "9" * 6000 + "}",
                '{"text": NaN}',
                '"text"',
                "{",
                "\ufeff{}",
            )
        )
        return self.send(self.request("POST", "/v1/translate", body.encode(), "application/json"))

    def odd_path(self, rng: random.Random) -> bytes:
        paths = ("/page/../../../../etc/passwd", "/page/%2e%2e/%2e%2e/app.py", "/page/..%2fapp.py",
                 "/%00", "//etc/passwd", "/v1", "/?" + "a" * 9000, "/page/", "/page", "*",
                 rng.choice(ROUTES))  # fmt: skip
        method = rng.choice(("GET", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "PATCH"))
        return self.send(self.request(method, rng.choice(paths), b""))

    def not_http(self, rng: random.Random) -> bytes:
        return self.send(
            rng.choice((rng.randbytes(200), b"\x16\x03\x01\x02\x00", b"GET / HTTP/9\r\n\r\n",
                        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 20_000 + b"\r\n"))
        )  # fmt: skip

    def form(self, parts: list[tuple[str, str | None, bytes]]) -> bytes:
        """Encode (name, filename, content) parts as a multipart form, without escaping."""
        body = b""
        for name, filename, content in parts:
            shown = "" if filename is None else f'; filename="{filename}"'
            head = f'--b\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'
            body += head.encode("utf-8", "replace") + content + b"\r\n"
        return body + b"--b--\r\n"

    def head(self, method: str, path: str, extra: list[str]) -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.host}",
            "Connection: close",
            "Content-Type: multipart/form-data; boundary=b",
            *extra,
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")

    def request(
        self, method: str, path: str, body: bytes, content: str = "", extra: list[str] | None = None
    ) -> bytes:
        head = self.head(method, path, [f"Content-Length: {len(body)}", *(extra or [])])
        if content:
            head = head.replace(b"multipart/form-data; boundary=b", content.encode())
        return head + body

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=TIMEOUT)

    def send(self, request: bytes) -> bytes:
        """Send as much of a request as the server reads, and return the complete response."""
        with self.connect() as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR) if request[:4] not in (b"POST",) else None
            except ConnectionError:
                pass  # refused while sending; there may still be a response
            answer = b""
            while data := connection.recv(65536):
                answer += data
            return answer


def problem(answer: bytes) -> str | None:
    """Problem with a response; None if there is none."""
    if not answer or answer.startswith(b"("):
        return None  # the client disconnected or got no response
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    if status >= 500:
        return f"status {status}"
    for secret in (b"Traceback", b'File "', b"site-packages", b"root:"):
        if secret in body:
            return f"reveals {secret!r}"
    if status >= 400 and b"application/json" in head and b"HEAD" not in head:
        error = json.loads(body)["error"] if body else {"message": "-", "type": "-"}
        if not error["message"] or not error["type"]:
            return "empty error message or type"
    return None


def attack(
    url: str, recording: bytes, *, count: int, seed: int, clients: int, largest: int
) -> tuple[Counter[str], list[str]]:
    """Attack a server; returns counts per kind and status, and the problems found."""
    hostile = Hostile(url, recording, largest)

    def one(number: int) -> tuple[str, bytes]:
        return hostile.attack(random.Random(f"{seed} {number}"))

    counts: Counter[str] = Counter()
    problems = []
    with ThreadPoolExecutor(clients) as pool:
        for number, (kind, answer) in enumerate(pool.map(one, range(count))):
            status = answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/") else "-"
            counts[f"{kind} {status}"] += 1
            if wrong := problem(answer):
                problems.append(f"request {number} ({kind}): {wrong}")
    return counts, problems


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("recording", type=argparse.FileType("rb"))
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--largest", type=int, default=1024**2, help="bytes of --max-upload")
    options = parser.parse_args()
    counts, problems = attack(
        options.url,
        options.recording.read(),
        count=options.count,
        seed=options.seed,
        clients=options.clients,
        largest=options.largest,
    )
    for line in [*(f"{count:6} {kind}" for kind, count in sorted(counts.items())), *problems]:
        print(line)
    raise SystemExit(bool(problems))


if __name__ == "__main__":
    main()
