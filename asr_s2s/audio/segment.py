"""Segmentation of long recordings at silences.

A detector classifies each frame as speech or silence, and `split_at_silences` forms segments of
speech. Both are streaming, so that memory does not grow with the length of the recording.
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
"""Maximum length of a segment in seconds; longer speech is cut, shorter recordings need no cut."""
SILENCE = 0.5
"""Seconds of silence that end a segment."""
SHORTEST_SPEECH = 0.1
"""Minimum length of speech in seconds: longer than clicks, shorter than the shortest words."""
PADDING = 0.2
"""Seconds kept before and after speech, because the quiet ends of words are not detected."""

NOISE_FLOOR_WINDOW = 10 * SAMPLE_RATE
"""Samples that share one noise floor in the energy detector."""
ENERGY_FRAME = SAMPLE_RATE // 50
"""Samples per frame of the energy detector: 20 ms."""
ENERGY_START, ENERGY_STOP = 6.0, 4.0
"""Levels at which speech starts and stops, in dB above the noise floor. Stationary noise stays
within 2 dB."""
LOWEST_FLOOR = -66.0
"""Lowest noise floor in dBFS, so that hiss next to digital silence is not detected as speech. It is
lower in recordings in which everything is quiet."""
SPEECH_RANGE = 40.0
"""Levels in dB below the loudest speech that cannot be speech."""
DIGITAL_SILENCE = -90.0
"""Level in dBFS below which frames are silence by computation: one step of 16-bit audio."""

SILERO_FRAME = 512
"""Samples per frame of the Silero model, at 16 kHz."""
SILERO_START, SILERO_STOP = 0.5, 0.35
"""Probabilities at which speech starts and stops; the defaults of the Silero authors."""

QUIET, LARGEST_GAIN = -40.0, 50.0
"""Speech below this level in dBFS is amplified to it for Silero, by this many dB at most, because
the model was trained on louder speech."""

Detected: TypeAlias = tuple[Waveform, NDArray[np.bool_]]
"""Samples `(samples,)`, and a flag per frame that is True for speech. The last frame of a recording
may be incomplete."""
DetectorName = Literal["energy", "silero"]


class SpeechDetector(Protocol):
    """Interface of detectors that classify the frames of a stream as speech or silence."""

    frame: int
    """Samples per frame."""

    def detect(self, blocks: Iterable[Waveform]) -> Iterator[Detected]:
        """Yield all samples of one recording, in blocks of any size, with a speech flag per frame.
        Must be safe to call from several threads at once."""


@dataclass(frozen=True)
class SpeechSpan:
    """Segment of speech between two silences."""

    start: float
    """Start time in seconds from the beginning of the recording."""
    samples: Waveform
    """Waveform of shape `(samples,)` at 16 kHz."""


def split_at_silences(
    blocks: Iterable[Waveform],
    detector: SpeechDetector,
    *,
    longest: float = LONGEST,
    silence: float = SILENCE,
) -> Iterator[SpeechSpan]:
    """Yield segments of speech, in order and without overlap; the silence between is left out.

    Args:
        blocks: consecutive blocks of a recording at 16 kHz.
        detector: classifies frames as speech or silence.
        longest: maximum length of a segment in seconds. Speech without a silence within this length
            is cut at the quietest position of the second half.
        silence: seconds of silence that end a segment.
    """
    frame = detector.frame
    per_second = SAMPLE_RATE / frame
    pause, shortest = math.ceil(silence * per_second), round(SHORTEST_SPEECH * per_second)
    padding = round(min(PADDING, silence / 2) * SAMPLE_RATE)
    most = int((longest * SAMPLE_RATE - 2 * padding) / frame)
    held, origin = np.zeros(0, np.float32), 0  # buffered samples, and the index of the first
    given = 0  # end of the last segment, in samples
    number = 0  # frames seen so far
    first: int | None = None  # first frame of the current segment
    last = 0  # frame after the last speech of the current segment

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
    """Sample at which to cut a waveform in two: the quietest position in its middle half."""
    quarter = len(samples) // 4
    return quarter + _quietest(samples[quarter : len(samples) - quarter])


def _quietest(samples: Waveform) -> int:
    """Center of the quietest 0.2 s; of all positions within 3 dB of it, the last."""
    width = min(SAMPLE_RATE // 5, len(samples))
    sums = np.concatenate([[0.0], np.square(samples, dtype=np.float64).cumsum()])
    energy = sums[width:] - sums[:-width]
    return int(np.flatnonzero(energy <= 2.0 * energy.min() + 1e-9)[-1]) + width // 2


class EnergyDetector:
    """Detector of speech by its level above the noise floor, which is the 10th percentile of the
    levels in the surrounding half minute.

    Thresholds are low on purpose: a false alarm costs time, but missed speech is lost. They do not
    depend on the level of the recording, down to the steps of 16-bit audio.
    """

    frame = ENERGY_FRAME

    def detect(self, blocks: Iterable[Waveform]) -> Iterator[Detected]:
        speaking = False
        loudest = -math.inf  # level of the loudest frames so far and in the next window
        windows: deque[tuple[Waveform, NDArray[np.float32]] | None] = deque(
            [None, None], maxlen=3
        )  # previous, current, next
        for window in chain(_rechunk(blocks, NOISE_FLOOR_WINDOW), [None]):
            windows.append(None if window is None else (window, _levels(window)))
            if (current := windows[1]) is None:
                continue
            samples, levels = current
            around = np.concatenate([w[1] for w in windows if w is not None])
            loudest = max(loudest, float(np.percentile(around, 99)))
            floor = _noise_floor(around, loudest)
            flags = _with_hysteresis(levels, floor + ENERGY_START, floor + ENERGY_STOP, speaking)
            speaking = bool(flags[-1])
            yield samples, flags


class StreamDetector:
    """Detector of speech by energy, as `EnergyDetector`, in a stream whose continuation is unknown.

    The noise floor is that of the last half minute, so the flags of frames may change as more of
    the stream is known.
    """

    frame = ENERGY_FRAME

    def __init__(self) -> None:
        self._levels = np.zeros(0, np.float32)

    def add(self, samples: Waveform) -> None:
        """Add whole frames (samples,) of at most 30 s."""
        levels = np.concatenate([self._levels, _levels(samples)])
        self._levels = levels[-3 * NOISE_FLOOR_WINDOW // ENERGY_FRAME :]

    @property
    def seconds(self) -> float:
        """Seconds from which the noise floor is known."""
        return len(self._levels) * ENERGY_FRAME / SAMPLE_RATE

    def flags(self, count: int) -> NDArray[np.bool_]:
        """Flags (count,) of the last frames, True for speech."""
        if not count:
            return np.zeros(0, np.bool_)
        floor = _noise_floor(self._levels, float(np.percentile(self._levels, 99)))
        flags = _with_hysteresis(self._levels, floor + ENERGY_START, floor + ENERGY_STOP, False)
        return flags[-count:]


class SileroDetector:
    """Neural speech detector of the silero-vad package (Silero Team, 2021), on the CPU.

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

        torch.set_num_threads(threads)  # the import sets it to 1
        self._load = silero_vad.load_silero_vad

    def detect(self, blocks: Iterable[Waveform]) -> Iterator[Detected]:
        model = self._load()  # one per recording, because the model keeps state
        speaking = False
        loudest = -math.inf  # level of the loudest frames so far
        for samples in _rechunk(blocks, 200 * SILERO_FRAME):
            loudest = max(loudest, float(np.percentile(_levels(samples), 99)))
            audible = _amplify(samples, QUIET - loudest) if loudest < QUIET else samples
            whole = np.pad(audible, (0, -len(samples) % SILERO_FRAME))
            with torch.no_grad():
                frames = torch.from_numpy(whole).view(-1, SILERO_FRAME)
                scores = np.array([float(model(frame, SAMPLE_RATE)) for frame in frames])
            flags = _with_hysteresis(scores, SILERO_START, SILERO_STOP, speaking)
            speaking = bool(flags[-1])
            yield samples, flags


