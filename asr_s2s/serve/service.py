"""The models that a server holds, and what bounds the work they are given."""

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
"""Of audio decoded together on a CPU: with more, those who wait for it wait longer."""

Model = TypeVar("Model")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Limits:
    """What a server takes on."""

    upload: int = 200 * 1024**2
    """Bytes of a request."""
    requests: int = 100
    """Answered at the same time; more are sent away."""
    seconds: float = 600.0
    """That a request may take once it has been read."""


class Service:
    """Models by name, and the places of requests.

    Args:
        models: at least one; of each kind the first serves requests that name none of them.
        limits: of the server.
        batch_seconds: seconds of audio decoded together, padding included; by default what suits
            the model's device.
        workers: threads that decode, for each model.
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
        """Set when no more is begun."""
        self.speech: dict[str, Speech] = {}
        self.text: dict[str, Text] = {}
        self._taken = 0
        for name, model in models.items():
            report = self.metrics.reporter(name)
            if isinstance(model, Transcriber):
                small = CPU_BATCH_SECONDS if model.device.type == "cpu" else BATCH_SECONDS
                self.speech[name] = Speech(
                    model,
                    recordings=limits.requests,
                    batch_seconds=batch_seconds or small,
                    workers=workers,
                    report=report,
                )
            else:
                self.text[name] = Text(model, workers=workers, report=report)
        self.parts: list[Speech | Text] = [*self.speech.values(), *self.text.values()]
        for name, part in zip((*self.speech, *self.text), self.parts, strict=True):
            self.metrics.waiting.labels(name).set_function(part.batcher.count)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a request's place while it is served.

        Raises:
            RefusedError: all are taken; the client is told when to come again.
        """
        if self._taken >= self.limits.requests:
            raise RefusedError(
                429,
                f"The server is busy with {self._taken} requests. Send it again in a while.",
                "busy",
                headers={"Retry-After": str(self._delay())},
            )
        self._taken += 1
        self.metrics.active.inc()
        try:
            yield
        finally:
            self._taken -= 1
            self.metrics.active.dec()

    def _delay(self) -> int:
        """Seconds until it is worth while to come again."""
        return min(60, max(1, *(math.ceil(part.batcher.delay()) for part in self.parts)))

    def transcriber(self, name: str) -> Speech:
        """The model of that name, or else the first that transcribes.

        Raises:
            RefusedError: there is none.
        """
        return _chosen(self.speech, name, "transcribes speech")

    def translator(self, name: str) -> Text:
        """The model of that name, or else the first that translates text.

        Raises:
            RefusedError: there is none.
        """
        return _chosen(self.text, name, "translates text")

    def speech_translator(self, name: str) -> Speech:
        """A model that writes speech in several languages, and so can be asked for another one.

        Raises:
            RefusedError: there is none.
        """
        several = {key: speech for key, speech in self.speech.items() if len(speech.languages) > 1}
        return _chosen(several, name, "translates speech")

    def give_up(self) -> None:
        """Answer what waits for the decoder with `StoppedError`."""
        for part in self.parts:
            part.batcher.abandon()

    def close(self) -> None:
        """Finish what was begun, and end the threads."""
        for part in self.parts:
            part.close()


def _chosen(models: Mapping[str, Model], name: str, does: str) -> Model:
    if not models:
        message = f"No model that {does} is loaded here. Start the server with one, --model."
        raise RefusedError(400, message, "no_model", param="model")
    return models.get(name) or next(iter(models.values()))


async def unless_left(receive: Receive, work: Awaitable[Result]) -> Result:
    """What some work results in; it is canceled if the client leaves before.

    Raises:
        ClientDisconnect: the client has left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        if working.cancel():  # it cleans up before the request ends
            await asyncio.wait({working})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
