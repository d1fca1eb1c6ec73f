"""Transcription of speech while it is spoken, with models that were trained on whole utterances.

A window of the most recent audio is decoded again about every second. The words on which two
successive decodings agree are committed, and never change afterwards (LocalAgreement-2: Liu et al.,
2020, "Low-latency sequence-to-sequence speech recognition and translation by partial hypothesis
selection"; Machacek et al., 2023, "Turning Whisper into a real-time transcription system"). The
other words are tentative: the end of the window may lie within a word, and its last words lack the
context that follows.

- A window begins with an utterance and grows with it. A silence finishes the utterance: it is
  decoded a last time, all its words are committed, and the next window begins after it. This is how
  long recordings are cut too, so the text is close to that of `Transcriber.transcribe`.
- A window that reaches its maximum length is cut after a committed word in its second half, at the
  longest pause between words there. Committed words after the cut stay in it as context. If no word
  there is committed, the window is cut at its quietest place, and the words before that are
  committed. So the cost of a second of audio is bounded: the decoding of one window per interval.
- The words of a new decoding that correspond to committed ones are found by edit distance and time.
  A decoding that now differs in a committed word does not change it. Forcing the search to begin
  with the committed words would be an alternative, but streams could then not share batches.
- Audio may arrive in blocks of any size. A machine that is too slow decodes less often, since all
  audio that arrived during a decoding is decoded together by the next one.

`LiveStream` is this policy without a model, for callers that decode themselves, such as the server;
`LiveTranscriber` applies it to a model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from asr_s2s.audio.segment import (
    LONGEST,
    PADDING,
    SHORTEST_SPEECH,
    SILENCE,
    StreamDetector,
    middle_cut,
)
from asr_s2s.audio.waveform import (
    SAMPLE_RATE,
    SHORTEST,
    RateConverter,
    Waveform,
    check_format,
    concatenate,
    is_silent,
    scale_pcm,
)
from asr_s2s.errors import AudioError, ConfigError, UserError
from asr_s2s.pipeline import Segment, Transcriber, Word
from asr_s2s.reading import Piece
from asr_s2s.search.options import DEFAULTS, DecodeOptions
from asr_s2s.text.words import join_texts

INTERVAL = 1.0
"""Default of the seconds of new audio after which a window is decoded again."""
WINDOW = 15.0
"""Default of the maximum length of a window, in seconds."""
SHORTEST_WINDOW = 4.0
"""Smallest maximum length of a window, in seconds."""
FLOOR_SECONDS = 1.0
"""Seconds after which the noise floor is trusted: until then, no audio is dropped as silence."""
_FRAME = StreamDetector.frame

Reason = Literal["end", "full", "more"]
"""Why a window is decoded: its utterance ended, it is full, or there is more audio."""


@dataclass(frozen=True)
class LiveUpdate:
    """Words of a stream after a decoding; times are seconds from the beginning of the stream."""

    committed: tuple[Word, ...] = ()
    """Words committed by this update, after those of earlier updates."""
    tentative: tuple[Word, ...] = ()
    """Words that follow, as far as known; they replace the tentative words of earlier updates."""
    ended: bool = False
    """Whether the utterance ended with the committed words."""

    @property
    def text(self) -> str:
        """Text of the committed words."""
        return join_texts(word.text for word in self.committed)

    @property
    def tentative_text(self) -> str:
        """Text of the tentative words."""
        return join_texts(word.text for word in self.tentative)


class LiveStream:
    """A stream of audio, and the words found in it so far.

    The caller decodes each piece that `next_piece` returns, with word times, and passes the result
    to `accept`.

    Args:
        sample_rate: sampling rate of the added samples, in Hz.
        interval: seconds of new audio after which the window is decoded again.
        window: maximum length of the window, in seconds.
        silence: seconds of silence that finish an utterance.

    Raises:
        ConfigError: an argument is out of bounds.
        AudioError: the sampling rate is not supported.
    """

    def __init__(
        self,
        *,
        sample_rate: int = SAMPLE_RATE,
        interval: float = INTERVAL,
        window: float = WINDOW,
        silence: float = SILENCE,
    ) -> None:
        _check("interval", interval, 0.1, window)
        _check("window", window, SHORTEST_WINDOW, LONGEST)
        _check("silence", silence, 0.1, window / 2)
        check_format(sample_rate, 1, "stream")
        self.interval = round(interval * SAMPLE_RATE)
        self.longest = round(window * SAMPLE_RATE)
        self.pause = round(silence * SAMPLE_RATE / _FRAME)
        self.padding = round(min(PADDING, silence / 2) * SAMPLE_RATE / _FRAME) * _FRAME
        self._converter = RateConverter(sample_rate, "stream")
        self._detector = StreamDetector()
        self._waiting: list[Waveform] = []  # audio after the window
        self._window = np.zeros(0, np.float32)
        self._start = 0  # of the window, in samples
        self._decoded = 0  # samples of the window that were decoded
        self._closed = False
        self._speaking = False  # whether the window was decoded since the last utterance
        self._context: list[Word] = []  # committed words within the window
        self._tentative: tuple[Word, ...] = ()
        self._piece: tuple[int, Reason] | None = None

    @property
    def waiting(self) -> float:
        """Seconds of audio that were added and are not in the window yet."""
        return sum(map(len, self._waiting)) / SAMPLE_RATE

    @property
    def tentative(self) -> tuple[Word, ...]:
        """Tentative words of the last update."""
        return self._tentative

    @property
    def pending(self) -> bool:
        """Whether there is audio or a word that is not committed."""
        return bool(len(self._window) or self._waiting)

    def add(self, samples: npt.ArrayLike) -> None:
        """Add the next samples (samples,): floats in [-1, 1], or 16-bit PCM.

        Raises:
            AudioError: the samples have another shape or type, or contain NaN or infinity.
        """
        array = np.asarray(samples)
        if array.ndim != 1 or not (array.dtype.kind == "f" or array.dtype == np.int16):
            found = f"found {array.dtype} of shape {array.shape}"
            problem = f"expected floats or int16 of shape (samples,), {found}"
            raise AudioError("stream", problem, "Convert the samples")
        converted = self._converter.add(scale_pcm(array))
        if len(converted):
            self._waiting.append(converted)

    def close(self) -> None:
        """Mark the end of the stream; `next_piece` then returns all that is left."""
        if not self._closed:
            self._closed = True
            rest = concatenate([*self._waiting, self._converter.finish()])
            # Whole frames: the detector sees all of the stream.
            self._waiting = [np.pad(rest, (0, -(len(rest) + len(self._window)) % _FRAME))]

    def next_piece(self) -> Piece | None:
        """Return the audio that is to be decoded now, or None until more is added."""
        self._piece = None
        while True:
            self._fill()
            flags = self._detector.flags(len(self._window) // _FRAME)
            speech = np.flatnonzero(flags)
            if not len(speech) and not self._speaking and self._drop_silence():
                if self._waiting and self._can_fill():
                    continue
                return None
            if len(speech) and not self._speaking and self._detector.seconds >= FLOOR_SECONDS:
                lead = max(0, int(speech[0]) * _FRAME - self.padding)
                self._drop(lead)
                speech = speech - lead // _FRAME
            end = self._end_of_utterance(speech)
            if end is not None and not self._speaking and self._too_short(speech, end):
                self._drop(end)
                continue
            length = len(self._window) if end is None else end
            if end is not None:
                reason: Reason = "end"
            elif length + _FRAME > self.longest:
                reason = "full"
            elif self._closed:
                if length < SHORTEST * SAMPLE_RATE or is_silent(self._window):
                    self._drop(length)
                    return None
                reason = "end"
            elif length - self._decoded >= self.interval and len(speech):
                reason = "more"
            else:
                return None
            self._piece = length, reason
            return Piece(self._start / SAMPLE_RATE, self._window[:length])

    def accept(self, segment: Segment) -> LiveUpdate:
        """Take the result of the last piece, with words; returns what is new.

        Raises:
            ValueError: no piece was returned since the last result.
        """
        if self._piece is None:
            raise ValueError("there is no piece that waits for a result")
        (length, reason), self._piece = self._piece, None
        words = _after(self._context, segment.words)
        if reason == "end":
            self._drop(length)
            self._speaking = False
            self._context, self._tentative = [], ()
            return LiveUpdate(words, (), True)
        self._speaking = True
        self._decoded = length
        agreed = 0
        for before, now in zip(self._tentative, words, strict=False):
            if before.text != now.text:
                break
            agreed += 1
        if reason == "full":
            agreed = self._cut(words, agreed)
        else:
            self._context += words[:agreed]
        self._tentative = words[agreed:]
        return LiveUpdate(words[:agreed], self._tentative)

    def _can_fill(self) -> bool:
        return self.longest - len(self._window) >= _FRAME and self.waiting * SAMPLE_RATE >= _FRAME

    def _fill(self) -> None:
        """Move whole frames of waiting audio into the window, up to its maximum length."""
        if not self._can_fill():
            return
        waiting = concatenate(self._waiting)
        room = min(self.longest - len(self._window), len(waiting)) // _FRAME * _FRAME
        self._detector.add(waiting[:room])
        self._window = concatenate([self._window, waiting[:room]])
        self._waiting = [waiting[room:]] if room < len(waiting) else []

    def _drop_silence(self) -> bool:
        """Drop a window without speech, except for its end; returns False if it may be speech, as
        the noise floor is not known yet and no more audio comes."""
        if self._detector.seconds < FLOOR_SECONDS:
            return not self._closed
        self._drop(len(self._window) if self._closed else len(self._window) - self.padding)
        return True

    def _end_of_utterance(self, speech: npt.NDArray[np.intp]) -> int | None:
        """Sample of the window at which the first utterance in it has ended, if it has."""
        frames = len(self._window) // _FRAME
        if not len(speech):
            return len(self._window) if self._speaking and frames >= self.pause else None
        gaps = np.diff(np.append(speech, frames)) - 1
        long = np.flatnonzero(gaps >= self.pause)
        return None if not len(long) else (int(speech[long[0]]) + 1) * _FRAME + self.padding

    @staticmethod
    def _too_short(speech: npt.NDArray[np.intp], end: int) -> bool:
        """Whether the speech before a sample of the window is shorter than any word."""
        frames = int(np.count_nonzero(speech < end // _FRAME))
        return frames * _FRAME < SHORTEST_SPEECH * SAMPLE_RATE

    def _cut(self, words: tuple[Word, ...], agreed: int) -> int:
        """Shorten a full window; returns the number of words that are committed."""
        known = [*self._context, *words]
        committed = len(self._context) + agreed
        middle = (self._start + self.longest / 2) / SAMPLE_RATE
        end = (self._start + len(self._window)) / SAMPLE_RATE
        # After the last word, another one may have begun that is not recognized yet.
        starts = [word.start for word in known[1:]] + [word.end for word in known[-1:]]
        gaps = [
            (start - word.end, word.end)
            for word, start in zip(known[:committed], starts, strict=False)
            if middle <= word.end < end
        ]
        if gaps:
            gap, at = max(gaps)
            at += max(0.0, gap) / 2
        else:
            at = (self._start + middle_cut(self._window)) / SAMPLE_RATE
            before = sum(_middle(word) < at for word in known)
            agreed = max(agreed, before - len(self._context))
        self._context = [
            word for word in known[: len(self._context) + agreed] if _middle(word) >= at
        ]
        self._drop(min(len(self._window), round(at * SAMPLE_RATE / _FRAME) * _FRAME - self._start))
        return agreed

    def _drop(self, count: int) -> None:
        """Remove samples from the beginning of the window."""
        count = max(0, count)
        self._window = self._window[count:]
        self._start += count
        self._decoded = max(0, self._decoded - count)


class LiveTranscriber:
    """A transcriber of one stream of audio.

    Args:
        transcriber: the model.
        options: decoding options; words are always timed.
        sample_rate: sampling rate of the added samples, in Hz.
        interval: seconds of new audio after which the window is decoded again.
        window: maximum length of the window, in seconds.
        silence: seconds of silence that finish an utterance.

    Raises:
        UserError: an option cannot be used, or the output is a translation.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        options: DecodeOptions = DEFAULTS,
        *,
        sample_rate: int = SAMPLE_RATE,
        interval: float = INTERVAL,
        window: float = WINDOW,
        silence: float = SILENCE,
    ) -> None:
        self.transcriber = transcriber
        self.options = live_options(transcriber, options)
        self.stream = LiveStream(
            sample_rate=sample_rate, interval=interval, window=window, silence=silence
        )

    def add(self, samples: npt.ArrayLike) -> LiveUpdate:
        """Add samples (samples,), floats in [-1, 1] or 16-bit PCM, and return what became known.

        Raises:
            AudioError: the samples cannot be used.
        """
        self.stream.add(samples)
        return self._join(self.updates())

    def finish(self) -> LiveUpdate:
        """End the stream, and commit the words that are left."""
        self.stream.close()
        return self._join(self.updates())

    def updates(self) -> Iterator[LiveUpdate]:
        """Decode what is due in `stream`; yields the update of each decoding."""
        while (piece := self.stream.next_piece()) is not None:
            (segment,) = self.transcriber.decode([piece], self.options)
            yield self.stream.accept(segment)

    def _join(self, updates: Iterator[LiveUpdate]) -> LiveUpdate:
        """Join successive updates to one."""
        committed: list[Word] = []
        last = LiveUpdate((), self.stream.tentative)
        for last in updates:
            committed += last.committed
        return replace(last, committed=tuple(committed))


