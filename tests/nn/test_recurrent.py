"""Stacks of recurrent layers."""

import pytest
import torch
from torch import nn

from asr_s2s.nn.recurrent import CELLS

TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


@pytest.mark.parametrize("cell", CELLS)
def test_repeated_steps_equal_a_sequence_from_the_same_states(cell: str) -> None:
    stack = CELLS[cell](6, 5, 2)
    inputs, hidden = torch.randn(3, 7, 6), torch.randn(3, 2, 5)
    cells = torch.randn(3, 2 if stack.has_cell_states else 0, 5)
    outputs = stack.unroll(inputs, hidden, cells)
    for index in range(7):
        hiddens, after = stack.step(inputs[:, index], hidden, cells)
        hidden, cells = torch.stack(hiddens, 1), torch.stack(after, 1) if after else cells
        torch.testing.assert_close(hiddens[-1], outputs[:, index])


@pytest.mark.parametrize("cell", CELLS)
def test_weights_have_the_names_that_torch_gives_them(cell: str) -> None:
    layers = TORCH[cell](6, 5, 2)
    stack = CELLS[cell](6, 5, 2)
    stack.load_state_dict(layers.state_dict())
    assert list(stack.state_dict()) == list(layers.state_dict())
    inputs = torch.randn(7, 3, 6)
    assert torch.equal(stack(inputs)[0], layers(inputs)[0])
