"""Transformer decoder, which attends to its own output and to a memory and predicts tokens."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr_s2s.config import DecoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import Memory, attend, split_heads
from asr_s2s.model.copying import CopyableTokens, CopyHead
from asr_s2s.model.decoder import Decoder
from asr_s2s.nn.masks import padding_mask
from asr_s2s.nn.positions import sinusoidal_positions
from asr_s2s.nn.tied_linear import TiedLinear, initialize_tied
from asr_s2s.text.tokenizer import BLANK


class TransformerState(NamedTuple):
    """State between steps of a Transformer decoder; rows are utterances x hypotheses."""

    keys: Tensor
    """Self-attention keys of the previous tokens, `(rows, layers, heads, steps, head_size)`; each
    step adds one."""
    values: Tensor
    """Self-attention values, in the shape of `keys`."""
    alignment: Tensor
    """Attention weights of the last step over the memory, `(rows, time)`: the mean over the heads
    of the last layer."""


class LayerMemories(NamedTuple):
    """A memory with the keys and values of each layer, computed once per utterance."""

    keys: tuple[Tensor, ...]
    """Per layer, `(batch, heads, time, head_size)`."""
    values: tuple[Tensor, ...]
    """Per layer, `(batch, heads, time, head_size)`."""
    padded: Tensor
    """True beyond each row's length, `(batch, 1, time)`."""
    copyable: CopyableTokens | None
    """Source tokens, if the decoder copies."""


class TransformerLayer(nn.Module):
    """Pre-norm decoder layer (Vaswani et al., 2017; Xiong et al., 2020): self-attention, attention
    to the memory, and a feed-forward network, each added to its input."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        size = config.size
        self.heads = config.attention_heads
        self.self_norm = nn.LayerNorm(size)
        self.self_projections = nn.Linear(size, 3 * size)
        """Queries, keys and values."""
        self.self_output = nn.Linear(size, size)
        self.memory_norm = nn.LayerNorm(size)
        self.memory_query = nn.Linear(size, size)
        self.memory_output = nn.Linear(size, size)
        self.feedforward_norm = nn.LayerNorm(size)
        self.feedforward = nn.Sequential(
            nn.Linear(size, config.feedforward_size),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward_size, size),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden: Tensor,
        keys: Tensor,
        values: Tensor,
        future: Tensor | None,
        memory_keys: Tensor,
        memory_values: Tensor,
        padded: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Advance by one or several steps.

        Args:
            hidden: `(rows, steps, size)`.
            keys, values: those of the steps before, `(rows, heads, before, head_size)`.
            future: True where a step must not attend to another, `(steps, before + steps)`; None
                for a single step.
            memory_keys, memory_values: of this layer, `(batch, heads, time, head_size)`.
            padded: True beyond each row of the memory, `(batch, 1, time)`.

        Returns:
            Hidden `(rows, steps, size)`, keys and values with those of these steps, and weights of
            the memory `(rows, steps, time)`, averaged over heads.
        """
        query, key, value = (
            split_heads(part, self.heads)
            for part in self.self_projections(self.self_norm(hidden)).chunk(3, -1)
        )
        keys, values = torch.cat([keys, key], 2), torch.cat([values, value], 2)
        context, _ = attend(query, keys, values, future)
        hidden = hidden + self.dropout(self.self_output(context))

        # All steps or hypotheses of an utterance are queries on one memory, which is not copied.
        query = self.memory_query(self.memory_norm(hidden)).view(len(padded), -1, hidden.size(-1))
        context, weights = attend(
            split_heads(query, self.heads), memory_keys, memory_values, padded[:, None]
        )
        hidden = hidden + self.dropout(self.memory_output(context.view_as(hidden)))
        hidden = hidden + self.dropout(self.feedforward(self.feedforward_norm(hidden)))
        return hidden, keys, values, weights.mean(1).view(len(hidden), hidden.size(1), -1)


