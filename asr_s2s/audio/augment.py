"""Changes to training audio: speed, level and noise on the waveform, SpecAugment on features."""

from pathlib import Path

import librosa
import numpy as np
import scipy  # its parts load when they are used: transcribing needs none
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr_s2s.audio.decode import AUDIO_SUFFIXES, probe, read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.config import AugmentConfig
from asr_s2s.errors import ConfigError

Samples = NDArray[np.float32]


class WaveformAugment:
    """Speed perturbation, gain and additive noise.

    All chance comes from the generator handed in, so that an utterance's changes depend on the
    seed, the epoch and its name alone, and a resumed run repeats them exactly.
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

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Waveform `(samples,)` to a changed waveform; its length follows the speed."""
        config = self.config
        speed = config.speeds[rng.integers(len(config.speeds))]
        if speed != 1.0:
            # Played faster, the recording is as one taken at a higher rate: tempo and pitch move.
            samples = librosa.resample(
                samples, orig_sr=SAMPLE_RATE * speed, target_sr=SAMPLE_RATE, res_type="soxr_mq"
            )
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
    size = scipy.fft.next_fast_len(count, real=True)  # a prime length would cost ten times as much
    spectrum = scipy.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    frequencies = np.maximum(scipy.fft.rfftfreq(size), 50.0 / SAMPLE_RATE)  # level below 50 Hz
    shape = (frequencies ** (-slope / 2.0)).astype(np.float32)
    noise: Samples = scipy.fft.irfft(spectrum * shape, n=size)[:count]
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


class SpecAugment(nn.Module):
    """Mask random bands and spans with the features' mean, zero (Park et al., 2019).

    Time warping is left out: the authors found that it adds little for its cost.
    """

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Normalised features `(batch, frames, mel_bins)`; unchanged when not training."""
        if not self.training:
            return features
        config = self.config
        batch, frames, bins = features.shape
        device = features.device
        band = _spans(
            config.frequency_masks,
            bins=torch.full((batch,), bins, device=device),
            widest=torch.full((batch,), float(config.frequency_mask_bins), device=device),
            size=bins,
        )
        span = _spans(
            config.time_masks,
            bins=lengths,
            widest=(lengths * config.time_mask_fraction).clamp_max(config.time_mask_frames),
            size=frames,
        )
        return features.masked_fill(band[:, None, :] | span[:, :, None], 0.0)


def _spans(count: int, *, bins: Tensor, widest: Tensor, size: int) -> Tensor:
    """The union of `count` random spans in each row, True inside: `(batch, size)`.

    A span is at most `widest` long and lies within the row's first `bins` places.
    """
    shape = (len(bins), count, 1)
    width = torch.rand(shape, device=bins.device) * (widest[:, None, None] + 1.0)
    start = torch.rand(shape, device=bins.device) * (bins[:, None, None] - width).clamp_min(0.0)
    place = torch.arange(size, device=bins.device)
    inside = (place >= start.floor()) & (place < start.floor() + width.floor())
    return inside.any(1)
