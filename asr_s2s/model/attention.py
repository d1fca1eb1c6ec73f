"""Attention of decoder queries over an encoder's memory.

Queries have the shape `(batch, queries, size)`: in training they are the steps of an output, in
decoding the hypotheses of a beam. All queries of an utterance share one memory, so beam search
never copies it.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from asr_s2s.config import DecoderConfig
from asr_s2s.model.copying import CopyableTokens
from asr_s2s.nn.masks import padding_mask


class Memory(NamedTuple):
    """Output of an encoder, the input of attention and CTC."""

    values: Tensor
    """`(batch, time, channels)`, zero beyond each row's length."""
    lengths: Tensor
    """Number of valid frames of each row, `(batch,)`, at least 1."""
    summary: Tensor
    """One vector per source, `(batch, channels)`: the final state of each direction of a recurrent
    encoder, or the mean over the frames of a Transformer."""
    tokens: Tensor | None = None
    """Source tokens of the frames, `(batch, time)`, which a decoder can copy; None for speech."""

    def select(self, rows: Tensor | list[int] | slice) -> "Memory":
        """Return the memory of the given rows, which may repeat."""
        tokens = None if self.tokens is None else self.tokens[rows]
        return Memory(self.values[rows], self.lengths[rows], self.summary[rows], tokens)


class AttendedMemory(NamedTuple):
    """A memory with its projected keys, computed once per utterance."""

    values: Tensor
    """`(batch, time, channels)`"""
    keys: Tensor
    """`(batch, time, attention_size)`"""
    padded: Tensor
    """True beyond each row's length, `(batch, 1, time)`."""
    copyable: CopyableTokens | None = None
    """Source tokens, if the decoder copies."""


