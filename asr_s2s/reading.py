"""Background reading of recordings into pieces for decoding.

A short recording is one piece; longer ones are cut into segments of speech while they are read. The
read-ahead is limited in seconds of audio, so that memory depends neither on the length nor on the
number of recordings.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from threading import Condition
from typing import TYPE_CHECKING

import numpy as np

from asr_s2s.audio.decode import stream_audio
from asr_s2s.audio.segment import LONGEST, SpeechDetector, split_at_silences
from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform, concatenate, from_array, is_silent
from asr_s2s.errors import AudioError, UserError
from asr_s2s.sources import NamedSource, Source, as_recording

if TYPE_CHECKING:
    from lhotse.cut import Cut

READERS = 2
"""Number of recordings read at the same time."""
READ_AHEAD = 32
"""Maximum number of recordings opened ahead."""
SECONDS_AHEAD = 120.0
"""Maximum seconds of audio read ahead; each reader may exceed it by one piece."""


@dataclass(frozen=True)
class Piece:
    """Audio to decode: a short recording, or a segment of a long one."""

    start: float
    """Seconds from the beginning of the recording."""
    samples: Waveform


@dataclass(frozen=True)
class End:
    """Marks the end of a recording, after its last piece."""

    source: str
    """Name of the recording."""
    duration: float
    """Seconds that could be read."""
    whole: bool
    """Whether the recording was short enough for a single piece (no piece if silent)."""
    error: UserError | None
    """Why the recording, or the rest of it, could not be read; None if it is undamaged."""


def read_ahead(
    sources: Iterable[Source],
    sample_rate: int,
    detector: SpeechDetector,
    audio_track: int | None = None,
) -> Generator[Piece | End, None, None]:
    """Read recordings in background threads; yields the pieces of each and then its end, in order.

    A recording that is damaged after the first `LONGEST` seconds yields the pieces before the
    damage; one that is damaged earlier yields none.

    Args:
        sources: recordings.
        sample_rate: sampling rate of arrays without one, in Hz.
        detector: finds the speech in recordings longer than `LONGEST` seconds.
        audio_track: number of the audio track of files with several; see `stream_audio`.
    """
    remaining = enumerate(sources)
    queue = _ReadQueue()
    with ThreadPoolExecutor(READERS) as pool:
        try:
            while True:
                while queue.has_room() and (following := next(remaining, None)) is not None:
                    index, source = following
                    pieces = _open(source, index, sample_rate, detector, audio_track)
                    pool.submit(queue.fill, queue.add(), pieces)
                item = queue.take()
                if item is None:
                    return
                yield item
        finally:
            queue.close()
            pool.shutdown(cancel_futures=True)


@dataclass
class _Reading:
    """A recording that is being read."""

    items: deque[Piece | End | Exception] = field(default_factory=deque)


class _ReadQueue:
    """Bounded queue between reader threads and the consumer; readers block while it is full."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.readings: deque[_Reading] = deque()
        self.samples = 0
        self.closed = False

    def has_room(self) -> bool:
        """Whether another recording may be opened; always true if none is open."""
        with self.changed:
            full = self.samples >= SECONDS_AHEAD * SAMPLE_RATE or len(self.readings) >= READ_AHEAD
            return not full or not self.readings

    def add(self) -> _Reading:
        """Append an entry for the next recording."""
        with self.changed:
            self.readings.append(_Reading())
            return self.readings[-1]

    def fill(self, reading: _Reading, pieces: Generator[Piece | End, None, None]) -> None:
        """Read all pieces of a recording into its entry; runs in a reader thread."""
        with closing(pieces):
            try:
                for item in pieces:
                    if not self._put(reading, item):
                        return
            except Exception as error:  # raised again by `take`
                self._put(reading, error)

    def _put(self, reading: _Reading, item: Piece | End | Exception) -> bool:
        """Add an item, waiting for room; returns False if the queue is closed."""

        def may_add() -> bool:
            # The recording at the head must never wait for later ones to be consumed.
            needed = self.readings[0] is reading and not reading.items
            return self.closed or needed or self.samples < SECONDS_AHEAD * SAMPLE_RATE

        with self.changed:
            self.changed.wait_for(may_add)
            if self.closed:
                return False
            reading.items.append(item)
            self.samples += len(item.samples) if isinstance(item, Piece) else 0
            self.changed.notify_all()
            return True

    def take(self) -> Piece | End | None:
        """Wait for the next item in order; None after the last recording."""
        with self.changed:
            if not self.readings:
                return None
            items = self.readings[0].items
            self.changed.wait_for(lambda: items)
            item = items.popleft()
            if isinstance(item, Piece):
                self.samples -= len(item.samples)
            else:
                self.readings.popleft()
            self.changed.notify_all()
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        """Make all readers stop."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class _TrackedBlocks:
    """Iterates over a recording's blocks, counts samples, and keeps the error that ends it."""

    def __init__(self, blocks: Iterable[Waveform]) -> None:
        self.blocks = blocks
        self.samples = 0
        self.error: UserError | None = None

    def __iter__(self) -> Iterator[Waveform]:
        try:
            for block in self.blocks:
                self.samples += len(block)
                yield block
        except UserError as error:
            self.error = error


