"""Log-mel features, computed in batches on the model's device."""

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks, spectrogram

from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.config import FeatureConfig

WINDOW = 400
"""Samples in an analysis window: 25 ms."""
HOP = 160
"""Samples between windows: 10 ms."""
FFT = 512
FRAMES_PER_SECOND = SAMPLE_RATE / HOP
WARPS = 21
"""Vocal tract lengths that training draws from."""
ENERGY_FLOOR = 1e-6
"""Mel energies below this count as silence, so that digital zeros stay finite and near it."""
LEVEL = 0.05
"""Root mean square that `features.normalize_level` scales to: -26 dBFS, a usual level of speech."""
LEVEL_FLOOR = 1e-5
"""Root mean squares below this (-100 dBFS) are scaled as this, so that silence stays silent."""


def padding_mask(lengths: Tensor, size: int) -> Tensor:
    """True beyond each row's length: `(batch, size)`."""
    return torch.arange(size, device=lengths.device)[None, :] >= lengths[:, None]


class LogMel(nn.Module):
    """Natural log of Slaney mel energies (the scale and norm of `librosa.feature.melspectrogram`).

    The signal is extended with zeros, not by reflection, at both ends: a reflection would see a
    row's padding, and the same recording would then differ alone and in a batch.

    Args:
        mel_bins: number of filters.
        vocal_tract_range: in training, each utterance's frequencies are stretched by a factor drawn
            from 1 - this to 1 + this (see `warped_filters`); 0 leaves them.
        normalize_level: scale each utterance to the same root mean square first.
    """

    filters: Tensor
    warped: Tensor | None
    window: Tensor

    def __init__(
        self, mel_bins: int, vocal_tract_range: float = 0.0, *, normalize_level: bool = False
    ) -> None:
        super().__init__()
        self.normalize_level = normalize_level
        filters = melscale_fbanks(
            FFT // 2 + 1,
            0.0,
            SAMPLE_RATE / 2,
            mel_bins,
            SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        # Constants, not weights: they are not saved with the model.
        self.register_buffer("filters", filters, persistent=False)
        warped = warped_filters(filters, vocal_tract_range) if vocal_tract_range > 0.0 else None
        self.register_buffer("warped", warped, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms `(batch, samples)` in [-1, 1] and sample counts `(batch,)` to features
        `(batch, frames, mel_bins)` and frame counts `(batch,)`."""
        waveforms = waveforms.masked_fill(padding_mask(lengths, waveforms.size(1)), 0.0)
        if self.normalize_level:
            level = (waveforms.square().sum(1) / lengths.clamp_min(1)).sqrt()
            waveforms = waveforms * (LEVEL / level.clamp_min(LEVEL_FLOOR))[:, None]
        with torch.autocast(waveforms.device.type, enabled=False):  # 16 bits are too few here
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


def warped_filters(filters: Tensor, widest: float) -> Tensor:
    """Mel filters of speakers with longer and shorter vocal tracts (Jaitly & Hinton, 2013).

    A factor a moves the energy at frequency f to a x f, up to the frequency above which the rest is
    stretched or squeezed to end at the same highest one.

    Args:
        filters: `(frequencies, mel_bins)`.
        widest: the factors lie evenly from 1 - this to 1 + this.

    Returns:
        `(WARPS, frequencies, mel_bins)`; the middle one is `filters`.
    """
    top = len(filters) - 1
    place = torch.arange(top + 1, dtype=torch.float64)
    warped = []
    for factor in torch.linspace(1.0 - widest, 1.0 + widest, WARPS, dtype=torch.float64).tolist():
        knee = 0.6 * top * min(factor, 1.0) / factor  # 4.8 kHz of 8
        upper = top - (top - knee * factor) / (top - knee) * (top - place)
        moved = torch.where(place <= knee, place * factor, upper).clamp(0.0, top)
        below = moved.floor().long().clamp_max(top - 1)
        above = (moved - below)[:, None].float()
        warped.append((1.0 - above) * filters[below] + above * filters[below + 1])
    return torch.stack(warped)


class FeatureNormalizer(nn.Module):
    """Zero mean and unit variance in each mel bin; frames beyond a row's length become zero.

    `global` uses statistics of the training set, kept with the weights; `utterance` those of the
    row's own valid frames, which cancels level and channel.
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
        """Features `(batch, frames, mel_bins)` and frame counts `(batch,)`; the same shape back."""
        padded = padding_mask(lengths, features.size(1))[:, :, None]
        if self.kind == "global":
            features = (features - self.mean) / self.std
        else:
            counts = lengths[:, None, None]
            mean = features.masked_fill(padded, 0.0).sum(1, keepdim=True) / counts
            centered = (features - mean).masked_fill(padded, 0.0)
            variance = centered.square().sum(1, keepdim=True) / counts
            # A constant bin (a tone, a muted band) must not be blown up into noise.
            features = centered / variance.sqrt().clamp_min(0.1)
        return features.masked_fill(padded, 0.0)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Store the training set's mean and standard deviation, each `(mel_bins,)`."""
        self.mean.copy_(mean)
        self.std.copy_(std.clamp_min(0.1))
