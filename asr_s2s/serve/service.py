"""Loaded models of a server, and limits on their work."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from threading import Event
from typing import NamedTuple, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from asr_s2s.errors import UserError
from asr_s2s.pipeline import BATCH_SECONDS, Transcriber
from asr_s2s.serve.batcher import StoppedError
from asr_s2s.serve.metrics import Metrics
from asr_s2s.serve.places import Places
from asr_s2s.serve.refusals import RefusedError, quoted
from asr_s2s.serve.speech import Speech
from asr_s2s.serve.text import Text
from asr_s2s.translator import Translator

CPU_BATCH_SECONDS = 90.0
"""Seconds of audio decoded together on a CPU; larger batches delay queued requests."""
OPENAI_NAMES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
"""Model names of OpenAI's clients; without an alias, they select the first model for the task."""

Model = TypeVar("Model")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Limits:
    """Limits on requests."""

    upload: int = 200 * 1024**2
    """Maximum bytes of a request."""
    requests: int = 100
    """Maximum requests whose bodies are complete; others are refused with status 429."""
    client_requests: int | None = None
    """Maximum of these requests of one client; None for no limit per client."""
    uploads: int = 500
    """Maximum bodies that are received at the same time; one client can send half of them."""
    sessions: int = 20
    """Maximum sessions of live transcription at the same time."""
    client_sessions: int | None = None
    """Maximum sessions of one client; None for no limit per client."""
    seconds: float = 600.0
    """Maximum processing time of a request, in seconds, after its upload."""


class ModelEntry(NamedTuple):
    """A loaded model, as listed by the API."""

    name: str
    task: str
    """`transcribe` or `translate`"""
    languages: Sequence[str]
    aliases: Sequence[str]
    """Other names that select this model."""


