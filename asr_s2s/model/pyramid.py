"""Pyramid speech encoder: optional convolutions, and BiLSTM layers that reduce time."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.audio.features import FRAMES_PER_SECOND
from asr_s2s.config import SpeechEncoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import Memory
from asr_s2s.model.speech_encoder import SpeechEncoder, count_halvings
from asr_s2s.model.subsampling import convolution_blocks, subsample
from asr_s2s.nn.masks import padding_mask
from asr_s2s.nn.recurrent import RecurrentLayer, sequence_ends


def join_pairs(inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Concatenate pairs of neighboring frames (Chan et al., 2016): `(batch, time, channels)` to
    `(batch, ceil(time / 2), 2 * channels)`. An odd last frame is paired with zeros."""
    if inputs.size(1) % 2:  # F.pad by 0 frames would copy
        inputs = F.pad(inputs, (0, 0, 0, 1))
    return inputs.reshape(inputs.size(0), -1, 2 * inputs.size(2)), (lengths + 1) // 2


class PyramidEncoder(SpeechEncoder):
    """Encoder of Listen, Attend and Spell (Chan et al., 2016). A layer is a BiLSTM layer; the upper
    ones read concatenated pairs of frames."""

    def __init__(self, config: SpeechEncoderConfig, mel_bins: int) -> None:
        super().__init__(config, mel_bins)
        self.front, size = convolution_blocks(
            config.convolution_layers, config.convolution_channels, mel_bins
        )
        self.pairs_before = pair_layers(config)
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        for paired in self.pairs_before:
            self.layers.append(RecurrentLayer(2 * size if paired else size, config.size))
            self.norms.append(nn.LayerNorm(2 * config.size))
            size = 2 * config.size
        self.dropout = nn.Dropout(config.dropout)
        self.output_size = size

    @staticmethod
    def check(config: SpeechEncoderConfig) -> None:
        pair_layers(config)

    def frame_time(self, frame: float) -> float:
        return frame * self.time_reduction / FRAMES_PER_SECOND

    def frame_center(self, frame: float) -> float:
        # A convolution is centered on every second frame, a pair of frames between the two.
        offset = (self.time_reduction - (1 << len(self.front))) / 2
        return self.frame_time(frame) + offset / FRAMES_PER_SECOND

    def frame_seconds(self, layer: int) -> float:
        above = sum(self.pairs_before[layer:])
        return (self.time_reduction >> above) / FRAMES_PER_SECOND

    def layer_outputs(self, features: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        hidden, lengths = subsample(self.front, features, lengths)
        for paired, layer, norm in zip(self.pairs_before, self.layers, self.norms, strict=True):
            if paired:
                hidden, lengths = join_pairs(hidden, lengths)
            hidden = self.dropout(norm(layer(hidden, lengths)))
            # Normalization made padding nonzero, and an odd last frame is paired with padding.
            padded = padding_mask(lengths, hidden.size(1))[:, :, None]
            hidden.masked_fill_(padded, 0.0)
            yield hidden, lengths

    def memory_of(self, outputs: Tensor, lengths: Tensor) -> Memory:
        return Memory(outputs, lengths, sequence_ends(outputs, lengths, bidirectional=True))


def pair_layers(config: SpeechEncoderConfig) -> list[bool]:
    """Return for each BiLSTM layer whether it reads concatenated pairs of frames: the upper ones
    do, as many as it takes to reach the time reduction after the convolutions.

    Raises:
        ConfigError: the time reduction is not a power of 2, or impossible with these layers.
    """
    pairs = count_halvings(config) - config.convolution_layers
    if not 0 <= pairs <= config.layers:
        raise ConfigError(
            "speech_encoder.time_reduction",
            f"{config.convolution_layers} convolutions and {config.layers} BiLSTM layers reduce "
            f"time by {1 << config.convolution_layers} to "
            f"{1 << (config.convolution_layers + config.layers)}, not by {config.time_reduction}",
            "Change time_reduction, convolution_layers or layers",
        )
    return [index >= config.layers - pairs for index in range(config.layers)]
