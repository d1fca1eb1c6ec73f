"""Live transcription over a WebSocket, in the shape of OpenAI's transcription sessions.

A client appends audio and receives committed words as deltas. An utterance ends at a silence, or
when the client commits its audio; it is an item with an id, whose complete transcript is then sent.
Each session has a window of audio (`asr_s2s.live`), and the windows of all sessions are decoded in
common batches.
"""

import asyncio
from contextlib import ExitStack, suppress
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.types import Message

from asr_s2s.errors import UserError
from asr_s2s.live import LiveStream, LiveUpdate, live_options
from asr_s2s.serve.places import client_of
from asr_s2s.serve.refusals import RefusedError, error_body, quoted, to_refused_error
from asr_s2s.serve.service import Service
from asr_s2s.serve.session import Session, read_event, read_samples
from asr_s2s.text.words import join_texts

PATH = "/v1/realtime"
SUBPROTOCOL = "realtime"
"""Subprotocol that OpenAI's clients offer."""
IDLE_SECONDS = 60.0
"""Seconds without a message after which a session is closed."""
MOST_WAITING = 20.0
"""Seconds of audio that may wait for decoding; then no messages are read until there are fewer."""
CLOSE_CODES = {429: 1013, 503: 1012, 408: 1008, 500: 1011}
"""WebSocket close codes by the status of the error that ends a session; 1008 for others."""
_TRANSCRIPTION = "conversation.item.input_audio_transcription"


def realtime_routes(service: Service) -> APIRouter:
    """Create the route of live transcription."""
    router = APIRouter()

    @router.websocket(PATH)
    async def realtime(socket: WebSocket) -> None:
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        connection = _Connection(socket, service)
        try:
            with ExitStack() as held:
                held.enter_context(service.request())
                held.enter_context(service.session(client_of(socket.scope)))
                async with service.until_stopped():
                    await connection.run()
        except WebSocketDisconnect:
            pass
        except Exception as error:
            refusal = to_refused_error(error)
            with suppress(WebSocketDisconnect, RuntimeError):  # the client may have left
                await connection.report(refusal)
                await socket.close(CLOSE_CODES.get(refusal.status, 1008), refusal.code)
            if refusal.status == 500:
                raise  # for the log

    @router.get(PATH, include_in_schema=False)
    async def no_websocket() -> None:
        """Refuse requests that are not WebSockets, or that the server cannot upgrade."""
        message = (
            "Connect with a WebSocket; the server needs the package websockets "
            "(pip install 'asr-s2s[serve]')."
        )
        raise RefusedError(426, message, "no_websocket", headers={"Upgrade": "websocket"})

    return router


