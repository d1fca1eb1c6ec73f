"""Augment speech (voice, room, noise, bandwidth, level), and generate audio without speech.

All waveforms are mono float32 samples at 16 kHz; random functions take a generator.
"""

import librosa
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

from asr_s2s.audio.augment import add_noise, colored_noise, decaying_noise
from asr_s2s.audio.waveform import SAMPLE_RATE

Samples = NDArray[np.float32]


def shift_voice(samples: Samples, factor: float) -> Samples:
    """Scale pitch and formants by `factor`, like a vocal tract of another length; divides the
    duration by it."""
    shifted: Samples = librosa.resample(
        samples, orig_sr=SAMPLE_RATE * factor, target_sr=SAMPLE_RATE, res_type="soxr_mq"
    )
    return shifted


def reverberate(samples: Samples, rng: np.random.Generator) -> Samples:
    """Convolve with an artificial room that decays by 60 dB in 0.15 to 0.7 s."""
    response = decaying_noise(rng.uniform(0.15, 0.7), rng)
    return fftconvolve(samples, response)[: len(samples)].astype(np.float32)


def add_background(samples: Samples, others: list[Samples], rng: np.random.Generator) -> Samples:
    """Add noise of a random color, or babble of three to six other utterances, 3 to 30 dB below the
    speech."""
    count = len(samples)
    if others and rng.random() < 0.3:
        noise = babble(count, others, int(rng.integers(3, 7)), rng)
    else:
        noise = colored_noise(count, slope=rng.uniform(0.0, 2.0), rng=rng)
    return add_noise(samples, noise, rng.uniform(3.0, 30.0))


def babble(count: int, voices: list[Samples], talkers: int, rng: np.random.Generator) -> Samples:
    """Sum of `talkers` random voices, each repeated to `count` samples from a random offset."""
    noise = np.zeros(count, dtype=np.float32)
    for index in rng.choice(len(voices), size=talkers):
        noise += np.roll(np.resize(voices[index], count), rng.integers(count))
    return noise


def without_speech(seconds: float, voices: list[Samples], rng: np.random.Generator) -> Samples:
    """Generate noise, unintelligible babble, a melody, clicks, or two of these, at the level of a
    recording or, one in five, of a silent room."""
    count = int(seconds * SAMPLE_RATE)
    samples = np.zeros(count, dtype=np.float32)
    kinds = rng.permutation(4)[: rng.choice([1, 1, 1, 2])]
    for kind in kinds:
        if kind == 0:
            part = colored_noise(count, slope=rng.uniform(0.0, 2.0), rng=rng)
        elif kind == 1:
            part = babble(count, voices, int(rng.integers(6, 16)), rng)
        elif kind == 2:
            part = melody(count, rng)
        else:
            part = clicks(count, rng)
        samples += part / max(float(np.abs(part).max()), 1e-6)
    noise = colored_noise(count, slope=1.0, rng=rng)
    samples += noise * np.float32(10.0 ** rng.uniform(-4.0, -2.0))
    if rng.random() < 0.25:
        samples = limit_band(samples, rng)
    samples = set_level(samples, rng)
    return samples * np.float32(0.003) if rng.random() < 0.2 else samples


def melody(count: int, rng: np.random.Generator) -> Samples:
    """Generate notes of 0.1 to 3 s, each of one to three tones between 60 and 4,000 Hz with up to
    eight harmonics."""
    samples = np.zeros(count, dtype=np.float32)
    start = 0
    while start < count:
        length = min(count - start, int(rng.uniform(0.1, 3.0) * SAMPLE_RATE))
        time = np.arange(length) / SAMPLE_RATE
        note = np.zeros(length)
        for frequency in 60.0 * (4000.0 / 60.0) ** rng.random(rng.integers(1, 4)):
            for harmonic in range(1, int(rng.integers(1, 9))):
                if frequency * harmonic < SAMPLE_RATE / 2:
                    phase = rng.uniform(0.0, 2.0 * np.pi)
                    note += np.sin(2.0 * np.pi * frequency * harmonic * time + phase) / harmonic
        fade = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.01)
        samples[start : start + length] = note * fade * np.exp(-rng.uniform(0.0, 4.0) * time)
        start += length
    return samples


def clicks(count: int, rng: np.random.Generator) -> Samples:
    """Generate bursts of noise that decay in 2 to 60 ms, one to eight per second."""
    samples = np.zeros(count, dtype=np.float32)
    for place in rng.integers(count, size=max(1, int(count / SAMPLE_RATE * rng.uniform(1, 8)))):
        length = min(count - place, int(rng.uniform(0.002, 0.06) * SAMPLE_RATE * 5))
        decay = np.exp(-5.0 * np.arange(length) / max(length, 1))
        burst = colored_noise(length, slope=rng.uniform(0.0, 2.0), rng=rng) * decay
        burst = burst.astype(np.float32) * np.float32(rng.uniform(0.2, 1))
        samples[place : place + length] += burst
    return samples


def limit_band(samples: Samples, rng: np.random.Generator) -> Samples:
    """Limit the band to 300-3,400 Hz (telephone), or low-pass at 2.5 to 7 kHz."""
    if rng.random() < 0.4:
        filters = butter(4, [300.0, 3400.0], "bandpass", fs=SAMPLE_RATE, output="sos")
    else:
        filters = butter(6, rng.uniform(2500.0, 7000.0), "lowpass", fs=SAMPLE_RATE, output="sos")
    limited: Samples = sosfilt(filters, samples).astype(np.float32)
    return limited


def set_level(samples: Samples, rng: np.random.Generator) -> Samples:
    """Scale the peak to between -25 and -1 dB relative to full scale."""
    peak = 10.0 ** (rng.uniform(-25.0, -1.0) / 20.0)
    return np.asarray(samples * (peak / max(float(np.abs(samples).max()), 1e-6)), dtype=np.float32)
