"""Attention of decoder queries over an encoder's memory.

Hypotheses of a beam are further queries on the same memory, so a search never copies the
memory: queries are `(batch, queries, size)` whether they are the steps of a training sentence
or the hypotheses of a beam.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from asr_s2s.audio.features import padding_mask
from asr_s2s.config import DecoderConfig


class Memory(NamedTuple):
    """What an encoder hands to attention and CTC."""

    values: Tensor
    """`(batch, time, channels)`, zero beyond each row's length."""
    lengths: Tensor
    """Valid frames of each row, `(batch,)`, at least 1."""
    summary: Tensor
    """The whole source as one vector, `(batch, channels)`: the ends of a recurrent encoder's
    directions, the mean of a Transformer's frames."""


class AttendedMemory(NamedTuple):
    """A memory made ready for attention, once per utterance."""

    values: Tensor
    """`(batch, time, channels)`"""
    keys: Tensor
    """`(batch, time, attention_size)`"""
    padded: Tensor
    """True beyond each row's length, `(batch, 1, time)`."""


class Attention(nn.Module, ABC):
    """Base of all kinds that attend: projected queries against projected keys."""

    needs_alignment = False
    """Whether scores depend on the previous step's weights, so that steps must be taken in turn."""

    def __init__(self, query_size: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, config.attention_size, bias=False)
        self.key = nn.Linear(memory_size, config.attention_size)

    def prepare(self, memory: Memory) -> AttendedMemory:
        """Project the keys of a memory."""
        padded = padding_mask(memory.lengths, memory.values.size(1))[:, None, :]
        return AttendedMemory(memory.values, self.key(memory.values), padded)

    @abstractmethod
    def forward(
        self, query: Tensor, memory: AttendedMemory, alignment: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            query: `(batch, queries, query_size)`.
            memory: the prepared memory.
            alignment: previous weights `(batch, queries, time)`; read by location-aware
                attention only.

        Returns:
            Context `(batch, queries, channels)` and weights `(batch, queries, time)`, exactly
            zero beyond each row's length.
        """


class SingleHeadAttention(Attention):
    """Averages the memory's values by the softmax of one score each."""

    @abstractmethod
    def score(self, query: Tensor, keys: Tensor, alignment: Tensor) -> Tensor:
        """Scores `(batch, queries, time)` of projected queries against keys."""

    def forward(
        self, query: Tensor, memory: AttendedMemory, alignment: Tensor
    ) -> tuple[Tensor, Tensor]:
        scores = self.score(self.query(query), memory.keys, alignment)
        weights = scores.float().masked_fill(memory.padded, -math.inf).softmax(-1)
        return weights.to(memory.values.dtype) @ memory.values, weights


class AdditiveAttention(SingleHeadAttention):
    """v . tanh(W q + U k) (Bahdanau et al., 2015).

    Computed as 2 v . sigmoid(2 (W q + U k)): the difference, the sum of v, is the same for all
    frames, so the softmax does not see it, and on CPUs PyTorch's sigmoid takes a tenth of its
    tanh's time.
    """

    def __init__(self, query_size: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__(query_size, memory_size, config)
        self.energy = nn.Linear(config.attention_size, 1, bias=False)

    def prepare(self, memory: Memory) -> AttendedMemory:
        prepared = super().prepare(memory)
        return prepared._replace(keys=2 * prepared.keys)

    def score(self, query: Tensor, keys: Tensor, alignment: Tensor) -> Tensor:
        # Doubled before the sum: torch.add(..., alpha=2) would double the sum's gradient instead.
        return self._energies(keys[:, None] + (2 * query)[:, :, None])

    def _energies(self, doubled: Tensor) -> Tensor:
        """Scores `(batch, queries, time)` of sums `(batch, queries, time, attention_size)`, which
        come doubled and are overwritten."""
        scores: Tensor = 2 * self.energy(doubled.sigmoid_())
        return scores.squeeze(-1)


class DotAttention(SingleHeadAttention):
    """q . k / sqrt(size) (Luong et al., 2015; scaled as in Vaswani et al., 2017)."""

    def score(self, query: Tensor, keys: Tensor, alignment: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2) / math.sqrt(keys.size(-1))


class LocationAttention(AdditiveAttention):
    """Additive attention that also sees where it looked last (Chorowski et al., 2015)."""

    needs_alignment = True

    def __init__(self, query_size: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__(query_size, memory_size, config)
        self.location = nn.Conv1d(
            1,
            config.location_filters,
            config.location_width,
            padding=config.location_width // 2,
            bias=False,
        )
        self.location_key = nn.Linear(config.location_filters, config.attention_size, bias=False)

    def score(self, query: Tensor, keys: Tensor, alignment: Tensor) -> Tensor:
        batch, queries, time = alignment.shape
        seen = 2 * self.location(alignment.reshape(batch * queries, 1, time))
        seen = self.location_key(seen.view(batch, queries, -1, time).transpose(2, 3))
        return self._energies(seen + 2 * query[:, :, None] + keys[:, None])


class MultiHeadAttention(Attention):
    """Several scaled dot products side by side, each on its own part (Vaswani et al., 2017).

    The weights returned are the mean over heads.
    """

    def __init__(self, query_size: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__(query_size, memory_size, config)
        self.heads = config.attention_heads
        self.value = nn.Linear(memory_size, config.attention_size)
        self.output = nn.Linear(config.attention_size, memory_size)

    def prepare(self, memory: Memory) -> AttendedMemory:
        return super().prepare(memory)._replace(values=self.value(memory.values))

    def forward(
        self, query: Tensor, memory: AttendedMemory, alignment: Tensor
    ) -> tuple[Tensor, Tensor]:
        queries, keys, values = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for t in (self.query(query), memory.keys, memory.values)
        )
        scores = queries @ keys.transpose(2, 3) / math.sqrt(keys.size(-1))
        weights = scores.float().masked_fill(memory.padded[:, None], -math.inf).softmax(-1)
        context = (weights.to(values.dtype) @ values).transpose(1, 2).flatten(2)
        return self.output(context), weights.mean(1)


class NoAttention(nn.Module):
    """Attends to nothing: the fixed-vector model (Sutskever et al., 2014), whose decoder knows the
    source by its first state alone."""

    needs_alignment = False

    def __init__(self, query_size: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__()

    def prepare(self, memory: Memory) -> AttendedMemory:
        padded = padding_mask(memory.lengths, memory.values.size(1))[:, None, :]
        return AttendedMemory(memory.values, memory.values, padded)

    def forward(
        self, query: Tensor, memory: AttendedMemory, alignment: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Zeros for context and weights, in the shapes of `Attention.forward`."""
        batch, queries, _ = query.shape
        context = query.new_zeros(batch, queries, memory.values.size(2))
        return context, alignment.new_zeros(batch, queries, memory.values.size(1))


ATTENTION: dict[str, type[Attention] | type[NoAttention]] = {
    "additive": AdditiveAttention,
    "dot": DotAttention,
    "location": LocationAttention,
    "multihead": MultiHeadAttention,
    "none": NoAttention,
}
