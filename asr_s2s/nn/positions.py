"""Positional encodings."""

import math

import torch
from torch import Tensor


def sinusoidal_positions(positions: Tensor, size: int) -> Tensor:
    """Compute sinusoidal encodings (Vaswani et al., 2017), `(positions, size)`.

    Args:
        positions: numbers of the positions, `(positions,)`.
        size: number of channels, even.
    """
    rates = torch.arange(0, size, 2, device=positions.device) * (-math.log(1e4) / size)
    angles = positions[:, None] * rates.exp()[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
