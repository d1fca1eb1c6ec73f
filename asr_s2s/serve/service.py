"""Loaded models of a server, and limits on their work."""

import asyncio
import math
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from asr_s2s.pipeline import BATCH_SECONDS, Transcriber
from asr_s2s.serve.metrics import Metrics
from asr_s2s.serve.refusals import RefusedError
from asr_s2s.serve.speech import Speech
from asr_s2s.serve.text import Text
from asr_s2s.translator import Translator

CPU_BATCH_SECONDS = 90.0
"""Seconds of audio decoded together on a CPU; larger batches delay queued requests."""

Model = TypeVar("Model")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Limits:
    """Limits on requests."""

    upload: int = 200 * 1024**2
    """Maximum bytes of a request."""
    requests: int = 100
    """Maximum concurrent requests; others are refused with status 429."""
    seconds: float = 600.0
    """Maximum processing time of a request, in seconds, after its upload."""


class Service:
    """Loaded models by name, and the number of requests in progress.

    Args:
        models: one or more models; the first of each kind serves requests that name no loaded one.
        limits: limits on requests.
        batch_seconds: seconds of audio decoded together, padding included; by default
            `CPU_BATCH_SECONDS` on a CPU, else `pipeline.BATCH_SECONDS`.
        workers: number of decoding threads per model.
    """

    def __init__(
        self,
        models: Mapping[str, Transcriber | Translator],
        limits: Limits = Limits(),
        batch_seconds: float | None = None,
        workers: int = 1,
    ) -> None:
        self.limits = limits
        self.metrics = Metrics()
        self.stopping = Event()
        """Set when the server is shutting down."""
        self.speech: dict[str, Speech] = {}
        self.text: dict[str, Text] = {}
        self._active = 0
        for name, model in models.items():
            report = self.metrics.reporter(name)
            if isinstance(model, Transcriber):
                default = CPU_BATCH_SECONDS if model.device.type == "cpu" else BATCH_SECONDS
                self.speech[name] = Speech(
                    model,
                    recordings=limits.requests,
                    batch_seconds=batch_seconds or default,
                    workers=workers,
                    report=report,
                )
            else:
                self.text[name] = Text(model, workers=workers, report=report)
        self.parts: list[Speech | Text] = [*self.speech.values(), *self.text.values()]
        for name, part in zip((*self.speech, *self.text), self.parts, strict=True):
            self.metrics.waiting.labels(name).set_function(part.batcher.count)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Occupy one of the server's request slots within the context.

        Raises:
            RefusedError: all slots are in use; the response has a Retry-After header.
        """
        if self._active >= self.limits.requests:
            raise RefusedError(
                429,
                f"The server is busy with {self._active} requests. Send the request again later.",
                "busy",
                headers={"Retry-After": str(self._retry_after())},
            )
        self._active += 1
        self.metrics.active.inc()
        try:
            yield
        finally:
            self._active -= 1
            self.metrics.active.dec()

    def _retry_after(self) -> int:
        """Seconds after which a refused client should retry, 1 to 60."""
        return min(60, max(1, *(math.ceil(part.batcher.delay()) for part in self.parts)))

    def transcriber(self, name: str) -> Speech:
        """Find the model of this name, else the first that transcribes speech.

        Raises:
            RefusedError: there is no such model.
        """
        return _choose(self.speech, name, "transcribes speech")

    def translator(self, name: str) -> Text:
        """Find the model of this name, else the first that translates text.

        Raises:
            RefusedError: there is no such model.
        """
        return _choose(self.text, name, "translates text")

    def speech_translator(self, name: str) -> Speech:
        """Find the speech model of this name, else the first, among those that translate speech.

        Raises:
            RefusedError: there is no such model.
        """
        able = {
            key: speech for key, speech in self.speech.items() if speech.transcriber.output.targets
        }
        return _choose(able, name, "translates speech")

    def abandon(self) -> None:
        """Fail all queued work with `StoppedError`."""
        for part in self.parts:
            part.batcher.abandon()

    def close(self) -> None:
        """Finish all queued work and end the threads."""
        for part in self.parts:
            part.close()


def _choose(models: Mapping[str, Model], name: str, task: str) -> Model:
    if not models:
        message = f"No model that {task} is loaded. Start the server with --model MODEL."
        raise RefusedError(400, message, "no_model", param="model")
    return models.get(name) or next(iter(models.values()))


async def until_disconnect(receive: Receive, work: Awaitable[Result]) -> Result:
    """Await work, which is canceled if the client disconnects first.

    Raises:
        ClientDisconnect: the client disconnected.
    """
    working = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({working, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        disconnect.cancel()
        if working.cancel():  # let it clean up before the request ends
            await asyncio.wait({working})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