class TransformerDecoder(Decoder[TransformerState, LayerMemories]):
    """Pre-norm Transformer decoder with sinusoidal positional encodings.

    A step reads one token and the cached keys and values of those before it; a pass over a whole
    output is the same computation for all steps, with a causal mask.
    """

    can_copy = True

    def __init__(self, vocabulary: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__(vocabulary, memory_size, config)
        self.check(config)
        self.size = config.size
        self.heads = config.attention_heads
        self.embedding = nn.Embedding(vocabulary, config.embedding_size, padding_idx=BLANK)
        # Positional encodings are of magnitude 1, and would dominate a tied embedding, whose
        # standard deviation is embedding_size ** -0.5 (Vaswani et al., 2017, section 3.4).
        self.scale = math.sqrt(config.embedding_size) if config.tied_output else 1.0
        self.enter = nn.Linear(config.embedding_size, config.size)
        self.memory_projections = nn.Linear(memory_size, 2 * config.layers * config.size)
        """Keys and values of the memory for each layer."""
        layers = [TransformerLayer(config) for _ in range(config.layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(config.size)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary)) if config.tied_output else None
        self.readout: nn.Module
        self.output: nn.Module
        if self.output_bias is None:
            self.readout = nn.Identity()
            self.output = nn.Linear(config.size, vocabulary)
        else:
            self.readout = nn.Linear(config.size, config.embedding_size)
            self.output = TiedLinear(self.embedding, self.output_bias)
            initialize_tied(self.embedding)
        self.copy = CopyHead(vocabulary, config.size) if config.copy else None
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def check(config: DecoderConfig) -> None:
        if config.size % (2 * config.attention_heads):
            raise ConfigError(
                "decoder.attention_heads",
                f"decoder.size {config.size} is not a multiple of 2 x {config.attention_heads} "
                "heads",
                "Change decoder.size or decoder.attention_heads",
            )
        if config.attention == "none":
            raise ConfigError(
                "decoder.attention",
                "expected attention, as decoder.kind is transformer; found none",
                "Remove it, or set decoder.kind to recurrent",
            )

    def prepare(self, memory: Memory) -> LayerMemories:
        parts = self.memory_projections(memory.values).chunk(2 * len(self.layers), -1)
        # Contiguous, because every step multiplies them.
        heads = [split_heads(part, self.heads).contiguous() for part in parts]
        padded = padding_mask(memory.lengths, memory.values.size(1))[:, None, :]
        copyable = None
        if self.copy is not None and memory.tokens is not None:
            copyable = self.copy.prepare(memory.tokens)
        return LayerMemories(tuple(heads[::2]), tuple(heads[1::2]), padded, copyable)

    def start(self, memory: Memory, beam_size: int = 1) -> TransformerState:
        batch, time, _ = memory.values.shape
        rows = batch * beam_size
        shape = rows, len(self.layers), self.heads, 0, self.size // self.heads
        empty = memory.values.new_zeros(shape)
        alignment = memory.values.new_zeros(rows, time, dtype=torch.float32)
        return TransformerState(empty, empty, alignment)

    def step(
        self, previous: Tensor, state: TransformerState, memory: LayerMemories
    ) -> tuple[Tensor, TransformerState]:
        hidden, keys, values, weights = self._advance(previous[:, None], state, memory)
        logits = self._logits(hidden, weights, memory)
        return logits[:, 0], TransformerState(keys, values, weights[:, 0])

    def forward(self, prefix: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        prepared = self.prepare(memory)
        hidden, _, _, weights = self._advance(prefix, self.start(memory), prepared)
        return self._logits(hidden, weights, prepared), weights

    def _advance(
        self, tokens: Tensor, state: TransformerState, memory: LayerMemories
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Advance by tokens `(rows, steps)`; returns the output of the last layer `(rows, steps,
        size)`, the next keys and values, and the attention weights `(rows, steps, time)`."""
        before, steps = state.keys.size(3), tokens.size(1)
        positions = torch.arange(before, before + steps, device=tokens.device)
        known = tokens if self.copy is None else self.copy.known(tokens)
        hidden = self.enter(self.scale * self.embedding(known))
        hidden = self.dropout(hidden + sinusoidal_positions(positions, self.size).to(hidden.dtype))
        future = None
        if steps > 1:
            future = torch.arange(before + steps, device=tokens.device) > positions[:, None]
        keys, values, weights = [], [], hidden.new_zeros(())
        for index, layer in enumerate(self.layers):
            hidden, key, value, weights = layer(
                hidden,
                state.keys[:, index],
                state.values[:, index],
                future,
                memory.keys[index],
                memory.values[index],
                memory.padded,
            )
            keys.append(key)
            values.append(value)
        return self.norm(hidden), torch.stack(keys, 1), torch.stack(values, 1), weights

    def _logits(self, hidden: Tensor, weights: Tensor, memory: LayerMemories) -> Tensor:
        """Compute logits `(rows, steps, vocabulary)`; with copying, log-probabilities of the
        vocabulary and of the unknown words of the sources."""
        logits: Tensor = self.output(self.readout(self.dropout(hidden)))
        if self.copy is None or memory.copyable is None:
            return logits
        mixed: Tensor = self.copy(logits, hidden, weights, memory.copyable)
        return mixed