class Service:
    """Loaded models by name, and the number of requests in progress.

    Args:
        models: one or more models; the first of each kind serves requests that name none.
        limits: limits on requests.
        batch_seconds: seconds of audio decoded together, padding included; by default
            `CPU_BATCH_SECONDS` on a CPU, else `pipeline.BATCH_SECONDS`.
        workers: number of decoding threads per model.
        aliases: other names of models, and the models that they select. `OPENAI_NAMES` are aliases
            of the first model for the task unless they are given here.

    Raises:
        UserError: an alias is the name of a loaded model, or selects none.
    """

    def __init__(
        self,
        models: Mapping[str, Transcriber | Translator],
        limits: Limits = Limits(),
        batch_seconds: float | None = None,
        workers: int = 1,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.limits = limits
        self.aliases = dict(aliases or {})
        check_aliases(self.aliases, models)
        self.metrics = Metrics()
        self.stopping = Event()
        """Set when the server is shutting down."""
        self.speech: dict[str, Speech] = {}
        self.text: dict[str, Text] = {}
        self._places = Places(limits.requests, limits.client_requests or limits.requests)
        self._uploads = Places(limits.uploads, max(1, limits.uploads // 2))
        self._sessions = Places(limits.sessions, limits.client_sessions or limits.sessions)
        self._end: float | None = None  # time of the event loop at which requests are refused
        self._timeouts: set[asyncio.Timeout] = set()
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
    def request(self) -> Iterator[None]:
        """Count a request as active within the context."""
        self.metrics.active.inc()
        try:
            yield
        finally:
            self.metrics.active.dec()

    @contextmanager
    def upload(self, client: str) -> Iterator[None]:
        """Occupy one of the places for bodies that are being received within the context.

        Raises:
            RefusedError: there is no such place, or no place to process the request.
        """
        self._check(self._places, client)  # spares clients an upload in vain
        self._check(self._uploads, client)
        with self._uploads.take(client):
            yield

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Occupy one of the places for requests whose bodies are complete within the context.

        Raises:
            RefusedError: there is no such place.
        """
        self._check(self._places, client)
        with self._places.take(client):
            yield

    @contextmanager
    def session(self, client: str) -> Iterator[None]:
        """Occupy one of the places for sessions of live transcription within the context.

        Raises:
            RefusedError: there is no such place.
        """
        self._check(self._sessions, client)
        with self._sessions.take(client):
            yield

    def _check(self, places: Places, client: str) -> None:
        """Refuse a client for which no place is left, with a Retry-After header."""
        if problem := places.problem(client):
            raise RefusedError(
                429,
                f"{problem}. Send the request again later.",
                "busy",
                headers={"Retry-After": str(self._retry_after())},
            )

    def _retry_after(self) -> int:
        """Seconds after which a refused client should retry, 1 to 60."""
        return min(60, max(1, *(math.ceil(part.batcher.delay()) for part in self.parts)))

    def entries(self) -> list[ModelEntry]:
        """All loaded models."""
        kinds = (("transcribe", self.speech), ("translate", self.text))
        return [
            ModelEntry(name, task, part.languages, self._aliases_of(name))
            for task, parts in kinds
            for name, part in parts.items()
        ]

    def entry(self, name: str) -> ModelEntry:
        """Find a model by its name or an alias.

        Raises:
            RefusedError: there is no such model.
        """
        for entry in self.entries():
            if name == entry.name or name in entry.aliases:
                return entry
        raise _unknown_model(name, [*self.speech, *self.text])

    def _aliases_of(self, name: str) -> list[str]:
        own = [alias for alias, model in self.aliases.items() if model == name]
        first = next(iter([*self.speech, *self.text]))
        return own + [a for a in OPENAI_NAMES if name == first and a not in self.aliases]

    def transcriber(self, name: str) -> tuple[str, Speech]:
        """Find the model of a request by its name, or the first that transcribes speech.

        Raises:
            RefusedError: there is no such model.
        """
        return self._choose(self.speech, name, "transcribes speech")

    def translator(self, name: str) -> tuple[str, Text]:
        """Find the model of a request by its name, or the first that translates text.

        Raises:
            RefusedError: there is no such model.
        """
        return self._choose(self.text, name, "translates text")

    def speech_translator(self, name: str) -> tuple[str, Speech]:
        """Find the model of a request by its name, or the first that translates speech.

        Raises:
            RefusedError: there is no such model.
        """
        able = {
            key: speech for key, speech in self.speech.items() if speech.transcriber.output.targets
        }
        return self._choose(able, name, "translates speech")

    def _choose(self, models: Mapping[str, Model], name: str, task: str) -> tuple[str, Model]:
        """Find a model among those for a task; returns its own name too."""
        if not models:
            message = f"No model that {task} is loaded. Start the server with --model MODEL."
            raise RefusedError(400, message, "no_model", param="model")
        wanted = self.aliases.get(name, name)
        if not wanted or (wanted in OPENAI_NAMES and wanted not in models):
            return next(iter(models.items()))
        if wanted in models:
            return wanted, models[wanted]
        if wanted in self.speech or wanted in self.text:
            message = f"model: {wanted} is not a model that {task}. Use {', '.join(models)}."
            raise RefusedError(400, message, "wrong_model", param="model")
        raise _unknown_model(wanted, models)

    @asynccontextmanager
    async def until_stopped(self) -> AsyncIterator[None]:
        """Run the block until the server's time to shut down is over.

        Raises:
            StoppedError: it is over.
        """
        try:
            async with asyncio.timeout_at(self._end) as timeout:
                self._timeouts.add(timeout)
                try:
                    yield
                finally:
                    self._timeouts.discard(timeout)
        except TimeoutError:
            if timeout.expired():
                raise StoppedError from None
            raise

    def stop_at(self, end: float) -> None:
        """Refuse all requests that are not finished at this time of the event loop."""
        self._end = end
        for timeout in self._timeouts:
            timeout.reschedule(end)

    def abandon(self) -> None:
        """Fail all queued work with `StoppedError`."""
        for part in self.parts:
            part.batcher.abandon()

    def close(self) -> None:
        """Finish all queued work and end the threads."""
        for part in self.parts:
            part.close()


def check_aliases(aliases: Mapping[str, str], models: Mapping[str, object]) -> None:
    """Check that each alias is a new name, and selects a model.

    Raises:
        UserError: it does not.
    """
    for alias, model in aliases.items():
        if alias in models:
            problem = f"{alias} is the name of a loaded model"
            raise UserError(f"--alias {alias}={model}", problem, "Choose another name")
        if model not in models:
            problem = f"there is no loaded model {model}"
            fix = f"Use one of {', '.join(models)}"
            raise UserError(f"--alias {alias}={model}", problem, fix)


def _unknown_model(name: str, models: Iterable[str]) -> RefusedError:
    message = f"model: there is no model {quoted(name)}. Use {', '.join(models)}."
    return RefusedError(404, message, "model_not_found", param="model")


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