class _Connection:
    """A session: receives the events of a client, and sends those of its transcription."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self.socket = socket
        self.service = service
        self.id = f"sess_{uuid4().hex}"
        self.session = Session().updated(
            "session.update",
            {"audio": {"input": {"transcription": {"model": _named_model(socket)}}}},
        )
        self.model = ""  # name of the model that was chosen
        self.stream: LiveStream | None = None  # begins with the first audio of an item
        self.added = asyncio.Event()  # set when there may be audio to decode
        self.drained = asyncio.Event()  # set after decoding
        self.decoding = asyncio.Lock()
        self.item = _new_item()
        self.previous: str | None = None
        self.transcript = ""
        self.tentative = ""
        self.item_samples = 0

    async def run(self) -> None:
        """Serve the session until the client leaves.

        Raises:
            RefusedError: the session is idle, or its model does not exist.
            Exception: decoding failed.
        """
        self.model, _ = self.service.transcriber(self.session.audio.input.transcription.model)
        await self._send("session.created", session=self._shown())
        tasks = [asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._decode())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)  # let them clean up

    async def report(self, refusal: RefusedError, event_id: object = None) -> None:
        """Send an error; `event_id` is that of the client's event."""
        error = error_body(refusal)["error"] | {"event_id": event_id}
        await self._send("error", error=error)

    def _begin(self, session: Session) -> LiveStream:
        """Begin a stream with the settings of a session, and return it.

        Raises:
            RefusedError, UserError: the model or the language cannot be used.
        """
        chosen = session.audio.input
        fields = chosen.transcription
        name, speech = self.service.transcriber(fields.model)
        options = speech.options(language=fields.language, words=True, phrases=fields.phrases)
        turns = chosen.turn_detection
        silence = {} if turns is None else {"silence": turns.silence_duration_ms / 1000}
        checked = live_options(speech.transcriber, options)
        stream = LiveStream(sample_rate=chosen.format.rate, **silence)
        self.model, self.speech, self.options = name, speech, checked
        self.session, self.stream = session, stream
        return stream

    def _shown(self) -> dict[str, Any]:
        """Settings as they are sent to the client."""
        shown = self.session.model_dump()
        shown["audio"]["input"]["transcription"]["model"] = self.model
        return {"id": self.id, "object": "realtime.transcription_session", **shown}

    async def _receive(self) -> None:
        """Receive events until the client leaves."""
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    message = await self.socket.receive()
            except TimeoutError:
                text = f"The session was idle for {IDLE_SECONDS:g} s. Connect again."
                raise RefusedError(408, text, "idle") from None
            if message["type"] == "websocket.disconnect":
                return
            await self._handle(message)

    async def _handle(self, message: Message) -> None:
        """Handle a message; a mistake in it is reported, and the session goes on."""
        event: dict[str, Any] = {}
        try:
            event = read_event(message.get("text"))
            match event["type"]:
                case "input_audio_buffer.append":
                    await self._append(event)
                case "input_audio_buffer.commit":
                    await self._commit()
                case "input_audio_buffer.clear":
                    await self._clear()
                    await self._send("input_audio_buffer.cleared")
                case "session.update" | "transcription_session.update" as kind:
                    await self._update(kind, event.get("session"))
                case kind:
                    text = f"type: there is no event {quoted(kind)}."
                    raise RefusedError(400, text, "invalid_value", param="type")
        except (RefusedError, UserError) as error:
            await self.report(to_refused_error(error), event.get("event_id"))

    async def _append(self, event: dict[str, Any]) -> None:
        samples = read_samples(event)
        stream = self.stream or self._begin(self.session)
        stream.add(samples)
        self.item_samples += len(samples)
        self.added.set()
        while stream.waiting > MOST_WAITING:
            self.drained.clear()
            await self.drained.wait()

    async def _commit(self) -> None:
        """End the utterance with all audio received so far."""
        async with self.decoding:
            if self.stream is None or not self.item_samples:
                text = "There is no audio to commit. Append some before."
                raise RefusedError(400, text, "input_audio_buffer_commit_empty")
            self.stream.close()
            await self._decode_due(committing=True)
            await self._complete()
            self.stream = None

    async def _clear(self) -> None:
        """Drop the audio that is not committed."""
        async with self.decoding:
            self.stream = None
            self._next_item()

    async def _update(self, kind: str, values: object) -> None:
        """Change the settings; audio received so far is an utterance with the old ones."""
        session = self.session.updated(kind, values)
        if self.item_samples:
            await self._commit()
        async with self.decoding:
            self._begin(session)
        await self._send(f"{kind}d", session=self._shown())

    async def _decode(self) -> None:
        """Decode whenever there is enough new audio."""
        while True:
            await self.added.wait()
            self.added.clear()
            async with self.decoding:
                await self._decode_due()
            self.drained.set()

    async def _decode_due(self, committing: bool = False) -> None:
        """Decode what is due, and send the words; called with `decoding` held.

        Args:
            committing: whether the client commits the audio, so that silences end no item.
        """
        turns = self.session.audio.input.turn_detection is not None and not committing
        stream = self.stream
        while stream is not None and (piece := stream.next_piece()) is not None:
            future = self.speech.batcher.submit(self.options, len(piece.samples), piece)
            async with asyncio.timeout(self.service.limits.seconds):
                segment = await asyncio.wrap_future(future)
            update = stream.accept(segment)
            await self._send_words(update)
            if update.ended and turns and self.transcript:
                await self._complete()

    async def _send_words(self, update: LiveUpdate) -> None:
        """Send new committed words, and tentative ones if they changed."""
        if update.committed:
            before = self.transcript
            self.transcript = join_texts([before, update.text])
            await self._send_of_item("delta", delta=self.transcript[len(before) :])
        if update.tentative_text != self.tentative:
            self.tentative = update.tentative_text
            await self._send_of_item("tentative", text=self.tentative)

    async def _complete(self) -> None:
        """Send the transcript of the item, and begin the next one."""
        seconds = self.item_samples / self.session.audio.input.format.rate
        self.service.metrics.audio.inc(seconds)
        await self._send(
            "input_audio_buffer.committed", item_id=self.item, previous_item_id=self.previous
        )
        usage = {"type": "duration", "seconds": round(seconds, 3)}
        await self._send_of_item("completed", transcript=self.transcript, usage=usage)
        self.previous = self.item
        self._next_item()

    def _next_item(self) -> None:
        self.item = _new_item()
        self.transcript = self.tentative = ""
        self.item_samples = 0

    async def _send_of_item(self, kind: str, **fields: object) -> None:
        await self._send(f"{_TRANSCRIPTION}.{kind}", item_id=self.item, content_index=0, **fields)

    async def _send(self, kind: str, **fields: object) -> None:
        event = {"type": kind, "event_id": f"event_{uuid4().hex}", **fields}
        await self.socket.send_json(event)


def _named_model(socket: WebSocket) -> str:
    """Model in the address of a session; empty if there is none."""
    return socket.query_params.get("model", "")


def _new_item() -> str:
    return f"item_{uuid4().hex}"
