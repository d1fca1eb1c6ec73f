"""Waveform augmentation for training: speed, room, noise, telephone and level.

Only training imports this module. All imports are at module level, so that they are complete before
reader processes are forked.
"""

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import oaconvolve

from asr_s2s.audio.decode import probe, read_audio
from asr_s2s.audio.folder import search_folder
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.config import AugmentConfig
from asr_s2s.errors import AudioError, ConfigError

Samples = NDArray[np.float32]


class WaveformAugment:
    """Speed perturbation, room, additive noise, telephone and gain, applied in this order.

    All randomness comes from the generators passed in, so that a resumed run repeats it exactly.
    """

    def __init__(self, config: AugmentConfig, base: Path = Path()) -> None:
        """Args:
        config: augmentation settings.
        base: folder that `noise_folder` and `room_folder` are relative to.

        Raises:
            ConfigError: there is no speed factor, or a folder has no recordings.
        """
        if not config.speeds:
            raise ConfigError(
                "augment.speeds", "expected at least one speed factor", "Use for example [1.0]"
            )
        self.config = config
        self.noises: list[Path] = []
        if config.noise_folder is not None and config.noise_probability > 0.0:
            self.noises = _find_recordings(base / config.noise_folder, "augment.noise_folder")
        self.rooms: list[Samples] = []
        if config.room_folder is not None and config.room_probability > 0.0:
            paths = _find_recordings(base / config.room_folder, "augment.room_folder")
            self.rooms = [read_impulse_response(p, config.room_seconds) for p in paths]

    def draw_speed(self, rng: np.random.Generator) -> float:
        """Draw a speed factor for a batch. Different factors within a batch of similar lengths
        would add about 10 % of padding."""
        return self.config.speeds[rng.integers(len(self.config.speeds))]

    def __call__(self, samples: Samples, speed: float, rng: np.random.Generator) -> Samples:
        """Augment a waveform `(samples,)`; the length of the result depends on the speed."""
        config = self.config
        if speed != 1.0:
            # Treating the recording as one of a higher rate changes both tempo and pitch.
            samples = soxr.resample(samples, SAMPLE_RATE * speed, SAMPLE_RATE, "MQ")
        # Disabled augmentations draw nothing, so that the draws of the others do not change.
        if config.room_probability > 0.0 and rng.random() < config.room_probability:
            samples = oaconvolve(samples, self._room(rng))[: len(samples)].astype(np.float32)
        if rng.random() < config.noise_probability:
            noise = self._noise(len(samples), rng)
            samples = add_noise(samples, noise, rng.uniform(*config.noise_snr_db))
        if config.telephone_probability > 0.0 and rng.random() < config.telephone_probability:
            samples = telephone(samples, rng)
        gain = 10.0 ** (rng.uniform(-config.gain_db, config.gain_db) / 20.0)
        return np.asarray(samples * np.float32(gain), dtype=np.float32)

    def _room(self, rng: np.random.Generator) -> Samples:
        if not self.rooms:
            return decaying_noise(rng.uniform(0.15, self.config.room_seconds), rng)
        return self.rooms[rng.integers(len(self.rooms))]

    def _noise(self, count: int, rng: np.random.Generator) -> Samples:
        if not self.noises:
            return colored_noise(count, slope=rng.uniform(0.0, 2.0), rng=rng)
        path = self.noises[rng.integers(len(self.noises))]
        needed = count / SAMPLE_RATE
        start = rng.uniform(0.0, max(0.0, probe(path).duration - needed))
        noise = read_audio(path, start=start, duration=needed + 0.01)
        return np.resize(noise, count)  # repeats a recording shorter than the speech


def colored_noise(count: int, *, slope: float, rng: np.random.Generator) -> Samples:
    """Generate noise whose power falls as 1 / frequency ** slope: 0 white, 1 pink, 2 brown."""
    size = next_fast_len(count, real=True)  # a prime length is ten times slower
    spectrum = rfft(rng.standard_normal(size, dtype=np.float32))
    frequencies = np.maximum(rfftfreq(size), 50.0 / SAMPLE_RATE)  # flat below 50 Hz
    shape = (frequencies ** (-slope / 2.0)).astype(np.float32)
    noise: Samples = irfft(spectrum * shape, n=size)[:count]
    return noise


