"""Conversion and validation of waveforms: (samples,), mono float32 in [-1, 1] at 16 kHz."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from asr_s2s.audio.encoded import BLOCK
from asr_s2s.errors import AudioError

Waveform = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000  # Hz
SHORTEST = 0.025  # s, one analysis window
SILENT_PEAK = 10 ** (-70 / 20)  # -70 dBFS: ten steps of 16-bit audio, below microphone noise

LOWEST_RATE, HIGHEST_RATE = 4_000, 768_000  # Hz
_MOST_CHANNELS = 64
_LOUDEST = 8.0  # +18 dBFS; higher values are integers stored as floats
_CANCELS = 0.1  # energy of a mix, relative to that of as many unrelated channels


def from_array(array: npt.ArrayLike, sample_rate: int, *, name: str) -> Waveform:
    """Convert an in-memory recording to a waveform, with the guarantees of `read_audio`.

    Args:
        array: shape (samples,), (samples, channels), or (channels, samples) of at most 8 channels.
            Floats are in [-1, 1]; uint8, int8, int16, int32 and int64 are PCM and are scaled. Wider
            integers that all fit into 16 bits are 16-bit PCM: as 32-bit PCM they would be silent.
        sample_rate: sample rate of the array in Hz.
        name: name of the recording in errors.

    Raises:
        AudioError: the shape or type is not supported, or the samples do not pass `check_audio`.
    """
    samples = np.asarray(array)
    if samples.ndim == 2 and samples.shape[0] <= 8 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    if samples.ndim not in (1, 2) or 0 in samples.shape[1:]:
        raise AudioError(
            name,
            f"the array has shape {np.shape(array)}; expected (samples,) or (samples, channels)",
            "Pass one recording at a time",
        )
    samples = _narrow(samples)
    if samples.dtype.kind != "f" and samples.dtype.name not in ("uint8", "int8", "int16", "int32"):
        raise AudioError(
            name,
            f"the samples are {samples.dtype}; expected floats in [-1, 1] or 8, 16 or 32-bit PCM",
            'Convert them, for example with .astype("int16")',
        )
    channels = samples.shape[1] if samples.ndim == 2 else 1
    check_format(sample_rate, channels, name)
    floats = scale_pcm(samples)
    floats = floats.reshape(-1, channels)
    mono = mix_channels(floats[i : i + BLOCK] for i in range(0, len(floats), BLOCK))
    return concatenate(list(check_duration(to_model_rate(mono, sample_rate, name), name)))


def _narrow(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convert wide integers to the width of the PCM that they hold; others are returned as they
    are."""
    if samples.dtype.kind != "i" or samples.dtype.itemsize < 4 or not samples.size:
        return samples
    lowest, highest = int(samples.min()), int(samples.max())
    for width in (np.int16, np.int32):
        if np.iinfo(width).min <= lowest and highest <= np.iinfo(width).max:
            return samples.astype(width, copy=False)
    return samples


def check_audio(samples: Waveform, name: str, sample_rate: int = SAMPLE_RATE) -> None:
    """Check that a waveform of shape (samples,) can be transcribed.

    Raises:
        AudioError: it is empty, contains NaN or infinity, or is shorter than one analysis window.
    """
    _check_finite(samples, 0, name, sample_rate)
    _check_length(len(samples), name, sample_rate)


def _check_finite(samples: Waveform, position: int, name: str, rate: int) -> None:
    """Reject NaN and infinity in a block that begins at sample `position` of its recording."""
    if not np.isfinite(samples).all():
        bad = position + int(np.argmin(np.isfinite(samples)))
        raise AudioError(
            name,
            f"contains NaN or infinite samples, the first at {bad / rate:.3f} s",
            "Export it again from its source",
        )


def _check_length(count: int, name: str, rate: int) -> None:
    if not count:
        raise AudioError(name, "contains no audio", "Record it again, or leave it out")
    if count / rate < SHORTEST:
        raise AudioError(
            name,
            f"contains {1000 * count / rate:.3g} ms of audio; at least {1000 * SHORTEST:g} ms are "
            "required",
            "Leave it out",
        )


def is_silent(samples: Waveform) -> bool:
    """Whether all samples (samples,) are below -70 dBFS."""
    return bool(np.abs(samples).max(initial=0.0) < SILENT_PEAK)


