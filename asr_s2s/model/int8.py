"""8-bit weights: a quarter of the size on disk, and on CPU products of 8-bit integers.

Weights are rounded once, each row of a matrix by its own largest value; what they multiply is
rounded as it comes ("dynamic quantisation"), each row too by its own largest value, so that no row
changes what comes of another. LSTM layers take sequences in bfloat16 where the processor multiplies
that, or else in float32.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

SCALE = ".scale"
"""Ending of the name under which a model file holds the scales of an 8-bit matrix's rows."""
LARGEST = 127
TINY = 1e-12
"""What rows of zeros are divided by."""


def round_matrices(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with their matrices as 8-bit integers, and the scales `(rows,)` of these; what has
    other than two dimensions stays as it is."""
    rounded: dict[str, Tensor] = {}
    for name, value in weights.items():
        if value.ndim != 2:
            rounded[name] = value
            continue
        scale = _scales(value)
        rounded[name] = (value / scale[:, None]).round().to(torch.int8)
        rounded[name + SCALE] = scale
    return rounded


def restore_matrices(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse, in float32; weights that are not rounded come back as they are."""
    restored = {}
    for name, value in weights.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in weights:
            continue
        scale = weights.get(name + SCALE)
        restored[name] = value.float() if scale is None else value.float() * scale[:, None]
    return restored


def use_int8(network: nn.Module) -> None:
    """Let the linear and LSTM layers of a network compute in 8 bits from now on, on CPU and without
    gradients."""
    for name, child in network.named_children():
        # Subclasses do more than this, and a Transformer reads its layers' weights itself. A single
        # row of weights takes less time than rounding what it multiplies.
        if type(child) is nn.Linear and child.out_features > 1:
            setattr(network, name, Int8Linear(child.weight, child.bias))
        elif type(child) is nn.LSTM:
            setattr(network, name, Int8LSTM(child))
        elif not isinstance(child, nn.TransformerEncoder):
            use_int8(child)


class Int8Linear(nn.Module):
    """A linear layer of 8-bit weights.

    Args:
        weight: `(out_features, in_features)`, in float32.
        bias: `(out_features,)`, if any.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = _pack(weight)
        self.bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()
        # torch rounds by the range of all rows, which these two make the same for whatever comes.
        self.ends = weight.new_tensor([[1.0], [-1.0]]).expand(-1, weight.size(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """As `nn.Linear`'s, in float32."""
        rows = inputs.reshape(-1, inputs.size(-1))
        largest = rows.abs().amax(1, keepdim=True).clamp_min_(TINY)
        rounded = torch.cat([rows / largest, self.ends])
        products = torch.ops.quantized.linear_dynamic(rounded, self.packed, True)[:-2]
        return torch.addcmul(self.bias, products, largest).view(*inputs.shape[:-1], -1)


class Int8LSTM(nn.Module):
    """LSTM layers, one way, `batch_first`, that take single steps by 8-bit weights."""

    def __init__(self, layers: nn.LSTM) -> None:
        super().__init__()
        self.num_layers = layers.num_layers
        self.sequences = copy.deepcopy(layers)
        if multiplies_bf16():
            self.sequences.bfloat16()
        self.gates = [
            Int8Linear(
                torch.cat([getattr(layers, f"weight_{part}_l{n}") for part in ("ih", "hh")], 1),
                getattr(layers, f"bias_ih_l{n}") + getattr(layers, f"bias_hh_l{n}"),
            )
            for n in range(self.num_layers)
        ]
        """Of each layer, for its inputs and its hidden state side by side: one product instead of
        two, though weights that `round_matrices` rounded apart are rounded together once more."""

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As `nn.LSTM`'s: `(batch, time, input_size)` to `(batch, time, hidden_size)`, states
        `(num_layers, batch, hidden_size)`."""
        form = next(self.sequences.parameters()).dtype
        given = None if state is None else (state[0].to(form), state[1].to(form))
        outputs, (hidden, cell) = self.sequences(inputs.to(form), given)
        return outputs.float(), (hidden.float(), cell.float())

    def step(self, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One time step in 8 bits, as `recurrent.step`'s."""
        hiddens, cells = [], []
        for layer, gates in enumerate(self.gates):
            opened = gates(torch.cat([inputs, hidden[:, layer]], 1))
            taken, kept, fresh, shown = opened.chunk(4, 1)
            new_cell = torch.addcmul(kept.sigmoid() * cell[:, layer], taken.sigmoid(), fresh.tanh())
            inputs = shown.sigmoid() * new_cell.tanh()
            hiddens.append(inputs)
            cells.append(new_cell)
        return inputs, torch.stack(hiddens, 1), torch.stack(cells, 1)


def multiplies_bf16() -> bool:
    """Whether this processor does. On others oneDNN has no LSTM layers of bf16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _scales(matrix: Tensor) -> Tensor:
    """What each row's 8-bit integers are to be multiplied by, `(rows,)`."""
    return matrix.float().abs().amax(1).clamp_min(TINY) / LARGEST


def _pack(weight: Tensor) -> Any:
    weight = weight.detach().float()
    zeros = torch.zeros(len(weight), dtype=torch.long)
    rounded = torch.quantize_per_channel(weight, _scales(weight).double(), zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(rounded, None)
