"""Speech encoder: log-mel features, optional convolutions, and a pyramid of BiLSTM layers."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.audio.features import FRAMES_PER_SECOND, FeatureNormalizer, LogMel
from asr_s2s.audio.spec_augment import SpecAugment
from asr_s2s.config import AugmentConfig, FeatureConfig, SpeechEncoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import Memory
from asr_s2s.nn.masks import padding_mask
from asr_s2s.nn.recurrent import RecurrentLayer, sequence_ends


def join_pairs(inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Concatenate pairs of neighboring frames (Chan et al., 2016): `(batch, time, channels)` to
    `(batch, ceil(time / 2), 2 * channels)`. An odd last frame is paired with zeros."""
    if inputs.size(1) % 2:  # F.pad by 0 frames would copy
        inputs = F.pad(inputs, (0, 0, 0, 1))
    return inputs.reshape(inputs.size(0), -1, 2 * inputs.size(2)), (lengths + 1) // 2


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
        outputs = self.convolution(inputs).transpose(1, 2)
        outputs = self.norm(outputs).relu().transpose(1, 2)
        lengths = (lengths + 1) // 2
        padded = padding_mask(lengths, outputs.size(2))[:, None, :, None]
        return outputs.masked_fill(padded, 0.0), lengths


class SpeechEncoder(nn.Module):
    """Encoder of Listen, Attend and Spell (Chan et al., 2016), from waveform to memory.

    Args:
        config: sizes and the total time reduction.
        features: the log-mel frontend.
        augment: vocal tract perturbation and SpecAugment, active only in training.

    Raises:
        ConfigError: the time reduction is impossible with these layers.
    """

    def __init__(
        self, config: SpeechEncoderConfig, features: FeatureConfig, augment: AugmentConfig
    ) -> None:
        super().__init__()
        self.edge_frames = features.edge_frames
        self.time_reduction = config.time_reduction
        self.log_mel = LogMel(
            features.mel_bins,
            augment.vocal_tract_range,
            normalize_level=features.normalize_level,
        )
        self.normalize = FeatureNormalizer(features)
        self.spec_augment = SpecAugment(augment)

        self.front = nn.ModuleList()
        bins, channels = features.mel_bins, 1
        for _ in range(config.convolution_layers):
            block = ConvolutionBlock(channels, config.convolution_channels, bins)
            self.front.append(block)
            bins, channels = block.bins, config.convolution_channels

        self.pairs_before = pair_layers(config)
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        size = bins * channels
        for paired in self.pairs_before:
            self.layers.append(RecurrentLayer(2 * size if paired else size, config.size))
            self.norms.append(nn.LayerNorm(2 * config.size))
            size = 2 * config.size
        self.dropout = nn.Dropout(config.dropout)
        self.output_size = size

    def start_of(self, frame: float) -> float:
        """Return the start of a memory frame in seconds; negative for frames added before the
        recording."""
        return (frame * self.time_reduction - self.edge_frames) / FRAMES_PER_SECOND

    def frame_seconds(self, layer: int) -> float:
        """Return the seconds per output frame of a BiLSTM layer, counted from 1."""
        above = sum(self.pairs_before[layer:])
        return (self.time_reduction >> above) / FRAMES_PER_SECOND

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Memory:
        """Encode waveforms `(batch, samples)` at 16 kHz with sample counts `(batch,)`."""
        return self.encode_features(*self.features(waveforms, lengths))

    def features(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute normalized log-mel features `(batch, frames, mel_bins)` and frame counts
        `(batch,)` of waveforms `(batch, samples)` at 16 kHz with sample counts `(batch,)`."""
        features, lengths = self.log_mel(waveforms, lengths)
        return self.normalize(features, lengths), lengths

    def encode_features(self, features: Tensor, lengths: Tensor) -> Memory:
        """Encode normalized log-mel features `(batch, frames, mel_bins)` with frame counts
        `(batch,)`."""
        *_, last = self.layer_outputs(features, lengths)
        return self.memory_of(*last)

    def layer_outputs(self, features: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the output of each BiLSTM layer, `(batch, time, 2 * size)` and zero beyond each
        row's length, with these lengths `(batch,)`.

        Args:
            features: normalized log-mel `(batch, frames, mel_bins)`.
            lengths: frame counts, `(batch,)`.
        """
        features = self.spec_augment(features, lengths)
        features = F.pad(features, (0, 0, self.edge_frames, self.edge_frames))
        lengths = lengths + 2 * self.edge_frames

        images = features[:, None]
        for block in self.front:
            images, lengths = block(images, lengths)
        hidden = images.transpose(1, 2).flatten(2)  # (batch, time, channels x bins)
        for paired, layer, norm in zip(self.pairs_before, self.layers, self.norms, strict=True):
            if paired:
                hidden, lengths = join_pairs(hidden, lengths)
            hidden = self.dropout(norm(layer(hidden, lengths)))
            # Normalization made padding nonzero, and an odd last frame is paired with padding.
            padded = padding_mask(lengths, hidden.size(1))[:, :, None]
            hidden.masked_fill_(padded, 0.0)
            yield hidden, lengths

    def memory_of(self, outputs: Tensor, lengths: Tensor) -> Memory:
        """Build a memory from the outputs of the last layer."""
        return Memory(outputs, lengths, sequence_ends(outputs, lengths, bidirectional=True))


def pair_layers(config: SpeechEncoderConfig) -> list[bool]:
    """Return for each BiLSTM layer whether it reads concatenated pairs of frames: the upper ones
    do, as many as it takes to reach the time reduction after the convolutions.

    Raises:
        ConfigError: the time reduction is not a power of 2, or impossible with these layers.
    """
    halvings = config.time_reduction.bit_length() - 1
    if config.time_reduction < 1 or config.time_reduction != 1 << halvings:
        raise ConfigError(
            "speech_encoder.time_reduction",
            f"expected a power of 2, found {config.time_reduction}",
            "Use 1, 2, 4, 8 or 16",
        )
    pairs = halvings - config.convolution_layers
    if not 0 <= pairs <= config.layers:
        raise ConfigError(
            "speech_encoder.time_reduction",
            f"{config.convolution_layers} convolutions and {config.layers} BiLSTM layers reduce "
            f"time by {1 << config.convolution_layers} to "
            f"{1 << (config.convolution_layers + config.layers)}, not by {config.time_reduction}",
            "Change time_reduction, convolution_layers or layers",
        )
    return [index >= config.layers - pairs for index in range(config.layers)]
