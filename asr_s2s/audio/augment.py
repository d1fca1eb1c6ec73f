"""Changes to training recordings: speed, level and noise.

Imported by training alone, and whole: what it needs is there before readers are forked.
"""

from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from asr_s2s.audio.decode import AUDIO_SUFFIXES, probe, read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.config import AugmentConfig
from asr_s2s.errors import ConfigError

Samples = NDArray[np.float32]


class WaveformAugment:
    """Speed perturbation, gain and additive noise.

    All chance comes from the generators handed in, so that a resumed run repeats it exactly.
    """

    def __init__(self, config: AugmentConfig, base: Path = Path()) -> None:
        """Args:
        config: what to change, and how much.
        base: folder that `noise_folder` is relative to.
        """
        if not config.speeds or min(config.speeds) <= 0.2 or max(config.speeds) >= 5.0:
            raise ConfigError(
                "augment.speeds",
                f"speed factors must lie between 0.2 and 5, found {list(config.speeds)}",
                "Use for example [0.9, 1.0, 1.1]",
            )
        self.config = config
        self.noises: list[Path] = []
        if config.noise_folder is not None and config.noise_probability > 0.0:
            self.noises = _noise_files(base / config.noise_folder)

    def draw_speed(self, rng: np.random.Generator) -> float:
        """One of the speed factors. Utterances of a batch share one: bucketed by length, they would
        else need a tenth of padding."""
        return self.config.speeds[rng.integers(len(self.config.speeds))]

    def __call__(self, samples: Samples, speed: float, rng: np.random.Generator) -> Samples:
        """Waveform `(samples,)` to a changed waveform; its length follows the speed."""
        config = self.config
        if speed != 1.0:
            # Played faster, the recording is as one taken at a higher rate: tempo and pitch move.
            samples = soxr.resample(samples, SAMPLE_RATE * speed, SAMPLE_RATE, "MQ")
        if rng.random() < config.noise_probability:
            noise = self._noise(len(samples), rng)
            samples = add_noise(samples, noise, rng.uniform(*config.noise_snr_db))
        gain = 10.0 ** (rng.uniform(-config.gain_db, config.gain_db) / 20.0)
        return np.asarray(samples * np.float32(gain), dtype=np.float32)

    def _noise(self, count: int, rng: np.random.Generator) -> Samples:
        if not self.noises:
            return coloured_noise(count, slope=rng.uniform(0.0, 2.0), rng=rng)
        path = self.noises[rng.integers(len(self.noises))]
        needed = count / SAMPLE_RATE
        start = rng.uniform(0.0, max(0.0, probe(path).duration - needed))
        noise = read_audio(path, start=start, duration=needed + 0.01)
        return np.resize(noise, count)  # repeats a recording shorter than the speech


def coloured_noise(count: int, *, slope: float, rng: np.random.Generator) -> Samples:
    """Noise whose power falls as 1 / frequency ** slope: 0 white, 1 pink, 2 brown."""
    size = next_fast_len(count, real=True)  # a prime length would cost ten times as much
    spectrum = rfft(rng.standard_normal(size, dtype=np.float32))
    frequencies = np.maximum(rfftfreq(size), 50.0 / SAMPLE_RATE)  # level below 50 Hz
    shape = (frequencies ** (-slope / 2.0)).astype(np.float32)
    noise: Samples = irfft(spectrum * shape, n=size)[:count]
    return noise


def add_noise(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Mix noise of the same length in at a signal-to-noise ratio in dB."""
    signal_power = float(np.mean(np.square(samples)))
    noise_power = float(np.mean(np.square(noise)))
    if signal_power == 0.0 or noise_power == 0.0:
        return samples
    scale = np.sqrt(signal_power / noise_power / 10.0 ** (snr_db / 10.0))
    return np.asarray(samples + np.float32(scale) * noise, dtype=np.float32)


def _noise_files(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise ConfigError(
            "augment.noise_folder",
            f"no recordings under {folder}",
            "Name a folder of noise recordings, or null for synthetic noise",
        )
    return files
