"""The CTC head, beside the decoder."""

from typing import NamedTuple

from torch import Tensor, nn


class CTCFrames(NamedTuple):
    """What CTC says of a batch of speech."""

    log_probs: Tensor
    """Natural log, `(batch, frames, vocabulary)`."""
    lengths: Tensor
    """Valid frames of each row, `(batch,)`."""


class CTCHead(nn.Linear):
    """CTC's output layer (Graves et al., 2006), which may predict several times a frame.

    CTC needs a frame for each token it writes, and one more between equal ones. People say up to 20
    characters a second, and an encoder that reduces time by 8 leaves 12.5 frames of it: with two
    predictions for each, CTC can write characters over it all the same.

    Args:
        memory_size: channels of the memory.
        vocabulary: number of tokens.
        per_frame: predictions a frame of the memory.
    """

    def __init__(self, memory_size: int, vocabulary: int, per_frame: int = 1) -> None:
        super().__init__(memory_size, per_frame * vocabulary)
        self.per_frame = per_frame

    def forward(self, values: Tensor) -> Tensor:
        """A memory's values `(batch, time, channels)` to logits `(batch, per_frame * time,
        vocabulary)`."""
        batch, time, _ = values.shape
        return super().forward(values).view(batch, self.per_frame * time, -1)
