"""CTC output layer on the encoder's memory."""

from typing import NamedTuple

from torch import Tensor, nn


class CTCFrames(NamedTuple):
    """CTC log-probabilities of a batch of speech."""

    log_probs: Tensor
    """Natural log-probabilities, `(batch, frames, vocabulary)`."""
    lengths: Tensor
    """Number of valid frames of each row, `(batch,)`."""


class CTCHead(nn.Linear):
    """CTC output layer (Graves et al., 2006) with one or more predictions per memory frame.

    CTC needs one frame per token, and one more between two equal tokens. Speech has up to 20
    characters per second, while an encoder with a time reduction of 8 outputs 12.5 frames per
    second; two predictions per frame let CTC output characters nevertheless.

    Args:
        memory_size: channels of the memory.
        vocabulary: number of tokens.
        per_frame: predictions per frame of the memory.
    """

    def __init__(self, memory_size: int, vocabulary: int, per_frame: int = 1) -> None:
        super().__init__(memory_size, per_frame * vocabulary)
        self.per_frame = per_frame

    def forward(self, values: Tensor) -> Tensor:
        """Compute logits `(batch, per_frame * time, vocabulary)` from the values of a memory
        `(batch, time, channels)`."""
        batch, time, _ = values.shape
        vocabulary = self.out_features // self.per_frame  # not -1: the batch may be empty
        return super().forward(values).view(batch, self.per_frame * time, vocabulary)
