"""Recurrent layers whose result does not depend on padding."""

import torch
from torch import Tensor, nn

from asr_s2s.model.low_precision import LowPrecisionLSTM

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU] | type[nn.RNN]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn": nn.RNN,
}
"""Kinds of recurrent cell by their name in the configuration."""


class RecurrentLayer(nn.Module):
    """One recurrent layer, over a sequence as it comes or over it both ways.

    The backward direction reads each row reversed by its own length. Packed sequences would do
    the same, but fall off the fused kernel on CPU.
    """

    def __init__(
        self, input_size: int, size: int, cell: str = "lstm", *, bidirectional: bool = True
    ) -> None:
        super().__init__()
        self.ahead = CELLS[cell](input_size, size, batch_first=True)
        self.back = CELLS[cell](input_size, size, batch_first=True) if bidirectional else None
        self.output_size = 2 * size if bidirectional else size

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """`(batch, time, input_size)` to `(batch, time, output_size)`; what lies beyond a row's
        length is without meaning."""
        if isinstance(self.ahead, LowPrecisionLSTM):  # both directions read what is rounded once
            return self._read(inputs.to(self.ahead.form), lengths).to(inputs.dtype)
        return self._read(inputs, lengths)

    def _read(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        ahead: Tensor = self.ahead(inputs)[0]
        if self.back is None:
            return ahead
        back = self.back(reverse(inputs, lengths))[0]
        return torch.cat([ahead, reverse(back, lengths)], dim=-1)


def reverse(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Each row of `(batch, time, channels)` with its valid places in reverse order; padded places
    keep to themselves."""
    place = torch.arange(inputs.size(1), device=inputs.device)[None, :]
    mirror = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    return inputs.gather(1, mirror[:, :, None].expand(-1, -1, inputs.size(2)))


def sequence_ends(values: Tensor, lengths: Tensor, bidirectional: bool) -> Tensor:
    """What a recurrent layer knows after its last input, `(batch, channels)`: each direction where
    it ended. Values are `(batch, time, channels)`."""
    last = (lengths - 1)[:, None, None].expand(-1, -1, values.size(2))
    ends = values.gather(1, last).squeeze(1)
    if not bidirectional:
        return ends
    half = values.size(2) // 2
    return torch.cat([ends[:, :half], values[:, 0, half:]], dim=-1)


def unroll(
    layers: nn.RNNBase | LowPrecisionLSTM, inputs: Tensor, hidden: Tensor, cell: Tensor
) -> Tensor:
    """Outputs `(rows, steps, size)` of all steps, from states `(rows, layers, size)`."""
    first = hidden.transpose(0, 1).contiguous().to(inputs.dtype)
    if isinstance(layers, nn.LSTM | LowPrecisionLSTM):
        outputs: Tensor = layers(inputs, (first, cell.transpose(0, 1).contiguous().to(first)))[0]
    else:
        outputs = layers(inputs, first)[0]
    return outputs


def step(
    layers: nn.RNNBase | LowPrecisionLSTM, inputs: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """One time step on `(rows, input_size)`, from states `(rows, layers, size)`: the new hidden and
    cell states `(rows, size)` of each layer, the last of which is the output; only an LSTM has
    cell states. A sequence of one through the fused kernel costs twice as much."""
    hiddens: list[Tensor] = []
    cells: list[Tensor] = []
    for layer in range(layers.num_layers):
        before = hidden[:, layer]
        if isinstance(layers, LowPrecisionLSTM):
            inputs, new_cell = layers.step(layer, inputs, before, cell[:, layer])
            cells.append(new_cell)
        elif isinstance(layers, nn.LSTM):
            states = before, cell[:, layer]
            inputs, new_cell = torch.lstm_cell(inputs, states, *_weights(layers, layer))
            cells.append(new_cell)
        elif isinstance(layers, nn.GRU):
            inputs = torch.gru_cell(inputs, before, *_weights(layers, layer))
        else:
            inputs = torch.rnn_tanh_cell(inputs, before, *_weights(layers, layer))
        hiddens.append(inputs)
    return hiddens, cells


def _weights(layers: nn.RNNBase, layer: int) -> list[Tensor]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [getattr(layers, f"{name}_l{layer}") for name in names]
