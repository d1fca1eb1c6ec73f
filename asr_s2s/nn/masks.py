"""Masks of padded batches."""

import torch
from torch import Tensor


def padding_mask(lengths: Tensor, size: int) -> Tensor:
    """Mask of shape `(batch, size)` that is True beyond each row's length."""
    return torch.arange(size, device=lengths.device)[None, :] >= lengths[:, None]