def find_detector(name: DetectorName) -> SpeechDetector:
    """Create the speech detector with this name.

    Raises:
        ConfigError: the name is unknown, or the package of the detector is not installed.
    """
    detectors: dict[str, type[SpeechDetector]] = {
        "energy": EnergyDetector,
        "silero": SileroDetector,
    }
    if name not in detectors:
        raise ConfigError("vad", f"there is no detector {name!r}", "Use energy or silero")
    return detectors[name]()


def _levels(samples: Waveform) -> NDArray[np.float32]:
    """Level of each frame in dBFS. A constant offset of all frames has no level."""
    samples = samples - samples.mean(dtype=np.float64).astype(np.float32)
    frames = np.pad(samples, (0, -len(samples) % ENERGY_FRAME)).reshape(-1, ENERGY_FRAME)
    levels: NDArray[np.float32] = 10.0 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    return levels


def _amplify(samples: Waveform, gain: float) -> Waveform:
    """Amplify samples by `gain` dB, without their constant offset."""
    factor = np.float32(10.0 ** (min(gain, LARGEST_GAIN) / 20.0))
    amplified: Waveform = (samples - samples.mean()) * factor
    return amplified


def _noise_floor(levels: NDArray[np.float32], loudest: float) -> float:
    """Noise floor in dBFS of frames with these levels, in a recording whose speech reaches
    `loudest`."""
    audible = levels[levels > DIGITAL_SILENCE]
    if not len(audible):
        return LOWEST_FLOOR
    # Hiss next to digital silence is as loud as the quietest audible frames; speech is not.
    lowest = max(loudest - SPEECH_RANGE, float(np.percentile(audible, 10)), DIGITAL_SILENCE)
    return max(float(np.percentile(levels, 10)), min(lowest, LOWEST_FLOOR))


def _with_hysteresis(
    values: NDArray[np.floating], start: float, stop: float, speaking: bool
) -> NDArray[np.bool_]:
    """Flags that become True at a value of at least `start` and False at one below `stop`."""
    flags = np.zeros(len(values), np.bool_)
    for index, value in enumerate(values.tolist()):
        speaking = value >= (stop if speaking else start)
        flags[index] = speaking
    return flags


def _rechunk(blocks: Iterable[Waveform], size: int) -> Iterator[Waveform]:
    """Yield the same samples in blocks of `size`; the last may be shorter, but is never empty."""
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
