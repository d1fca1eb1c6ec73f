"""Recordings to segments: read in threads, decoded together with those of other clients."""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import takewhile
from threading import Event, Lock, Semaphore
from typing import Any, BinaryIO

from asr_s2s.audio.decode import stream_audio
from asr_s2s.audio.segment import Detected, EnergyDetector, SpeechDetector
from asr_s2s.audio.waveform import SAMPLE_RATE, SHORTEST, Waveform, concatenate
from asr_s2s.errors import AudioError
from asr_s2s.pipeline import Failure, Segment, Transcriber, Transcript, assemble
from asr_s2s.reading import End, Piece, read_pieces
from asr_s2s.search.phrases import WEIGHT, Phrases, make_phrases
from asr_s2s.serve.batcher import Batcher, BatchReport
from asr_s2s.serve.pictures import draw_attention_to

SPARE_PIECES = 24
"""Pieces beyond one of each recording that may wait for the decoder, so that a long recording alone
fills its batches, and many of them do not fill the memory."""


@dataclass(frozen=True)
class SpeechOptions:
    """How to decode; what differs here is not decoded together."""

    language: str | None = None
    beam_size: int | None = None
    words: bool = False
    phrases: tuple[str, ...] = ()
    automaton: Phrases | None = field(default=None, compare=False)
    """Of the phrases."""


class Speech:
    """A model that transcribes, for many clients at once.

    Args:
        transcriber: the model.
        recordings: most that are read at the same time.
        batch_seconds: seconds of audio decoded together, padding included.
        workers: threads that decode.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        *,
        recordings: int,
        batch_seconds: float,
        workers: int = 1,
        report: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        self.transcriber = transcriber
        self.batch_seconds = batch_seconds
        self.batcher: Batcher[SpeechOptions, Waveform, Segment | None] = Batcher(
            self._decode, int(batch_seconds * SAMPLE_RATE), workers=workers, report=report
        )
        self.readers = ThreadPoolExecutor(recordings, "reader")
        self.spare = Semaphore(SPARE_PIECES)
        self.drawing = Lock()

    @property
    def languages(self) -> Sequence[str]:
        """Those that the model writes, where it can be asked for one."""
        return self.transcriber.config.text.languages

    def options(
        self,
        *,
        language: str | None = None,
        beam_size: int | None = None,
        words: bool = False,
        phrases: Sequence[str] = (),
    ) -> SpeechOptions:
        """Options as a client gives them; a language counts only for a model of several.

        Raises:
            UserError: the model does not write the language, or cannot write a phrase.
        """
        language = language if self.languages else None
        self.transcriber.output.prompt(language, "language")
        automaton = None
        if phrases:
            output = self.transcriber.output
            weighted = [(phrase, WEIGHT) for phrase in phrases]
            automaton = make_phrases(weighted, output.tokenizer, output.normalize, "prompt")
            automaton = automaton.to(self.transcriber.device)
        return SpeechOptions(language, beam_size, words, tuple(phrases), automaton)

    def begin(
        self, file: BinaryIO, name: str, options: SpeechOptions, time_limit: float
    ) -> "Recording":
        """Begin to read and decode a recording.

        Args:
            file: is closed when it has been read.
            name: what errors call the recording.
            time_limit: seconds from now until its last segment must have come.
        """
        recording = Recording(self, file, name, options, time_limit)
        self.readers.submit(recording.read)
        return recording

    async def attention(
        self,
        file: BinaryIO,
        name: str,
        start: float,
        duration: float,
        text: str,
        options: SpeechOptions,
        time_limit: float,
    ) -> dict[str, Any]:
        """Where attention rests in a part of a recording while its text is written.

        Args:
            file: is closed when it has been read.
            start, duration: of the part, in seconds.

        Raises:
            AudioError: the recording cannot be read, or has no such part.
            TimeoutError: the time is up.
        """
        unwanted = Event()

        def draw() -> dict[str, Any]:
            with file:
                samples = _excerpt(file, name, start, duration, unwanted)
            with self.drawing:  # one at a time: the decoder wants its cores
                return draw_attention_to(self.transcriber, samples, text, options.language)

        drawn = asyncio.get_running_loop().run_in_executor(self.readers, draw)
        try:
            async with asyncio.timeout(time_limit):
                return await drawn
        finally:
            unwanted.set()

    def close(self) -> None:
        """Finish what was begun, and end the threads."""
        self.readers.shutdown()
        self.batcher.close()

    def _decode(
        self, options: SpeechOptions, waveforms: Sequence[Waveform]
    ) -> list[Segment | None]:
        """A batch of pieces to their segments, each as if it began at 0 s; None for silence."""
        transcriber = copy(self.transcriber)  # of the same model, with phrases of its own
        transcriber.phrases = options.automaton
        segments = []
        for result in transcriber.stream(
            waveforms,
            language=options.language,
            beam_size=options.beam_size,
            words=options.words,
            batch_seconds=self.batch_seconds,
        ):
            if isinstance(result, Failure):
                raise result.error
            segments.append(result.segments[0] if result.segments else None)
        return segments


class Recording:
    """An upload on its way through the decoder."""

    def __init__(
        self,
        speech: Speech,
        file: BinaryIO,
        name: str,
        options: SpeechOptions,
        time_limit: float,
    ) -> None:
        self.speech = speech
        self.file = file
        self.name = name
        self.options = options
        self.loop: AbstractEventLoop = asyncio.get_running_loop()
        self.deadline = self.loop.time() + time_limit
        self.unwanted = Event()
        self.own = Semaphore(1)  # room for one piece that no other recording can take
        self.items: asyncio.Queue[tuple[Piece, Future[Segment | None]] | End | Exception] = (
            asyncio.Queue()
        )

    async def results(self) -> AsyncIterator[Segment | Transcript]:
        """Each segment as soon as it is known, in order, and in the end the whole transcript.

        Raises:
            UserError: nothing of the recording can be used.
            TimeoutError: the time is up.
            StoppedError: the server stops.
        """
        segments: list[Segment] = []
        try:
            while True:
                async with asyncio.timeout_at(self.deadline):
                    item = await self.items.get()
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, End):
                    break
                piece, future = item
                async with asyncio.timeout_at(self.deadline):
                    segment = await asyncio.wrap_future(future)
                if segment is not None:
                    segments.append(_shifted(segment, piece))
                    yield segments[-1]
        finally:
            self.leave()
        result = assemble(item, tuple(segments))
        if isinstance(result, Failure):
            raise result.error
        yield result

    def leave(self) -> None:
        """Read and decode no further: nobody wants it."""
        self.unwanted.set()
        while not self.items.empty():
            item = self.items.get_nowait()
            if isinstance(item, tuple):
                item[1].cancel()

    def read(self) -> None:
        """Cut the recording into pieces and have them decoded; a reader thread's whole work."""
        detector = _Interruptible(EnergyDetector(), self.unwanted)
        pieces = read_pieces(self.file, self.name, SAMPLE_RATE, detector)
        try:
            with self.file, closing(pieces):
                for item in pieces:
                    if self.unwanted.is_set():
                        return
                    self._tell((item, self._submit(item)) if isinstance(item, Piece) else item)
        except Exception as error:  # raised again where the results are taken
            self._tell(error)

    def _submit(self, piece: Piece) -> "Future[Segment | None]":
        """Wait for room, and have a piece decoded."""
        room = self.own
        if not room.acquire(blocking=False):
            # Pieces that take this room are being decoded, so it never stays taken.
            room = self.speech.spare
            room.acquire()
        try:
            future = self.speech.batcher.submit(self.options, len(piece.samples), piece.samples)
        except BaseException:
            room.release()
            raise
        future.add_done_callback(lambda _: room.release())
        return future

    def _tell(self, item: tuple[Piece, "Future[Segment | None]"] | End | Exception) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens
            self.loop.call_soon_threadsafe(self.items.put_nowait, item)


