"""What lies between a mouth and a recording: voice, room, noise, bandwidth and level.

Every function takes mono float32 samples at 16 kHz and its chance from a generator.
"""

import librosa
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

from asr_s2s.audio.augment import add_noise, coloured_noise
from asr_s2s.audio.waveform import SAMPLE_RATE

Samples = NDArray[np.float32]


def shift_voice(samples: Samples, factor: float) -> Samples:
    """Pitch and formants times `factor`, as of a shorter or longer vocal tract; the duration is
    divided by it."""
    shifted: Samples = librosa.resample(
        samples, orig_sr=SAMPLE_RATE * factor, target_sr=SAMPLE_RATE, res_type="soxr_mq"
    )
    return shifted


def reverberate(samples: Samples, rng: np.random.Generator) -> Samples:
    """A room: noise that decays by 60 dB in 0.15 to 0.7 s after the direct sound, 0 to 15 dB
    below it in all."""
    seconds = rng.uniform(0.15, 0.7)
    count = int(seconds * SAMPLE_RATE)
    delay = int(rng.uniform(0.001, 0.012) * SAMPLE_RATE)
    decay = 10.0 ** (-3.0 * np.arange(count) / count)
    tail = coloured_noise(count, slope=rng.uniform(0.0, 1.0), rng=rng) * decay
    tail *= 10.0 ** (-rng.uniform(0.0, 15.0) / 20.0) / np.sqrt(np.sum(np.square(tail)))
    response = np.concatenate([[1.0], np.zeros(delay), tail])
    return fftconvolve(samples, response)[: len(samples)].astype(np.float32)


def add_background(samples: Samples, others: list[Samples], rng: np.random.Generator) -> Samples:
    """Noise of a random colour, or the babble of three to six other utterances, 3 to 30 dB below
    the speech."""
    count = len(samples)
    if others and rng.random() < 0.3:
        chosen = rng.choice(len(others), size=rng.integers(3, 7))
        noise = np.zeros(count, dtype=np.float32)
        for index in chosen:
            noise += np.roll(np.resize(others[index], count), rng.integers(count))
    else:
        noise = coloured_noise(count, slope=rng.uniform(0.0, 2.0), rng=rng)
    return add_noise(samples, noise, rng.uniform(3.0, 30.0))


def limit_band(samples: Samples, rng: np.random.Generator) -> Samples:
    """A telephone's 300 to 3,400 Hz, or no more than 2.5 to 7 kHz."""
    if rng.random() < 0.4:
        filters = butter(4, [300.0, 3400.0], "bandpass", fs=SAMPLE_RATE, output="sos")
    else:
        filters = butter(6, rng.uniform(2500.0, 7000.0), "lowpass", fs=SAMPLE_RATE, output="sos")
    limited: Samples = sosfilt(filters, samples).astype(np.float32)
    return limited


def set_level(samples: Samples, rng: np.random.Generator) -> Samples:
    """A peak of -25 to -1 dB below full scale."""
    peak = 10.0 ** (rng.uniform(-25.0, -1.0) / 20.0)
    return np.asarray(samples * (peak / max(float(np.abs(samples).max()), 1e-6)), dtype=np.float32)
