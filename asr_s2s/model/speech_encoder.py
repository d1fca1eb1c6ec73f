"""Interface of speech encoders."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor, nn

from asr_s2s.config import SpeechEncoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import Memory


class SpeechEncoder(nn.Module, ABC):
    """Base class of speech encoders, which turn features into a memory.

    Features have one frame per 10 ms and are zero beyond each row's length. A memory has
    `ceil(frames / time_reduction)` frames per row, which must not depend on the padding or on the
    other rows of the batch.

    Args:
        config: settings of the encoder.
        mel_bins: channels of the features.

    Raises:
        ConfigError: the settings contradict each other.
    """

    output_size: int
    """Channels of the memory and of the outputs of each layer."""

    def __init__(self, config: SpeechEncoderConfig, mel_bins: int) -> None:
        super().__init__()
        self.check(config)
        self.time_reduction = config.time_reduction

    @staticmethod
    @abstractmethod
    def check(config: SpeechEncoderConfig) -> None:
        """Check the settings without building the encoder.

        Raises:
            ConfigError: the settings contradict each other; names the key.
        """

    def forward(self, features: Tensor, lengths: Tensor) -> Memory:
        """Encode features `(batch, frames, mel_bins)` with frame counts `(batch,)`."""
        *_, last = self.layer_outputs(features, lengths)
        return self.memory_of(*last)

    @abstractmethod
    def layer_outputs(self, features: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the output of each layer, `(batch, time, output_size)` and zero beyond each row's
        length, with these lengths `(batch,)`. Arguments are as in `forward`."""

    @abstractmethod
    def memory_of(self, outputs: Tensor, lengths: Tensor) -> Memory:
        """Build the memory from the output of the last layer."""

    @abstractmethod
    def frame_time(self, frame: float) -> float:
        """Return the start of a memory frame in seconds from the start of the features; fractions
        of frames are allowed."""

    @abstractmethod
    def frame_center(self, frame: float) -> float:
        """Return the center of the features that a memory frame stands for, in seconds from the
        start of the features."""

    @abstractmethod
    def frame_seconds(self, layer: int) -> float:
        """Return the seconds per output frame of a layer, counted from 1."""


def count_halvings(config: SpeechEncoderConfig) -> int:
    """Return how often time is halved to reach the time reduction.

    Raises:
        ConfigError: the time reduction is not a power of 2.
    """
    halvings = config.time_reduction.bit_length() - 1
    if config.time_reduction < 1 or config.time_reduction != 1 << halvings:
        raise ConfigError(
            "speech_encoder.time_reduction",
            f"expected a power of 2, found {config.time_reduction}",
            "Use 1, 2, 4, 8 or 16",
        )
    return halvings
