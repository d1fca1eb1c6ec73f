"""Long recordings in segments of speech, cut at silences.

A detector tells speech from silence, frame by frame; `split_at_silences` makes segments of what it
says. Blocks come in and segments go out, so that memory does not grow with the recording.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from typing import Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform, concatenate
from asr_s2s.errors import ConfigError

LONGEST = 25.0
"""Seconds: longer speech is cut, and shorter recordings need not be."""
SILENCE = 0.5
"""Seconds of silence that end a segment."""
SHORTEST_SPEECH = 0.1
"""Seconds; clicks are shorter, and the shortest words are not."""
PADDING = 0.2
"""Seconds kept before and after speech: the ends of words are quieter than the detector hears."""

STRETCH = 10 * SAMPLE_RATE
"""Samples for which the energy detector has one noise floor."""
ENERGY_FRAME = SAMPLE_RATE // 50
SPEECH_BEGINS = 6.0
"""dB above the noise floor; noise that does not change stays within 2 dB."""
SPEECH_GOES_ON = 4.0
LOWEST_FLOOR = -66.0
"""dBFS; digital silence between words must not make hiss into speech."""

SILERO_FRAME = 512
"""Samples at 16 kHz that the model takes at once."""
SILERO_BEGINS, SILERO_GOES_ON = 0.5, 0.35
"""Its probabilities of speech, as its authors use them."""

Detected: TypeAlias = tuple[Waveform, NDArray[np.bool_]]
"""Samples `(samples,)`, and whether each of their frames is speech; the last frame of a recording
may be incomplete."""
DetectorName = Literal["energy", "silero"]


class SpeechDetector(Protocol):
    """Tells speech from silence in a stream."""

    frame: int
    """Samples in a frame."""

    def detect(self, blocks: Iterable[Waveform]) -> Iterator[Detected]:
        """All samples of one recording again, in blocks of any size, with their frames. May be
        called in several threads at once."""


@dataclass(frozen=True)
class SpeechSpan:
    """Speech between two silences."""

    start: float
    """Seconds from the beginning of the recording."""
    samples: Waveform
    """`(samples,)` at 16 kHz."""


def split_at_silences(
    blocks: Iterable[Waveform],
    detector: SpeechDetector,
    *,
    longest: float = LONGEST,
    silence: float = SILENCE,
) -> Iterator[SpeechSpan]:
    """Segments of speech in order, none overlapping; silence between them is left out.

    Args:
        blocks: a recording at 16 kHz.
        longest: of a segment, in seconds; where no silence comes in time, the quietest place in
            its second half is cut.
        silence: seconds of silence that end a segment.
    """
    frame = detector.frame
    per_second = SAMPLE_RATE / frame
    pause, shortest = math.ceil(silence * per_second), round(SHORTEST_SPEECH * per_second)
    padding = round(min(PADDING, silence / 2) * SAMPLE_RATE)
    most = int((longest * SAMPLE_RATE - 2 * padding) / frame)
    held, origin = np.zeros(0, np.float32), 0  # samples that may yet be needed, from this one on
    given = 0  # end of the last segment
    number = 0  # of the frame
    first: int | None = None  # frame where a segment begins
    last = 0  # frame after its last speech so far

    def span(begin: int, end: int) -> SpeechSpan:
        return SpeechSpan(begin / SAMPLE_RATE, held[begin - origin : end - origin].copy())

    for samples, flags in detector.detect(blocks):
        held = concatenate([held, samples])
        for speech in flags.tolist():
            number += 1
            if speech:
                first = number - 1 if first is None else first
                last = number
            if first is None:
                continue
            begin = max(first * frame - padding, given)
            if number - last >= pause:
                if last - first >= shortest:
                    given = last * frame + padding
                    yield span(begin, given)
                first = None
            elif number - first >= most:
                half = (first + most // 2) * frame
                given = half + _quietest(held[half - origin : number * frame - origin])
                yield span(begin, given)
                first = -(-given // frame) if last * frame > given else None
        needed = (number if first is None else first) * frame - padding
        if needed > origin:
            held, origin = held[needed - origin :], needed
    if first is not None and last - first >= shortest:
        yield span(max(first * frame - padding, given), last * frame + padding)


def middle_cut(samples: Waveform) -> int:
    """Where to cut sound in two: the quietest place in its middle half."""
    quarter = len(samples) // 4
    return quarter + _quietest(samples[quarter : len(samples) - quarter])


def _quietest(samples: Waveform) -> int:
    """The middle of the quietest 0.2 s; of places within 3 dB, the last."""
    width = min(SAMPLE_RATE // 5, len(samples))
    sums = np.concatenate([[0.0], np.square(samples, dtype=np.float64).cumsum()])
    energy = sums[width:] - sums[:-width]
    return int(np.flatnonzero(energy <= 2.0 * energy.min() + 1e-9)[-1]) + width // 2


class EnergyDetector:
    """Speech is what stands out from the noise floor: the quietest tenth of the half minute around.

    Rather too much than too little is taken for speech: sounds that are none cost time, and speech
    that is missed is lost.
    """

    frame = ENERGY_FRAME

    def detect(self, blocks: Iterable[Waveform]) -> Iterator[Detected]:
        speaking = False
        around: deque[tuple[Waveform, NDArray[np.float32]] | None] = deque(
            [None, None], maxlen=3
        )  # the one before and after
        for stretch in chain(_rechunk(blocks, STRETCH), [None]):
            around.append(None if stretch is None else (stretch, _levels(stretch)))
            if (current := around[1]) is None:
                continue
            samples, levels = current
            quiet = np.percentile(np.concatenate([s[1] for s in around if s is not None]), 10)
            floor = max(float(quiet), LOWEST_FLOOR)
            flags = _with_hysteresis(
                levels, floor + SPEECH_BEGINS, floor + SPEECH_GOES_ON, speaking
            )
            speaking = bool(flags[-1])
            yield samples, flags


class SileroDetector:
    """The neural detector of the silero-vad package (Silero Team, 2021), on the CPU.

    Raises:
        ConfigError: the package is not installed.
    """

    frame = SILERO_FRAME

    def __init__(self) -> None:
        if find_spec("silero_vad") is None:
            raise ConfigError(
                "vad silero",
                "the package silero-vad is not installed",
                "Run `pip install silero-vad` (the extra asr-s2s[vad]), or use energy",
            )
        threads = torch.get_num_threads()
        import silero_vad

        torch.set_num_threads(threads)  # which the import sets to 1
        self._load = silero_vad.load_silero_vad

    def detect(self, blocks: Iterable[Waveform]) -> Iterator[Detected]:
        model = self._load()  # of its own: it remembers what it heard
        speaking = False
        for samples in _rechunk(blocks, 200 * SILERO_FRAME):
            whole = np.pad(samples, (0, -len(samples) % SILERO_FRAME))
            with torch.no_grad():
                frames = torch.from_numpy(whole).view(-1, SILERO_FRAME)
                scores = np.array([float(model(frame, SAMPLE_RATE)) for frame in frames])
            flags = _with_hysteresis(scores, SILERO_BEGINS, SILERO_GOES_ON, speaking)
            speaking = bool(flags[-1])
            yield samples, flags


def find_detector(name: DetectorName) -> SpeechDetector:
    """The detector of that name.

    Raises:
        ConfigError: there is none, or its package is not installed.
    """
    detectors: dict[str, type[SpeechDetector]] = {
        "energy": EnergyDetector,
        "silero": SileroDetector,
    }
    if name not in detectors:
        raise ConfigError("vad", f"there is no detector {name!r}", "Use energy or silero")
    return detectors[name]()


def _levels(samples: Waveform) -> NDArray[np.float32]:
    """dBFS of each frame."""
    frames = np.pad(samples, (0, -len(samples) % ENERGY_FRAME)).reshape(-1, ENERGY_FRAME)
    levels: NDArray[np.float32] = 10.0 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    return levels


def _with_hysteresis(
    values: NDArray[np.floating], begins: float, goes_on: float, speaking: bool
) -> NDArray[np.bool_]:
    """True from a value of at least `begins` until one below `goes_on`."""
    flags = np.zeros(len(values), np.bool_)
    for index, value in enumerate(values.tolist()):
        speaking = value >= (goes_on if speaking else begins)
        flags[index] = speaking
    return flags


def _rechunk(blocks: Iterable[Waveform], size: int) -> Iterator[Waveform]:
    """The same samples in blocks of `size`; the last may be shorter, and is never empty."""
    held: list[Waveform] = []
    count = 0
    for block in blocks:
        for begin in range(0, len(block), size):
            held.append(block[begin : begin + size])
            count += len(held[-1])
            while count >= size:
                joined = concatenate(held)
                yield joined[:size]
                held, count = [joined[size:]], count - size
    if count:
        yield concatenate(held)