def add_noise(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Add noise of the same length at a signal-to-noise ratio in dB."""
    signal_power = float(np.mean(np.square(samples)))
    noise_power = float(np.mean(np.square(noise)))
    if signal_power == 0.0 or noise_power == 0.0:
        return samples
    scale = np.sqrt(signal_power / noise_power / 10.0 ** (snr_db / 10.0))
    return np.asarray(samples + np.float32(scale) * noise, dtype=np.float32)


def read_impulse_response(path: Path, seconds: float) -> Samples:
    """Read a room impulse response: at most `seconds` from the direct sound on, with energy 1.

    Raises:
        AudioError: the file cannot be read, or is silent.
    """
    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(
            path, f"this impulse response cannot be read ({error})", "Remove it, or copy it again"
        ) from error
    # `read_audio` would reject a response shorter than one analysis window.
    response: Samples = soxr.resample(channels[:, 0], rate, SAMPLE_RATE)
    direct = int(np.argmax(np.abs(response)))
    response = response[direct : direct + int(seconds * SAMPLE_RATE)].copy()
    fade = min(len(response), SAMPLE_RATE // 20)  # avoids a click at the cut
    response[len(response) - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    energy = float(np.sum(np.square(response)))
    if energy == 0.0:
        raise AudioError(path, "this impulse response is silent", "Remove it")
    return response / np.float32(np.sqrt(energy))


def decaying_noise(seconds: float, rng: np.random.Generator) -> Samples:
    """Generate an impulse response: direct sound, then, after 1 to 12 ms, noise that decays by 60
    dB in `seconds`, with a total energy 0 to 15 dB below that of the direct sound."""
    count = int(seconds * SAMPLE_RATE)
    decay = 10.0 ** (-3.0 * np.arange(count) / count)
    tail = colored_noise(count, slope=rng.uniform(0.0, 1.0), rng=rng) * decay
    tail *= 10.0 ** (-rng.uniform(0.0, 15.0) / 20.0) / np.sqrt(np.sum(np.square(tail)))
    delay = np.zeros(int(rng.uniform(0.001, 0.012) * SAMPLE_RATE))
    return np.concatenate([[1.0], delay, tail]).astype(np.float32)


def telephone(samples: Samples, rng: np.random.Generator) -> Samples:
    """Simulate an 8 kHz telephone: band-limited to 300 to 3,400 Hz with probability 0.7, and mu-law
    coded (ITU-T G.711: 8 bits, logarithmic) with probability 0.5."""
    size = next_fast_len(len(samples), real=True)
    spectrum = rfft(samples, n=size)
    frequencies = rfftfreq(size, 1.0 / SAMPLE_RATE)
    low, high = (300.0, 3400.0) if rng.random() < 0.7 else (0.0, 3900.0)
    # Band edges are slopes of 100 Hz; steps would ring.
    gain = np.clip((frequencies - low) / 100.0 + 1.0, 0.0, 1.0)
    gain *= np.clip((high - frequencies) / 100.0 + 1.0, 0.0, 1.0)
    limited: Samples = irfft(spectrum * gain.astype(np.float32), n=size)[: len(samples)]
    if rng.random() < 0.5:
        peak = float(np.abs(limited).max()) or 1.0
        loudest = rng.uniform(0.05, 1.0)  # coding is coarser at low levels
        scaled = limited / peak * loudest
        coded = np.sign(scaled) * np.log1p(255.0 * np.abs(scaled)) / np.log(256.0)
        coded = np.round(coded * 127.0) / 127.0
        decoded = np.sign(coded) * np.expm1(np.abs(coded) * np.log(256.0)) / 255.0
        limited = (decoded / loudest * peak).astype(np.float32)
    return limited


def _find_recordings(folder: Path, key: str) -> list[Path]:
    files = search_folder(folder).recordings
    if not files:
        raise ConfigError(
            key,
            f"there are no recordings in {folder}",
            "Give a folder that contains recordings, or null",
        )
    return files
