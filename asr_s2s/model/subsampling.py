"""Convolutions over time and frequency that shorten the input of a speech encoder."""

from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.nn.masks import padding_mask

NATIVE_VALUES = 20_480
"""Largest number of values of one image that torch convolves on CPU with its own code; it passes
larger images, and several at once, to oneDNN, which sums in another order."""


class ConvolutionBlock(nn.Module):
    """A 3 x 3 convolution with stride 2 in time and frequency, layer normalization and ReLU."""

    def __init__(self, channels_in: int, channels: int, bins: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels, 3, stride=2, padding=1)
        self.bins = (bins + 1) // 2
        self.norm = nn.LayerNorm([channels, self.bins])

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Halve time and bins of inputs `(batch, channels_in, time, bins)`; inputs and outputs are
        zero beyond each length."""
        time = (inputs.size(2) + 1) // 2
        if len(inputs) == 1 and inputs.numel() <= NATIVE_VALUES and inputs.device.type == "cpu":
            # A short recording alone must have the same outputs as in a batch.
            wanted = NATIVE_VALUES // inputs[:, :, 0].numel() + 1
            inputs = F.pad(inputs, (0, 0, 0, wanted - inputs.size(2)))
        outputs = self.convolution(inputs)[:, :, :time].transpose(1, 2)
        outputs = self.norm(outputs).relu().transpose(1, 2)
        lengths = (lengths + 1) // 2
        padded = padding_mask(lengths, outputs.size(2))[:, None, :, None]
        return outputs.masked_fill(padded, 0.0), lengths


def convolution_blocks(count: int, channels: int, bins: int) -> tuple[nn.ModuleList, int]:
    """Build `count` blocks that halve time one after another.

    Args:
        count: number of blocks.
        channels: channels of each block.
        bins: mel bins of the features.

    Returns:
        The blocks, and the channels of their output when `subsample` flattens it.
    """
    blocks = nn.ModuleList()
    channels_in = 1
    for _ in range(count):
        block = ConvolutionBlock(channels_in, channels, bins)
        blocks.append(block)
        bins, channels_in = block.bins, channels
    return blocks, bins * channels_in


def subsample(blocks: nn.ModuleList, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Run blocks over features `(batch, frames, mel_bins)`; returns `(batch, time, channels x
    bins)`, zero beyond each row's length, and these lengths `(batch,)`."""
    images = features[:, None]
    for block in blocks:
        images, lengths = block(images, lengths)
    return images.transpose(1, 2).flatten(2), lengths
