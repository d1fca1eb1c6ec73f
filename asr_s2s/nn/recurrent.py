"""Recurrent layers whose outputs do not depend on padding."""

import torch
from torch import Tensor, nn

from asr_s2s.nn.low_precision import LowPrecisionLSTM

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU] | type[nn.RNN]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn": nn.RNN,
}
"""Classes of recurrent layers by the cell's name in the configuration."""


class RecurrentLayer(nn.Module):
    """One recurrent layer, unidirectional or bidirectional.

    The backward direction reads each row reversed by its own length. Packed sequences would give
    the same outputs, but do not use the fused kernel on CPU.
    """

    def __init__(
        self, input_size: int, size: int, cell: str = "lstm", *, bidirectional: bool = True
    ) -> None:
        super().__init__()
        self.ahead = CELLS[cell](input_size, size)
        self.back = CELLS[cell](input_size, size) if bidirectional else None
        self.output_size = 2 * size if bidirectional else size

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Map `(batch, time, input_size)` to `(batch, time, output_size)`; outputs beyond a row's
        length are undefined."""
        steps = inputs.transpose(0, 1)
        if isinstance(self.ahead, LowPrecisionLSTM):  # converts once for both directions
            steps = steps.to(self.ahead.form, memory_format=torch.contiguous_format)
            outputs = self._run(steps, lengths).transpose(0, 1)
            return outputs.to(inputs.dtype, memory_format=torch.contiguous_format)
        return self._run(steps, lengths).transpose(0, 1)

    def _run(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """Map `(time, batch, input_size)` to `(time, batch, output_size)`."""
        steps = steps.contiguous()  # avoids a copy in each direction
        ahead: Tensor = self.ahead(steps)[0]
        if self.back is None:
            return ahead
        mirror = mirror_indices(lengths, len(steps))
        back = self.back(reverse(steps, mirror))[0]
        return torch.cat([ahead, reverse(back, mirror)], dim=-1)


def mirror_indices(lengths: Tensor, time: int) -> Tensor:
    """Return indices for `reverse`, `(time * batch,)`, that reverse the valid steps of each row and
    leave padded steps in place."""
    steps = torch.arange(time, device=lengths.device)[:, None]
    mirror = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return (mirror * len(lengths) + torch.arange(len(lengths), device=lengths.device)).flatten()


def reverse(steps: Tensor, mirror: Tensor) -> Tensor:
    """Reorder steps `(time, batch, channels)` by the indices of `mirror_indices`. Whole rows of
    channels are copied, while `gather` would copy single values."""
    return steps.flatten(0, 1).index_select(0, mirror).view_as(steps)


def sequence_ends(values: Tensor, lengths: Tensor, bidirectional: bool) -> Tensor:
    """Return the last output of each direction, `(batch, channels)`: that of the last valid frame
    forward, that of the first frame backward. Values are `(batch, time, channels)`."""
    last = (lengths - 1)[:, None, None].expand(-1, -1, values.size(2))
    ends = values.gather(1, last).squeeze(1)
    if not bidirectional:
        return ends
    half = values.size(2) // 2
    return torch.cat([ends[:, :half], values[:, 0, half:]], dim=-1)


def unroll(
    layers: nn.RNNBase | LowPrecisionLSTM, inputs: Tensor, hidden: Tensor, cell: Tensor
) -> Tensor:
    """Compute outputs `(rows, steps, size)` of inputs `(rows, steps, input_size)`, starting from
    states `(rows, layers, size)`."""
    steps = inputs.transpose(0, 1)
    first = hidden.transpose(0, 1).contiguous().to(inputs.dtype)
    if isinstance(layers, nn.LSTM | LowPrecisionLSTM):
        outputs: Tensor = layers(steps, (first, cell.transpose(0, 1).contiguous().to(first)))[0]
    else:
        outputs = layers(steps, first)[0]
    return outputs.transpose(0, 1)


def step(
    layers: nn.RNNBase | LowPrecisionLSTM, inputs: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Advance by one time step, from inputs `(rows, input_size)` and states `(rows, layers, size)`.

    Twice as fast as calling the fused kernel on a sequence of one step.

    Returns:
        The new hidden and cell states `(rows, size)` of each layer. The last hidden state is the
        output; only an LSTM has cell states.
    """
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