class _Interruptible:
    """A detector that hears no more of a recording that nobody wants."""

    def __init__(self, detector: SpeechDetector, unwanted: Event) -> None:
        self.detector = detector
        self.frame = detector.frame
        self.unwanted = unwanted

    def detect(self, blocks: Iterable[Waveform]) -> Iterator[Detected]:
        return self.detector.detect(takewhile(lambda _: not self.unwanted.is_set(), blocks))


def _excerpt(file: BinaryIO, name: str, start: float, duration: float, unwanted: Event) -> Waveform:
    """A part of a recording `(samples,)`, read from its beginning so that it can be interrupted."""
    begin, end = round(start * SAMPLE_RATE), round((start + duration) * SAMPLE_RATE)
    position = 0
    parts: list[Waveform] = []
    for block in stream_audio(file, name=name):
        if unwanted.is_set() or position >= end:
            break
        parts.append(block[max(0, begin - position) : max(0, end - position)])
        position += len(block)
    samples = concatenate(parts)
    if len(samples) < SHORTEST * SAMPLE_RATE:
        raise AudioError(name, f"no audio is left after {start:g} s", "Correct the start")
    return samples


def _shifted(segment: Segment, piece: Piece) -> Segment:
    """A segment that was decoded on its own, at its place in the recording."""
    words = tuple(
        replace(word, start=piece.start + word.start, end=piece.start + word.end)
        for word in segment.words
    )
    return replace(
        segment, start=piece.start + segment.start, end=piece.start + segment.end, words=words
    )
