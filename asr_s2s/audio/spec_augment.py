"""SpecAugment: masks over bands and spans of features (Park et al., 2019)."""

import torch
from torch import Tensor, nn

from asr_s2s.config import AugmentConfig


class SpecAugment(nn.Module):
    """Mask random bands and spans with the features' mean, zero (Park et al., 2019).

    Time warping is left out: the authors found that it adds little for its cost.
    """

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Normalized features `(batch, frames, mel_bins)`; unchanged when not training."""
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
