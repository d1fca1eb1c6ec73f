"""Speech requests: recordings are read in threads and decoded in batches across clients."""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import lru_cache
from itertools import takewhile
from threading import Event, Lock, Semaphore
from typing import Any, BinaryIO

from asr_s2s.audio.decode import stream_audio
from asr_s2s.audio.segment import Detected, EnergyDetector, SpeechDetector
from asr_s2s.audio.waveform import SAMPLE_RATE, SHORTEST, Waveform, concatenate
from asr_s2s.errors import AudioError
from asr_s2s.pipeline import Failure, Segment, Transcriber, Transcript, assemble
from asr_s2s.reading import End, Piece, read_pieces
from asr_s2s.search.options import DecodeOptions
from asr_s2s.search.phrases import WEIGHT, Phrases, make_phrases, split_writable
from asr_s2s.serve.batcher import Batcher, BatchReport
from asr_s2s.serve.pictures import speech_attention
from asr_s2s.sources import NamedSource

SPARE_PIECES = 24
"""Pieces that may be queued for decoding in addition to one per recording. A single long recording
can then fill batches, while many long recordings do not fill the memory."""
CACHED_PHRASES = 64
"""Lists of phrases kept for later requests with the same phrases."""


class Speech:
    """Serves a speech model to concurrent clients.

    Args:
        transcriber: the model.
        recordings: maximum number of recordings read at the same time.
        batch_seconds: seconds of audio decoded together, padding included.
        workers: number of decoding threads.
        report: called after every batch.
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
        self.batcher: Batcher[DecodeOptions, Piece, Segment] = Batcher(
            lambda options, pieces: transcriber.decode(pieces, options),
            int(batch_seconds * SAMPLE_RATE),
            workers=workers,
            report=report,
        )
        self.reader_pool = ThreadPoolExecutor(recordings, "reader")
        self.shared_slots = Semaphore(SPARE_PIECES)
        self.attention_lock = Lock()
        # Equal phrases must be the same object, so that requests with them share batches.
        self._phrases = lru_cache(maxsize=CACHED_PHRASES)(self._make_phrases)

    @property
    def languages(self) -> Sequence[str]:
        """Output languages that requests can choose from; empty if there is no choice."""
        return self.transcriber.config.text.languages

    def target(self, language: str | None) -> str:
        """Return the language of a translation, English if none is requested.

        Raises:
            UserError: the model does not translate speech into it.
        """
        return self.transcriber.output.target(language or "en", "language")

    def options(
        self,
        *,
        language: str | None = None,
        beam_size: int | None = None,
        words: bool = False,
        phrases: Sequence[str] = (),
    ) -> DecodeOptions:
        """Check a client's options; the language is ignored if the model has no `languages`, and
        words of phrases that the model cannot write are left out.

        Raises:
            UserError: an option, such as a language, is not supported by the model.
        """
        options = DecodeOptions(
            language=language if self.languages else None,
            beam_size=beam_size,
            words=words,
            phrases=self._phrases(tuple(phrases))[0],
        )
        return self.transcriber.check(options)

    def left_out(self, phrases: Sequence[str]) -> Sequence[str]:
        """Words of phrases that the model cannot write."""
        return self._phrases(tuple(phrases))[1]

    def begin(
        self, file: BinaryIO, name: str, options: DecodeOptions, time_limit: float
    ) -> "Recording":
        """Start reading and decoding a recording.

        Args:
            file: the recording; closed after reading.
            name: name of the recording in error messages.
            options: checked options.
            time_limit: seconds from now within which decoding must finish.
        """
        recording = Recording(self, file, name, options, time_limit)
        self.reader_pool.submit(recording.read)
        return recording

    async def attention(
        self,
        file: BinaryIO,
        name: str,
        start: float,
        duration: float,
        text: str,
        options: DecodeOptions,
        time_limit: float,
    ) -> dict[str, Any]:
        """Compute attention weights over a part of a recording for a given text.

        Args:
            file: the recording; closed after reading.
            name: name of the recording in error messages.
            start, duration: start and duration of the part, in seconds.
            text: transcript of the part.
            options: checked options; only the language is used.
            time_limit: maximum processing time, in seconds.

        Raises:
            AudioError: the recording cannot be read, or has no such part.
            TimeoutError: the time limit is exceeded.
        """
        canceled = Event()

        def compute() -> dict[str, Any]:
            with file:
                samples = _excerpt(file, name, start, duration, canceled)
            with self.attention_lock:  # one at a time: leaves the cores to decoding
                return speech_attention(self.transcriber, samples, text, options.language)

        result = asyncio.get_running_loop().run_in_executor(self.reader_pool, compute)
        try:
            async with asyncio.timeout(time_limit):
                return await result
        finally:
            canceled.set()

    def close(self) -> None:
        """Finish all queued work and end the threads."""
        self.reader_pool.shutdown()
        self.batcher.close()

    def _make_phrases(self, phrases: tuple[str, ...]) -> tuple[Phrases | None, Sequence[str]]:
        """Phrases that the model can write, and the words that it cannot."""
        output = self.transcriber.output
        writable, left_out = split_writable(phrases, output.tokenizer, output.normalize)
        if not writable:
            return None, left_out
        weighted = [(phrase, WEIGHT) for phrase in writable]
        found = make_phrases(weighted, output.tokenizer, output.normalize, "prompt")
        return found.to(self.transcriber.device), left_out


class Recording:
    """A recording that is being read and decoded; created by `Speech.begin`."""

    def __init__(
        self,
        speech: Speech,
        file: BinaryIO,
        name: str,
        options: DecodeOptions,
        time_limit: float,
    ) -> None:
        self.speech = speech
        self.file = file
        self.name = name
        self.options = options
        self.loop: AbstractEventLoop = asyncio.get_running_loop()
        self.deadline = self.loop.time() + time_limit
        self.canceled = Event()
        self.reserved_slot = Semaphore(1)  # for one piece of this recording at a time
        self.items: asyncio.Queue[Future[Segment] | End | Exception] = asyncio.Queue()

    async def results(self) -> AsyncIterator[Segment | Transcript]:
        """Yield each segment, in order, as soon as it is decoded, then the complete transcript.

        Raises:
            UserError: no part of the recording can be used.
            TimeoutError: the time limit is exceeded.
            StoppedError: the server is shutting down.
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
                async with asyncio.timeout_at(self.deadline):
                    segments.append(await asyncio.wrap_future(item))
                yield segments[-1]
        finally:
            self.cancel()
        language = self.options.language
        task = self.speech.transcriber.output.task(language)
        result = assemble(item, tuple(segments), language, task)
        if isinstance(result, Failure):
            raise result.error
        yield result

    def cancel(self) -> None:
        """Stop reading and decoding."""
        self.canceled.set()
        while not self.items.empty():
            item = self.items.get_nowait()
            if isinstance(item, Future):
                item.cancel()

    def read(self) -> None:
        """Cut the recording into pieces and queue them for decoding; runs in a reader thread."""
        detector = _CancelableDetector(EnergyDetector(), self.canceled)
        pieces = read_pieces(NamedSource(self.name, self.file, SAMPLE_RATE), detector)
        try:
            with self.file, closing(pieces):
                for item in pieces:
                    if self.canceled.is_set():
                        return
                    self._put(self._submit(item) if isinstance(item, Piece) else item)
        except Exception as error:  # raised again by `results`
            self._put(error)

    def _submit(self, piece: Piece) -> "Future[Segment]":
        """Wait for a free slot and queue a piece for decoding."""
        slot = self.reserved_slot
        if not slot.acquire(blocking=False):
            # Cannot deadlock: every piece that holds a shared slot is already queued.
            slot = self.speech.shared_slots
            slot.acquire()
        try:
            future = self.speech.batcher.submit(self.options, len(piece.samples), piece)
        except BaseException:
            slot.release()
            raise
        future.add_done_callback(lambda _: slot.release())
        return future

    def _put(self, item: "Future[Segment] | End | Exception") -> None:
        with suppress(RuntimeError):  # the event loop is closed
            self.loop.call_soon_threadsafe(self.items.put_nowait, item)


class _CancelableDetector:
    """Speech detector that stops reading once its recording is canceled."""

    def __init__(self, detector: SpeechDetector, canceled: Event) -> None:
        self.detector = detector
        self.frame = detector.frame
        self.canceled = canceled

    def detect(self, blocks: Iterable[Waveform]) -> Iterator[Detected]:
        return self.detector.detect(takewhile(lambda _: not self.canceled.is_set(), blocks))


def _excerpt(file: BinaryIO, name: str, start: float, duration: float, canceled: Event) -> Waveform:
    """Read a part of a recording `(samples,)`; reads from the start, so that it can be canceled."""
    begin, end = round(start * SAMPLE_RATE), round((start + duration) * SAMPLE_RATE)
    position = 0
    parts: list[Waveform] = []
    for block in stream_audio(file, name=name):
        if canceled.is_set() or position >= end:
            break
        parts.append(block[max(0, begin - position) : max(0, end - position)])
        position += len(block)
    samples = concatenate(parts)
    if len(samples) < SHORTEST * SAMPLE_RATE:
        raise AudioError(name, f"there is no audio after {start:g} s", "Correct the start")
    return samples
