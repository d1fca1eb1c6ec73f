"""8-bit weights: a quarter of the size on disk, and on CPU products of 8-bit integers.

Weights are rounded once, each row of a matrix by its own largest value; what they multiply is
rounded as it comes ("dynamic quantisation"), each row too by its own largest value, so that no row
changes what comes of another. Small matrices are multiplied in float32, which takes less time than
the rounding. LSTM layers take sequences in bfloat16 where the processor multiplies that, or else in
float32.
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
LARGEST_INPUT = 63
"""What inputs are rounded to has 7 bits: older processors add two products in 16 bits."""
LEAST_WEIGHTS = 1 << 18
"""Linear layers of fewer weights than this stay as they are."""


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
    """Let the large linear and the LSTM layers of a network compute in 8 bits from now on, on CPU
    and without gradients."""
    for name, child in network.named_children():
        # Subclasses do more than this, and a Transformer reads its layers' weights itself.
        if type(child) is nn.Linear and child.weight.numel() >= LEAST_WEIGHTS:
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

    def forward(self, inputs: Tensor) -> Tensor:
        """As `nn.Linear`'s, in float32."""
        largest = inputs.abs().amax(-1, keepdim=True).clamp_min_(TINY)  # vector_norm is slower
        return torch.addcmul(self.bias, _multiply(inputs / largest, self.packed), largest)


class Int8LSTM(nn.Module):
    """LSTM layers, one way, `batch_first`, that take single steps by 8-bit weights."""

    def __init__(self, layers: nn.LSTM) -> None:
        super().__init__()
        self.num_layers = layers.num_layers
        self.sequences = copy.deepcopy(layers)
        if multiplies_bf16():
            self.sequences.bfloat16()
        self.gates = [Int8Linear(*_gates(layers, n)) for n in range(self.num_layers)]

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As `nn.LSTM`'s: `(batch, time, input_size)` to `(batch, time, hidden_size)`, states
        `(num_layers, batch, hidden_size)`."""
        form = next(self.sequences.parameters()).dtype
        given = None if state is None else (state[0].to(form), state[1].to(form))
        outputs, (hidden, cell) = self.sequences(inputs.to(form), given)
        return outputs.float(), (hidden.float(), cell.float())

    def step(
        self, layer: int, inputs: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One time step of one layer in 8 bits: inputs `(rows, input_size)` and states `(rows,
        hidden_size)` to its new hidden and cell state."""
        gates = self.gates[layer](torch.cat([inputs, hidden], 1))
        size = cell.size(1)
        taken, kept, shown = gates[:, : 3 * size].sigmoid_().chunk(3, 1)
        cell = torch.addcmul(kept * cell, taken, gates[:, 3 * size :].tanh_())
        return shown * cell.tanh(), cell


def multiplies_bf16() -> bool:
    """Whether this processor does. On others oneDNN has no LSTM layers of bf16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def multiplies_int8() -> bool:
    """Whether torch has these products for this processor; its builds for ARM do not."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def _gates(layers: nn.LSTM, layer: int) -> tuple[Tensor, Tensor]:
    """Weights and bias of a layer's gates, for inputs and hidden state side by side: one product
    instead of two, though weights that `round_matrices` rounded apart are rounded together once
    more. The three gates come first and the new content last, so that one sigmoid does for all.
    """
    weights = [getattr(layers, f"weight_{part}_l{layer}") for part in ("ih", "hh")]
    bias = getattr(layers, f"bias_ih_l{layer}") + getattr(layers, f"bias_hh_l{layer}")
    taken, kept, fresh, shown = torch.cat([*weights, bias[:, None]], 1).chunk(4)
    ordered = torch.cat([taken, kept, shown, fresh])
    return ordered[:, :-1], ordered[:, -1]


def _scales(matrix: Tensor) -> Tensor:
    """What each row's 8-bit integers are to be multiplied by, `(rows,)`."""
    return matrix.float().abs().amax(1).clamp_min(TINY) / LARGEST


def _pack(weight: Tensor) -> Any:
    weight = weight.detach().float()
    zeros = torch.zeros(len(weight), dtype=torch.long)
    rounded = torch.quantize_per_channel(weight, _scales(weight).double(), zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(rounded, None)


def _multiply(inputs: Tensor, packed: Any) -> Tensor:
    """Inputs `(..., in_features)` in [-1, 1], rounded to 8-bit integers, times packed weights."""
    products: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
        inputs, 1 / LARGEST_INPUT, LARGEST_INPUT + 1, packed
    )
    return products