class Attention(nn.Module, ABC):
    """Base class of attention with projected queries and keys."""

    needs_alignment = False
    """Whether scores depend on the weights of previous steps, which makes steps sequential."""
    accumulates = False
    """Whether scores depend on the sum of the weights of all previous steps, instead of on those of
    the last one."""

    def __init__(self, query_size: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, config.attention_size, bias=False)
        self.key = nn.Linear(memory_size, config.attention_size)

    def prepare(self, memory: Memory) -> AttendedMemory:
        """Project a memory to keys."""
        padded = padding_mask(memory.lengths, memory.values.size(1))[:, None, :]
        return AttendedMemory(memory.values, self.key(memory.values), padded)

    @abstractmethod
    def forward(
        self, query: Tensor, memory: AttendedMemory, alignment: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute contexts and attention weights.

        Args:
            query: `(batch, queries, query_size)`.
            memory: the prepared memory.
            alignment: weights of the previous step, or their sum over all previous steps if
                `accumulates` is true, `(batch, queries, time)`.

        Returns:
            Context `(batch, queries, channels)` and weights `(batch, queries, time)`, exactly
            zero beyond each row's length.
        """


class SingleHeadAttention(Attention):
    """Averages the values of a memory, weighted by the softmax of one score per frame."""

    @abstractmethod
    def score(self, query: Tensor, keys: Tensor, alignment: Tensor) -> Tensor:
        """Score projected queries against keys; returns `(batch, queries, time)`."""

    def forward(
        self, query: Tensor, memory: AttendedMemory, alignment: Tensor
    ) -> tuple[Tensor, Tensor]:
        scores = self.score(self.query(query), memory.keys, alignment)
        weights = scores.float().masked_fill(memory.padded, -math.inf).softmax(-1)
        return weights.to(memory.values.dtype) @ memory.values, weights


class AdditiveAttention(SingleHeadAttention):
    """Additive attention, v . tanh(W q + U k) (Bahdanau et al., 2015).

    Computed as 2 v . sigmoid(2 (W q + U k)), which differs by the sum of v. This is the same for
    all frames and so does not change the softmax, and on CPU PyTorch's sigmoid takes a tenth of the
    time of its tanh.
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
        """Compute scores `(batch, queries, time)` from doubled sums of queries and keys `(batch,
        queries, time, attention_size)`, which are overwritten."""
        scores: Tensor = 2 * self.energy(doubled.sigmoid_())
        return scores.squeeze(-1)


class DotAttention(SingleHeadAttention):
    """Dot-product attention, q . k / sqrt(size) (Luong et al., 2015; scaling of Vaswani et al.,
    2017)."""

    def score(self, query: Tensor, keys: Tensor, alignment: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2) / math.sqrt(keys.size(-1))


class LocationAttention(AdditiveAttention):
    """Additive attention with convolutional features of the previous weights (Chorowski et al.,
    2015)."""

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
        located = 2 * self.location(alignment.reshape(batch * queries, 1, time))
        located = self.location_key(located.view(batch, queries, -1, time).transpose(2, 3))
        return self._energies(located + 2 * query[:, :, None] + keys[:, None])


class CoverageAttention(AdditiveAttention):
    """Additive attention with the coverage vector of See et al. (2017): the sum of the weights of
    all previous steps, from which attention can tell what was read already."""

    needs_alignment = True
    accumulates = True

    def __init__(self, query_size: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__(query_size, memory_size, config)
        self.coverage_key = nn.Linear(1, config.attention_size, bias=False)

    def score(self, query: Tensor, keys: Tensor, alignment: Tensor) -> Tensor:
        covered = 2 * self.coverage_key(alignment[..., None])
        return self._energies(covered + 2 * query[:, :, None] + keys[:, None])


def split_heads(values: Tensor, heads: int) -> Tensor:
    """View `(batch, time, channels)` as `(batch, heads, time, channels / heads)`."""
    return values.view(*values.shape[:2], heads, -1).transpose(1, 2)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, masked: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute scaled dot-product attention of several heads (Vaswani et al., 2017).

    Args:
        queries: `(batch, heads, queries, head_size)`.
        keys, values: `(batch, heads, time, head_size)`.
        masked: True where a query must not attend, broadcast to `(batch, heads, queries, time)`.

    Returns:
        Contexts of all heads, concatenated, `(batch, queries, heads * head_size)`, and weights
        `(batch, heads, queries, time)` in float32.
    """
    scores = (queries @ keys.transpose(2, 3) / math.sqrt(keys.size(-1))).float()
    if masked is not None:
        scores = scores.masked_fill(masked, -math.inf)
    weights = scores.softmax(-1)
    return (weights.to(values.dtype) @ values).transpose(1, 2).flatten(2), weights


class MultiHeadAttention(Attention):
    """Multi-head scaled dot-product attention (Vaswani et al., 2017).

    Returned weights are the mean over heads.
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
            split_heads(t, self.heads) for t in (self.query(query), memory.keys, memory.values)
        )
        context, weights = attend(queries, keys, values, memory.padded[:, None])
        return self.output(context), weights.mean(1)


class NoAttention(nn.Module):
    """Placeholder for models without attention (Sutskever et al., 2014), whose decoder sees the
    source through its first state only."""

    needs_alignment = False
    accumulates = False

    def __init__(self, query_size: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__()

    def prepare(self, memory: Memory) -> AttendedMemory:
        padded = padding_mask(memory.lengths, memory.values.size(1))[:, None, :]
        return AttendedMemory(memory.values, memory.values, padded)

    def forward(
        self, query: Tensor, memory: AttendedMemory, alignment: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return zeros for context and weights, in the shapes of `Attention.forward`."""
        batch, queries, _ = query.shape
        context = query.new_zeros(batch, queries, memory.values.size(2))
        return context, alignment.new_zeros(batch, queries, memory.values.size(1))


ATTENTION: dict[str, type[Attention] | type[NoAttention]] = {
    "additive": AdditiveAttention,
    "coverage": CoverageAttention,
    "dot": DotAttention,
    "location": LocationAttention,
    "multihead": MultiHeadAttention,
    "none": NoAttention,
}
"""Attention mechanisms by `decoder.attention`."""