def _open(
    source: Source,
    index: int,
    sample_rate: int,
    detector: SpeechDetector,
    audio_track: int | None,
) -> Generator[Piece | End, None, None]:
    """Read one of several recordings; one of an unknown type yields its end with the error."""
    try:
        recording = as_recording(source, index, sample_rate)
    except UserError as error:
        yield End(error.where, 0.0, True, error)
    else:
        yield from read_pieces(recording, detector, audio_track)


def read_pieces(
    source: NamedSource, detector: SpeechDetector, audio_track: int | None = None
) -> Generator[Piece | End, None, None]:
    """Read one recording; yields its pieces and then its end. Arguments as in `read_ahead`."""
    recording = _TrackedBlocks(_read_blocks(source, audio_track))
    blocks = iter(recording)
    beginning: list[Waveform] = []
    for block in blocks:
        beginning.append(block)
        if recording.samples > LONGEST * SAMPLE_RATE:
            break
    whole = recording.samples <= LONGEST * SAMPLE_RATE
    if whole:
        samples = concatenate(beginning)
        if recording.error is None and not is_silent(samples):
            yield Piece(0.0, samples)
    else:
        for span in split_at_silences(chain(_release(beginning), blocks), detector):
            yield Piece(span.start, span.samples)
    yield End(source.name, recording.samples / SAMPLE_RATE, whole, recording.error)


def read_whole(source: NamedSource, audio_track: int | None = None) -> Waveform:
    """Read a recording that is short enough for a single piece. Arguments as in `read_ahead`.

    Raises:
        AudioError: it cannot be read, is silent, or is longer than `LONGEST` seconds.
    """
    name = source.name
    blocks: list[Waveform] = []
    for block in _read_blocks(source, audio_track):
        blocks.append(block)
        if sum(map(len, blocks)) > LONGEST * SAMPLE_RATE:
            problem = f"it is longer than {LONGEST:g} s, so its transcript is not known in pieces"
            raise AudioError(name, problem, "Cut the recording and its transcript")
    samples = concatenate(blocks)
    if is_silent(samples):
        raise AudioError(name, "the recording is silent", "Choose a recording with speech")
    return samples


def _release(blocks: list[Waveform]) -> Iterator[Waveform]:
    """Yield blocks, dropping each from the list so that its memory can be freed."""
    while blocks:
        yield blocks.pop(0)


def _read_blocks(source: NamedSource, audio_track: int | None) -> Iterator[Waveform]:
    """Read the waveform of a source in blocks."""
    content = source.content
    if isinstance(content, np.ndarray):
        yield from_array(content, source.sample_rate, name=source.name)
    elif isinstance(content, str) or hasattr(content, "read"):
        yield from stream_audio(content, name=source.name, audio_track=audio_track)
    else:
        yield from _read_cut(content)


def _read_cut(cut: "Cut") -> Iterator[Waveform]:
    """Read the waveform of a cut in blocks."""
    from asr_s2s.data.manifest import audio_file, read_cut_audio

    path = audio_file(cut)
    if path is None:
        yield read_cut_audio(cut)
    else:
        yield from stream_audio(path, start=cut.start, duration=cut.duration)