def live_options(transcriber: Transcriber, options: DecodeOptions) -> DecodeOptions:
    """Check and complete options for the pieces of a stream.

    Raises:
        UserError: an option cannot be used, or the output is a translation, whose words do not
            follow the order of the audio.
    """
    checked = transcriber.check(replace(options, words=True))
    if transcriber.output.task(checked.language) == "translate":
        problem = f"{checked.language} is a translation, and live speech is only transcribed"
        raise UserError("language", problem, "Choose the spoken language")
    return checked


def _check(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        problem = f"expected {lowest:g} to {highest:g} s, found {value:g}"
        raise ConfigError(name, problem, "Correct it")


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2


def _after(committed: Sequence[Word], words: tuple[Word, ...]) -> tuple[Word, ...]:
    """Words of a decoding that follow the committed words of its window.

    They begin where the edit distance of the committed words and the words before, plus twice the
    seconds between the ends of both, is smallest.
    """
    if not committed:
        return words
    distances = list(range(len(words) + 1))  # of the committed words so far and each beginning
    for number, word in enumerate(committed, 1):
        diagonal, distances[0] = distances[0], number
        for index, other in enumerate(words, 1):
            substituted = diagonal + (word.text != other.text)
            diagonal = distances[index]
            distances[index] = min(substituted, diagonal + 1, distances[index - 1] + 1)
    ends = [committed[0].start, *(word.end for word in words)]
    costs = [d + 2.0 * abs(end - committed[-1].end) for d, end in zip(distances, ends, strict=True)]
    return words[costs.index(min(costs)) :]
