"""SpecAugment: random masking of frequency bands and time spans (Park et al., 2019)."""

import torch
from torch import Tensor, nn

from asr_s2s.config import AugmentConfig


class SpecAugment(nn.Module):
    """Mask random frequency bands and time spans with zero, the mean of normalized features.

    Time warping is left out; the authors found that it adds little for its cost.
    """

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Mask normalized features `(batch, frames, mel_bins)`; does nothing in evaluation mode."""
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
    """Draw `count` random spans per row; returns a mask `(batch, size)` that is True inside them.

    A span is at most `widest` long and lies within the row's first `bins` positions.
    """
    shape = (len(bins), count, 1)
    width = torch.rand(shape, device=bins.device) * (widest[:, None, None] + 1.0)
    start = torch.rand(shape, device=bins.device) * (bins[:, None, None] - width).clamp_min(0.0)
    position = torch.arange(size, device=bins.device)
    inside = (position >= start.floor()) & (position < start.floor() + width.floor())
    return inside.any(1)
