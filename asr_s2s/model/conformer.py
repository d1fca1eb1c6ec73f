"""Conformer speech encoder: self-attention for long range, convolution for short range."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.audio.features import FRAMES_PER_SECOND
from asr_s2s.config import SpeechEncoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import Memory
from asr_s2s.model.speech_encoder import SpeechEncoder, count_halvings
from asr_s2s.model.subsampling import convolution_blocks, subsample
from asr_s2s.nn.masks import padding_mask

ROTARY_BASE = 10_000.0
"""Ratio of the longest to the shortest wavelength of rotary positions (Su et al., 2021)."""


class Rotation(NamedTuple):
    """Rotation of each pair of channels at each frame, `(time, channels / 2)`."""

    cosine: Tensor
    sine: Tensor

    def turn(self, vectors: Tensor) -> Tensor:
        """Rotate vectors `(..., time, channels)` by the positions of their frames, so that the
        product of two vectors depends on their distance only."""
        first, second = vectors.chunk(2, -1)
        turned = [
            first * self.cosine - second * self.sine,
            second * self.cosine + first * self.sine,
        ]
        return torch.cat(turned, -1).to(vectors.dtype)


def rotary_positions(time: int, channels: int, device: torch.device) -> Rotation:
    """Build the rotation of `time` frames for heads of `channels` channels (Su et al., 2021)."""
    rates = torch.arange(0, channels, 2, device=device) * (-math.log(ROTARY_BASE) / channels)
    angles = torch.arange(time, device=device)[:, None] * rates.exp()
    return Rotation(angles.cos(), angles.sin())


class FeedForward(nn.Module):
    """Layer normalization, an inner layer with swish activation, and an outer layer."""

    def __init__(self, size: int, inner_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.inner = nn.Linear(size, inner_size)
        self.outer = nn.Linear(inner_size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `(batch, time, size)` to the same shape."""
        inner = self.dropout(F.silu(self.inner(self.norm(hidden))))
        outer: Tensor = self.dropout(self.outer(inner))
        return outer


class RotaryAttention(nn.Module):
    """Layer normalization and multi-head self-attention with rotary positions (Su et al., 2021)."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(size)
        self.query_key_value = nn.Linear(size, 3 * size)
        self.output = nn.Linear(size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, rotation: Rotation, padded: Tensor) -> Tensor:
        """Map `(batch, time, size)` to the same shape.

        Args:
            hidden: inputs.
            rotation: of `time` frames and `size / heads` channels.
            padded: True beyond each row's length, `(batch, time)`; no frame attends to those.
        """
        projected = self.query_key_value(self.norm(hidden)).unflatten(-1, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # (batch, heads, time, channels) each
        attended = F.scaled_dot_product_attention(
            rotation.turn(query), rotation.turn(key), value, attn_mask=~padded[:, None, None, :]
        )
        output: Tensor = self.dropout(self.output(attended.transpose(1, 2).flatten(2)))
        return output


class ConvolutionModule(nn.Module):
    """Convolution of each channel over time between two products with a matrix.

    Layer normalization of each frame replaces the batch normalization of Gulati et al. (2020),
    whose statistics depend on the other rows of a batch and on their padding.
    """

    def __init__(self, size: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.gated = nn.Linear(size, 2 * size)
        self.depthwise = nn.Conv1d(size, size, kernel_size, padding=kernel_size // 2, groups=size)
        self.depthwise_norm = nn.LayerNorm(size)
        self.output = nn.Linear(size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, padded: Tensor) -> Tensor:
        """Map `(batch, time, size)` to the same shape; `padded`, `(batch, time)`, is True beyond
        each row's length."""
        gated = F.glu(self.gated(self.norm(hidden)))
        gated = gated.masked_fill(padded[:, :, None], 0.0)  # as beyond the end of a row alone
        mixed = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        output: Tensor = self.dropout(self.output(F.silu(self.depthwise_norm(mixed))))
        return output


class ConformerLayer(nn.Module):
    """Half a feed-forward module, self-attention, convolution, the other half, normalization."""

    def __init__(self, config: SpeechEncoderConfig) -> None:
        super().__init__()
        size, dropout = config.size, config.dropout
        self.first_half = FeedForward(size, config.feedforward_size, dropout)
        self.attention = RotaryAttention(size, config.heads, dropout)
        self.convolution = ConvolutionModule(size, config.kernel_size, dropout)
        self.second_half = FeedForward(size, config.feedforward_size, dropout)
        self.norm = nn.LayerNorm(size)

    def forward(self, hidden: Tensor, rotation: Rotation, padded: Tensor) -> Tensor:
        """Map `(batch, time, size)` to the same shape; arguments are as in `RotaryAttention`."""
        hidden = hidden + 0.5 * self.first_half(hidden)
        hidden = hidden + self.attention(hidden, rotation, padded)
        hidden = hidden + self.convolution(hidden, padded)
        normalized: Tensor = self.norm(hidden + 0.5 * self.second_half(hidden))
        return normalized


class ConformerEncoder(SpeechEncoder):
    """Conformer (Gulati et al., 2020) with rotary instead of relative positions.

    Convolutions reduce time before the first layer, so all layers have the same frames.
    """

    def __init__(self, config: SpeechEncoderConfig, mel_bins: int) -> None:
        super().__init__(config, mel_bins)
        self.front, channels = convolution_blocks(
            count_halvings(config), config.convolution_channels, mel_bins
        )
        self.enter = nn.Linear(channels, config.size)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.layers))
        self.head_size = config.size // config.heads
        self.output_size = config.size

    @staticmethod
    def check(config: SpeechEncoderConfig) -> None:
        count_halvings(config)
        if config.size % (2 * config.heads):
            raise ConfigError(
                "speech_encoder.heads",
                f"speech_encoder.size {config.size} is not a multiple of 2 x {config.heads} heads",
                "Change speech_encoder.size or speech_encoder.heads",
            )
        if config.kernel_size % 2 == 0:
            raise ConfigError(
                "speech_encoder.kernel_size",
                f"expected an odd number, found {config.kernel_size}",
                f"Use {config.kernel_size + 1}",
            )

    def frame_time(self, frame: float) -> float:
        return self.frame_center(frame - 0.5)

    def frame_center(self, frame: float) -> float:
        # Each convolution has stride 2 and is centered on every second frame.
        return frame * self.time_reduction / FRAMES_PER_SECOND

    def frame_seconds(self, layer: int) -> float:
        return self.time_reduction / FRAMES_PER_SECOND

    def layer_outputs(self, features: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        hidden, lengths = subsample(self.front, features, lengths)
        hidden = self.dropout(self.enter(hidden))
        padded = padding_mask(lengths, hidden.size(1))
        rotation = rotary_positions(hidden.size(1), self.head_size, hidden.device)
        for layer in self.layers:
            hidden = layer(hidden, rotation, padded).masked_fill(padded[:, :, None], 0.0)
            yield hidden, lengths

    def memory_of(self, outputs: Tensor, lengths: Tensor) -> Memory:
        return Memory(outputs, lengths, outputs.sum(1) / lengths[:, None])
