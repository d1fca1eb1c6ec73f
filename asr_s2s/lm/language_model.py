"""Recurrent language model over the tokens of a recognizer."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr_s2s.config import Config, LanguageModelConfig
from asr_s2s.lm.ngram import NgramModel
from asr_s2s.lm.word_ngram import WordNgramModel
from asr_s2s.nn.recurrent import LSTMStack
from asr_s2s.nn.tied_linear import TiedLinear, initialize_tied
from asr_s2s.text.tokenizer import BLANK


class LanguageModelState(NamedTuple):
    """State between steps; rows are sentences, or utterances x hypotheses."""

    hidden: Tensor
    """`(rows, layers, size)`"""
    cell: Tensor
    """`(rows, layers, size)`"""


class LanguageModel(nn.Module):
    """LSTM language model whose output layer uses the weights of the embedding (Press and Wolf,
    2017).

    Args:
        vocabulary: number of tokens, specials included.
    """

    def __init__(self, vocabulary: int, config: LanguageModelConfig) -> None:
        super().__init__()
        self.size = config.size
        self.embedding = nn.Embedding(vocabulary, config.embedding_size, padding_idx=BLANK)
        self.layers = LSTMStack(
            config.embedding_size,
            config.size,
            config.layers,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.readout = nn.Linear(config.size, config.embedding_size)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary))
        self.output = TiedLinear(self.embedding, self.output_bias)
        self.dropout = nn.Dropout(config.dropout)
        initialize_tied(self.embedding)

    def start(self, rows: int) -> LanguageModelState:
        """Return the state before the first token."""
        zeros = self.output_bias.new_zeros(rows, self.layers.num_layers, self.size)
        return LanguageModelState(zeros, zeros)

    def step(
        self, previous: Tensor, state: LanguageModelState
    ) -> tuple[Tensor, LanguageModelState]:
        """Compute logits `(rows, vocabulary)` after the previous tokens `(rows,)`, and the next
        state."""
        embedded = self.dropout(self.embedding(previous))
        hiddens, cells = self.layers.step(embedded, state.hidden, state.cell)
        after = LanguageModelState(torch.stack(hiddens, 1), torch.stack(cells, 1))
        return self._logits(hiddens[-1]), after

    def forward(self, prefix: Tensor) -> Tensor:
        """Compute logits `(batch, steps, vocabulary)` of prefixes `(batch, steps)` at once; equal
        to repeated calls of `step`."""
        embedded = self.dropout(self.embedding(prefix))
        return self._logits(self.layers.unroll(embedded, *self.start(len(prefix))))

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.output(self.dropout(self.readout(self.dropout(hidden))))
        return logits


class LanguageModels(NamedTuple):
    """Optional language models for decoding, over the tokens of one recognizer."""

    ngram: NgramModel | WordNgramModel | None = None
    recurrent: LanguageModel | None = None


def is_language_model(config: Config) -> bool:
    """Return whether a configuration describes a language model instead of a recognizer."""
    return config.model.encoders == ("none",)