def mix_channels(blocks: Iterable[Waveform]) -> Iterator[Waveform]:
    """Mix blocks (samples, channels) to mono (samples,), as the mean of the channels.

    Where the channels cancel, as when one wire of a balanced line was swapped, the loudest channel
    is taken instead. A constant offset counts as no energy.
    """
    channel = 0  # taken when channels cancel; it changes only for one that is clearly louder
    for block in blocks:
        if block.shape[1] == 1:
            yield block[:, 0]
            continue
        mono = block.mean(axis=1)
        with np.errstate(invalid="ignore", over="ignore"):  # such samples are rejected later
            energy = _energy(block)
            if float(_energy(mono[:, None])[0]) * block.shape[1] ** 2 < _CANCELS * energy.sum():
                if channel >= len(energy) or energy.max() > 4 * energy[channel]:
                    channel = int(energy.argmax())
                mono = block[:, channel].copy()
        yield mono


def _energy(block: Waveform) -> Waveform:
    """Energy (channels,) of a block (samples, channels), without its mean."""
    centered = block - block.mean(axis=0)
    energy: Waveform = np.einsum("nc,nc->c", centered, centered)
    return energy


def to_model_rate(blocks: Iterable[Waveform], rate: int, name: str) -> Iterator[Waveform]:
    """Check, resample to 16 kHz and clip blocks (samples,) at `rate`, one at a time.

    Raises:
        AudioError: a block contains NaN, infinity or integers.
    """
    converter = RateConverter(rate, name)
    for block in blocks:
        converted = converter.add(block)
        if len(converted):
            yield converted
    rest = converter.finish()
    if len(rest):
        yield rest


class RateConverter:
    """Checks, resamples to 16 kHz and clips the blocks of one recording as they arrive.

    Args:
        rate: sample rate of the blocks in Hz.
        name: name of the recording in errors.
    """

    def __init__(self, rate: int, name: str) -> None:
        self.rate = rate
        self.name = name
        self._resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1)
        self._taken = self._given = 0

    def add(self, block: Waveform) -> Waveform:
        """Convert the next block (samples,); the result may be shorter, as resampling looks ahead.

        Raises:
            AudioError: the block contains NaN, infinity or integers.
        """
        _check_finite(block, self._taken, self.name, self.rate)
        _check_scale(block, self.name)
        self._taken += len(block)
        if self._resampler is not None:
            block = self._resampler.resample_chunk(np.ascontiguousarray(block))
        self._given += len(block)
        return np.clip(block, -1.0, 1.0)

    def finish(self) -> Waveform:
        """Return the end of the recording (samples,), after its last block."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        # soxr may omit the last, incomplete sample.
        missing = max(0, -(-self._taken * SAMPLE_RATE // self.rate) - self._given)
        padded: Waveform = np.pad(rest, (0, max(0, missing - len(rest))))[:missing]
        return np.clip(padded, -1.0, 1.0)


def check_duration(blocks: Iterable[Waveform], name: str) -> Iterator[Waveform]:
    """Yield blocks (samples,) at 16 kHz unchanged.

    Raises:
        AudioError: together they are shorter than one analysis window.
    """
    count = 0
    for block in blocks:
        count += len(block)
        yield block
    _check_length(count, name, SAMPLE_RATE)


def _check_scale(samples: Waveform, name: str) -> None:
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > _LOUDEST:
        raise AudioError(
            name,
            f"its samples reach {peak:.6g}; floats are expected in [-1, 1]",
            "Divide 16-bit samples stored as floats by 32768",
        )


def scale_pcm(samples: npt.NDArray[Any]) -> Waveform:
    """Scale PCM of any width to floats in [-1, 1), of the same shape; floats are not scaled."""
    with np.errstate(over="ignore"):  # doubles that overflow are rejected later as infinite
        floats = samples.astype(np.float32, copy=False)
    if samples.dtype.kind == "f":
        return floats
    full_scale = np.float32(2 ** (8 * samples.dtype.itemsize - 1))
    return (floats - full_scale if samples.dtype.kind == "u" else floats) / full_scale


def check_format(rate: int, channels: int, name: str) -> None:
    """Raise an AudioError if the sample rate or the number of channels is not supported."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError(
            name,
            f"the sample rate is {rate} Hz; {LOWEST_RATE} to {HIGHEST_RATE} Hz are supported",
            "Check how it was recorded or written",
        )
    if not 1 <= channels <= _MOST_CHANNELS:
        raise AudioError(
            name,
            f"there are {channels} channels; at most {_MOST_CHANNELS} are supported",
            "Check that samples and channels were not swapped when it was written",
        )


def concatenate(blocks: list[Waveform]) -> Waveform:
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
