"""Log-mel features, computed in batches on the model's device."""

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks, spectrogram

from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.config import FeatureConfig
from asr_s2s.nn.masks import padding_mask

WINDOW = 400
"""Length of an analysis window in samples: 25 ms."""
HOP = 160
"""Distance between windows in samples: 10 ms."""
FFT = 512
FRAMES_PER_SECOND = SAMPLE_RATE / HOP
WARPS = 21
"""Number of vocal tract length factors that training draws from."""
ENERGY_FLOOR = 1e-6
"""Floor on mel energies; keeps the logarithm of digital silence finite and close to real
silence."""
LEVEL = 0.05
"""Target root mean square of `features.normalize_level`: -26 dBFS, a usual level of speech."""
LEVEL_FLOOR = 1e-5
"""Floor on the measured root mean square (-100 dBFS); silence is not amplified into noise."""


class LogMel(nn.Module):
    """Natural log of Slaney mel energies (scale and norm of `librosa.feature.melspectrogram`).

    The signal is extended with zeros, not by reflection, at both ends. Reflection would include a
    row's padding, so that features would depend on the rest of the batch.

    Args:
        mel_bins: number of mel filters.
        vocal_tract_range: in training, scale each utterance's frequencies by a factor drawn from
            1 - this to 1 + this (see `warped_filters`); 0 disables it.
        normalize_level: scale each waveform to the same root mean square first.
    """

    filters: Tensor
    warped: Tensor | None
    window: Tensor

    def __init__(
        self, mel_bins: int, vocal_tract_range: float = 0.0, *, normalize_level: bool = False
    ) -> None:
        super().__init__()
        self.normalize_level = normalize_level
        with torch.device("cpu"):  # checks of settings build models on the meta device
            window = torch.hann_window(WINDOW)
            filters = melscale_fbanks(
                FFT // 2 + 1,
                0.0,
                SAMPLE_RATE / 2,
                mel_bins,
                SAMPLE_RATE,
                norm="slaney",
                mel_scale="slaney",
            )
        # Constants, so they are not saved with the weights.
        self.register_buffer("filters", filters, persistent=False)
        warped = warped_filters(filters, vocal_tract_range) if vocal_tract_range > 0.0 else None
        self.register_buffer("warped", warped, persistent=False)
        self.register_buffer("window", window, persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features.

        Args:
            waveforms: `(batch, samples)` in [-1, 1].
            lengths: sample counts, `(batch,)`.

        Returns:
            features `(batch, frames, mel_bins)` and frame counts `(batch,)`.
        """
        waveforms = waveforms.masked_fill(padding_mask(lengths, waveforms.size(1)), 0.0)
        if self.normalize_level:
            energy = _sum_over_time(waveforms.square())
            level = (energy / lengths.clamp_min(1)).sqrt().to(waveforms.dtype)
            waveforms = waveforms * (LEVEL / level.clamp_min(LEVEL_FLOOR))[:, None]
        with torch.autocast(waveforms.device.type, enabled=False):  # 16 bits are not precise enough
            power = spectrogram(
                waveforms.float(),
                pad=0,
                window=self.window,
                n_fft=FFT,
                hop_length=HOP,
                win_length=WINDOW,
                power=2.0,
                normalized=False,
                pad_mode="constant",
            )
            filters = self.filters
            if self.training and self.warped is not None:
                drawn = torch.randint(len(self.warped), (len(waveforms),), device=power.device)
                filters = self.warped[drawn]
            energies = power.transpose(1, 2) @ filters
        return energies.clamp_min(ENERGY_FLOOR).log(), lengths // HOP + 1


def _sum_over_time(values: Tensor) -> Tensor:
    """Sum `(batch, time, ...)` over time in float64: the order of sums depends on the padding, and
    so would their results in float32."""
    return values.sum(1, dtype=torch.float64)


def warped_filters(filters: Tensor, widest: float) -> Tensor:
    """Mel filters for vocal tract length perturbation (Jaitly & Hinton, 2013).

    A factor a moves the energy at frequency f to a x f up to a knee; above the knee the axis is
    scaled linearly so that the highest frequency stays the same.

    Args:
        filters: `(frequencies, mel_bins)`.
        widest: the factors are spaced evenly from 1 - this to 1 + this.

    Returns:
        filters per factor, `(WARPS, frequencies, mel_bins)`; the middle ones equal `filters`.
    """
    top = len(filters) - 1
    frequency = torch.arange(top + 1, dtype=torch.float64)
    warped = []
    for factor in torch.linspace(1.0 - widest, 1.0 + widest, WARPS, dtype=torch.float64).tolist():
        knee = 0.6 * top * min(factor, 1.0) / factor  # 4.8 of 8 kHz
        upper = top - (top - knee * factor) / (top - knee) * (top - frequency)
        moved = torch.where(frequency <= knee, frequency * factor, upper).clamp(0.0, top)
        below = moved.floor().long().clamp_max(top - 1)
        above = (moved - below)[:, None].float()
        warped.append((1.0 - above) * filters[below] + above * filters[below + 1])
    return torch.stack(warped)


class FeatureNormalizer(nn.Module):
    """Normalize each mel bin to zero mean and unit variance, and set padding frames to zero.

    `global` uses statistics of the training set, stored with the weights; `utterance` uses those of
    the row's own valid frames, which cancels level and channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.kind = config.normalization
        if self.kind == "global":
            self.register_buffer("mean", torch.zeros(config.mel_bins))
            self.register_buffer("std", torch.ones(config.mel_bins))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Normalize features `(batch, frames, mel_bins)` with frame counts `(batch,)`."""
        padded = padding_mask(lengths, features.size(1))[:, :, None]
        if self.kind == "global":
            features = (features - self.mean) / self.std
        else:
            counts = lengths[:, None]
            mean = _sum_over_time(features.masked_fill(padded, 0.0)) / counts
            centered = (features - mean[:, None].to(features.dtype)).masked_fill(padded, 0.0)
            variance = _sum_over_time(centered.square()) / counts
            # A constant bin (a tone, a muted band) must not be amplified into noise.
            std = variance.sqrt().to(features.dtype).clamp_min(0.1)
            features = centered / std[:, None]
        return features.masked_fill(padded, 0.0)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Store the training set's mean and standard deviation, each `(mel_bins,)`."""
        self.mean.copy_(mean)
        self.std.copy_(std.clamp_min(0.1))
