"""Text encoders: recurrent layers over embeddings, or a Transformer."""

import torch
from torch import Tensor, nn

from asr_s2s.config import TextEncoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import Memory
from asr_s2s.nn.masks import padding_mask
from asr_s2s.nn.positions import sinusoidal_positions
from asr_s2s.nn.recurrent import (
    CELLS,
    RecurrentLayer,
    mirror_indices,
    reverse,
    sequence_ends,
)


class RecurrentTextEncoder(nn.Module):
    """Unidirectional or bidirectional RNN, GRU or LSTM layers (Sutskever et al., 2014; Bahdanau et
    al., 2015)."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.reverse = config.reverse
        self.bidirectional = config.bidirectional
        self.layers = nn.ModuleList()
        size = config.embedding_size
        for _ in range(config.layers):
            layer = RecurrentLayer(
                size, config.size, config.cell, bidirectional=config.bidirectional
            )
            self.layers.append(layer)
            size = layer.output_size
        self.dropout = nn.Dropout(config.dropout)
        self.output_size = size

    def forward(self, embedded: Tensor, lengths: Tensor) -> Memory:
        """Encode embedded tokens `(batch, time, embedding_size)` with token counts `(batch,)` as a
        memory with one frame per token."""
        hidden = self.dropout(embedded)
        if self.reverse:
            hidden = _reverse(hidden, lengths)
        for layer in self.layers:
            hidden = self.dropout(layer(hidden, lengths))
        padded = padding_mask(lengths, hidden.size(1))[:, :, None]
        values = hidden.masked_fill(padded, 0.0)
        summary = sequence_ends(values, lengths, self.bidirectional)
        # Memory frames are in the order of the source even if it was read in reverse.
        return Memory(_reverse(values, lengths) if self.reverse else values, lengths, summary)


def _reverse(values: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each row of `(batch, time, channels)` by its own length."""
    steps = values.transpose(0, 1)
    return reverse(steps, mirror_indices(lengths, len(steps))).transpose(0, 1)


class TransformerTextEncoder(nn.Module):
    """Pre-norm Transformer (Xiong et al., 2020) with sinusoidal positional encodings (Vaswani et
    al., 2017)."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        if config.size % (2 * config.heads):
            raise ConfigError(
                "text_encoder.heads",
                f"text_encoder.size {config.size} is not a multiple of 2 x {config.heads} heads",
                "Change text_encoder.size or text_encoder.heads",
            )
        self.size = config.size
        self.enter = nn.Linear(config.embedding_size, config.size)
        layer = nn.TransformerEncoderLayer(
            config.size,
            config.heads,
            config.feedforward_size,
            config.dropout,
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, config.layers, nn.LayerNorm(config.size), enable_nested_tensor=False
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output_size = config.size

    def forward(self, embedded: Tensor, lengths: Tensor) -> Memory:
        """Same as `RecurrentTextEncoder.forward`."""
        hidden = self.enter(embedded)
        positions = torch.arange(hidden.size(1), device=hidden.device)
        encodings = sinusoidal_positions(positions, self.size).to(hidden.dtype)
        hidden = self.dropout(hidden + encodings)
        padded = padding_mask(lengths, hidden.size(1))
        hidden = self.layers(hidden, src_key_padding_mask=padded)
        values = hidden.masked_fill(padded[:, :, None], 0.0)
        return Memory(values, lengths, values.sum(1) / lengths[:, None])


TEXT_ENCODERS: dict[str, type[RecurrentTextEncoder] | type[TransformerTextEncoder]] = {
    **dict.fromkeys(CELLS, RecurrentTextEncoder),
    "transformer": TransformerTextEncoder,
}
"""Text encoders by `text_encoder.cell`."""
