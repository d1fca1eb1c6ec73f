"""Recurrent decoder that attends to a memory and predicts tokens."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr_s2s.config import DecoderConfig
from asr_s2s.config_file import find_entry
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import ATTENTION, AttendedMemory, Attention, Memory, NoAttention
from asr_s2s.model.copying import CopyHead
from asr_s2s.model.decoder import Decoder
from asr_s2s.nn.recurrent import CELLS, RecurrentStack
from asr_s2s.nn.tied_linear import TiedLinear, initialize_tied
from asr_s2s.text.tokenizer import BLANK


class RecurrentState(NamedTuple):
    """State between steps of a recurrent decoder; rows are utterances x hypotheses."""

    hidden: Tensor
    """`(rows, layers, size)`"""
    cell: Tensor
    """`(rows, layers, size)` for an LSTM, `(rows, 0, size)` for other cells."""
    context: Tensor
    """Context of the last step, `(rows, channels)`."""
    alignment: Tensor
    """Attention weights of the last step, `(rows, time)`."""
    coverage: Tensor
    """Sum of the attention weights so far, `(rows, time)` for attention that reads it, else
    `(rows, 0)`."""


class RecurrentDecoder(Decoder[RecurrentState, AttendedMemory]):
    """Recurrent decoder with either input feeding or a query layer.

    With input feeding (Chan et al., 2016; Luong et al., 2015), the first layer reads the previous
    token and the previous context; the output of the last layer is the attention query and, with
    the context, predicts the next token. With a query layer (as in GNMT, Wu et al., 2016), the
    first layer reads only tokens and outputs the queries, and upper layers read queries and
    contexts; in training, a whole output then unrolls in two fused calls and one batched attention.
    """

    can_copy = True

    def __init__(self, vocabulary: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__(vocabulary, memory_size, config)
        self.check(config)
        self.attends = config.attention != "none"
        self.input_feeding = config.input_feeding
        self.size = config.size
        self.embedding = nn.Embedding(vocabulary, config.embedding_size, padding_idx=BLANK)
        attention = find_entry(ATTENTION, config.attention, "decoder.attention")
        self.attention: Attention | NoAttention = attention(config.size, memory_size, config)
        stack = find_entry(CELLS, config.cell, "decoder.cell")
        self.has_cell_states = stack.has_cell_states
        self.query_layers: RecurrentStack
        self.upper_layers: RecurrentStack | None
        if config.input_feeding:
            self.query_layers = stack(
                config.embedding_size + memory_size, config.size, config.layers
            )
            self.upper_layers = None
        else:
            self.query_layers = stack(config.embedding_size, config.size)
            self.upper_layers = stack(config.size + memory_size, config.size, config.layers)
        self.depth = config.layers + (not config.input_feeding)
        self.first_state = (
            nn.Linear(memory_size, (2 if self.has_cell_states else 1) * self.depth * config.size)
            if config.first_state == "source"
            else None
        )
        features = config.embedding_size if config.tied_output else config.size
        self.readout = nn.Linear(config.size + memory_size, features)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary)) if config.tied_output else None
        self.output = (
            nn.Linear(features, vocabulary)
            if self.output_bias is None
            else TiedLinear(self.embedding, self.output_bias)
        )
        # The gate reads the decoder's output, the context and the previous token, as in the paper.
        gated = config.size + memory_size + config.embedding_size
        self.copy = CopyHead(vocabulary, gated) if config.copy else None
        self.dropout = nn.Dropout(config.dropout)
        if config.tied_output:
            initialize_tied(self.embedding)

    @staticmethod
    def check(config: DecoderConfig) -> None:
        if config.attention_size % config.attention_heads and config.attention == "multihead":
            raise ConfigError(
                "decoder.attention_heads",
                f"expected a divisor of attention_size {config.attention_size}, "
                f"found {config.attention_heads}",
                "Choose a divisor",
            )
        if config.location_width % 2 == 0:
            raise ConfigError(
                "decoder.location_width",
                f"expected an odd number, found {config.location_width}",
                f"Use for example {config.location_width + 1}",
            )
        if config.attention == "none" and config.first_state != "source":
            raise ConfigError(
                "decoder.first_state",
                "expected source, as the decoder has no attention and would not see the source",
                "Set it to source",
            )
        if config.attention == "none" and config.copy:
            raise ConfigError(
                "decoder.copy",
                "attention weights select the tokens to copy, but decoder.attention is none",
                "Set it to false, or choose an attention mechanism",
            )

    def prepare(self, memory: Memory) -> AttendedMemory:
        prepared = self.attention.prepare(memory)
        if self.copy is None or memory.tokens is None:
            return prepared
        return prepared._replace(copyable=self.copy.prepare(memory.tokens))

    def start(self, memory: Memory, beam_size: int = 1) -> RecurrentState:
        batch, time, channels = memory.values.shape
        rows = batch * beam_size
        zeros = memory.values.new_zeros
        hidden = zeros(rows, self.depth, self.size)
        cell = zeros(rows, self.depth if self.has_cell_states else 0, self.size)
        if self.first_state is not None:
            first = self.first_state(memory.summary).tanh().repeat_interleave(beam_size, 0)
            hidden, cell = first.view(rows, -1, self.size).split([self.depth, cell.size(1)], dim=1)
        return RecurrentState(
            hidden=hidden,
            cell=cell,
            context=zeros(rows, channels),
            alignment=zeros(rows, time, dtype=torch.float32),
            coverage=zeros(rows, time * self.attention.accumulates, dtype=torch.float32),
        )

    def step(
        self, previous: Tensor, state: RecurrentState, memory: AttendedMemory
    ) -> tuple[Tensor, RecurrentState]:
        embedded = self._embed(previous)
        hidden, state = self._advance(embedded, state, memory)
        return self._logits(hidden, state.context, embedded, state.alignment, memory), state

    def forward(self, prefix: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        prepared = self.prepare(memory)
        embedded = self._embed(prefix)
        state = self.start(memory)
        if self.upper_layers is not None:
            queries = self.query_layers.unroll(embedded, state.hidden[:, :1], state.cell[:, :1])
            contexts, weights = self._attend_all(queries, prepared, state.alignment)
            joined = torch.cat([self._drop(queries), contexts], dim=-1)
            hidden = self.upper_layers.unroll(joined, state.hidden[:, 1:], state.cell[:, 1:])
        else:
            steps = []
            for index in range(prefix.size(1)):
                hidden, state = self._advance(embedded[:, index], state, prepared)
                steps.append((hidden, state.context, state.alignment))
            hidden, contexts, weights = (torch.stack(part, 1) for part in zip(*steps, strict=True))
        return self._logits(hidden, contexts, embedded, weights, prepared), weights

    def _attend_all(
        self, queries: Tensor, memory: AttendedMemory, alignment: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute contexts and weights of all queries `(batch, steps, size)`: at once, or one by
        one if each depends on the previous weights."""
        if not self.attention.needs_alignment:
            attended: tuple[Tensor, Tensor] = self.attention(queries, memory, alignment)
            return attended
        steps = []
        before = alignment[:, None]
        for index in range(queries.size(1)):
            query = queries[:, index : index + 1]
            context, latest = self.attention(query, memory, before)
            before = before + latest if self.attention.accumulates else latest
            steps.append((context, latest))
        contexts, weights = (torch.cat(part, 1) for part in zip(*steps, strict=True))
        return contexts, weights

    def _advance(
        self, embedded: Tensor, state: RecurrentState, memory: AttendedMemory
    ) -> tuple[Tensor, RecurrentState]:
        """Advance by embedded tokens `(rows, embedding_size)`; returns the output of the last layer
        `(rows, size)` and the next state."""
        inputs = torch.cat([embedded, state.context], -1) if self.input_feeding else embedded
        hiddens, cells = self.query_layers.step(inputs, state.hidden, state.cell)
        query = hiddens[-1]
        batch = len(memory.keys)
        before = state.coverage if self.attention.accumulates else state.alignment
        context, weights = self.attention(
            query.view(batch, -1, self.size), memory, before.view(batch, -1, before.size(-1))
        )
        context, weights = context.flatten(0, 1), weights.flatten(0, 1)
        coverage = state.coverage + weights if self.attention.accumulates else state.coverage
        if self.upper_layers is not None:
            joined = torch.cat([self._drop(query), context], dim=-1)
            # The query layer is one layer, so the states of the upper layers start at 1.
            upper = self.upper_layers.step(joined, state.hidden[:, 1:], state.cell[:, 1:])
            hiddens, cells = hiddens + upper[0], cells + upper[1]
        hidden = torch.stack(hiddens, 1)
        cell = torch.stack(cells, 1) if cells else state.cell
        return hiddens[-1], RecurrentState(hidden, cell, context, weights, coverage)

    def _embed(self, tokens: Tensor) -> Tensor:
        return self._drop(self.embedding(self.copy.known(tokens) if self.copy else tokens))

    def _drop(self, values: Tensor) -> Tensor:
        # Skips the call in evaluation mode: its overhead counts in every decoding step.
        return self.dropout(values) if self.training else values

    def _logits(
        self,
        hidden: Tensor,
        context: Tensor,
        embedded: Tensor,
        weights: Tensor,
        memory: AttendedMemory,
    ) -> Tensor:
        """Compute logits `(..., vocabulary)` of rows or steps; with copying, log-probabilities of
        the vocabulary and of the unknown words of the sources."""
        features = self.readout(torch.cat([self._drop(hidden), context], dim=-1)).tanh()
        logits: Tensor = self.output(self._drop(features))
        if self.copy is None or memory.copyable is None:
            return logits
        gated = torch.cat([hidden, context, embedded], -1)
        mixed: Tensor = self.copy(logits, gated, weights, memory.copyable)
        return mixed
