"""8-bit weights: a quarter of the size on disk, and on CPU products of 8-bit integers.

Weights are rounded once, each row of a matrix by its own largest value; what they multiply is
rounded as it comes, by the largest value of a batch ("dynamic quantisation"). Where the processor
multiplies bfloat16, LSTM layers use that for sequences, which then take two thirds of the time.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

SCALE = ".scale"
"""Ending of the name under which a model file holds the scales of an 8-bit matrix's rows."""
LARGEST = 127


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
    gradients. Where the weights come from `round_matrices`, rounding them again changes nothing."""
    for name, child in network.named_children():
        # Subclasses do more than this, and a Transformer reads its layers' weights itself. A single
        # row of weights takes less time than rounding what it multiplies.
        if type(child) is nn.Linear and child.out_features > 1:
            setattr(network, name, Int8Linear(child))
        elif type(child) is nn.LSTM:
            setattr(network, name, Int8LSTM(child))
        elif not isinstance(child, nn.TransformerEncoder):
            use_int8(child)


class Int8Linear(nn.Module):
    """A linear layer of 8-bit weights."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.packed = _pack(layer.weight, layer.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """As the layer's, in float32."""
        outputs: Tensor = torch.ops.quantized.linear_dynamic(inputs, self.packed, True)
        return outputs


class Int8LSTM(nn.Module):
    """LSTM layers of 8-bit weights, one way, `batch_first`."""

    def __init__(self, layers: nn.LSTM) -> None:
        super().__init__()
        self.num_layers, self.hidden_size = layers.num_layers, layers.hidden_size
        self.in_bf16 = copy.deepcopy(layers).bfloat16() if multiplies_bf16() else None
        """For sequences of more than one step."""
        self.cells = [
            torch.ops.quantized.make_quantized_cell_params_dynamic(
                _pack(getattr(layers, f"weight_ih_l{layer}"), getattr(layers, f"bias_ih_l{layer}")),
                _pack(getattr(layers, f"weight_hh_l{layer}"), getattr(layers, f"bias_hh_l{layer}")),
                getattr(layers, f"bias_ih_l{layer}").detach(),
                getattr(layers, f"bias_hh_l{layer}").detach(),
                True,
            )
            for layer in range(layers.num_layers)
        ]

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As `nn.LSTM`'s: `(batch, time, input_size)` to `(batch, time, hidden_size)`, states
        `(num_layers, batch, hidden_size)`."""
        if state is None:
            zeros = inputs.new_zeros(self.num_layers, len(inputs), self.hidden_size)
            state = zeros, zeros
        if self.in_bf16 is not None and inputs.size(1) > 1:
            rounded = state[0].bfloat16(), state[1].bfloat16()
            outputs, (hidden, cell) = self.in_bf16(inputs.bfloat16(), rounded)
            return outputs.float(), (hidden.float(), cell.float())
        outputs, hidden, cell = torch.quantized_lstm(
            inputs,
            list(state),
            self.cells,
            has_biases=True,
            num_layers=self.num_layers,
            dropout=0.0,
            train=False,
            bidirectional=False,
            batch_first=True,
            dtype=torch.qint8,
            use_dynamic=True,
        )
        return outputs, (hidden, cell)


def multiplies_bf16() -> bool:
    """Whether this processor does, in hardware; others take several times as long as in fp32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _scales(matrix: Tensor) -> Tensor:
    """What each row's 8-bit integers are to be multiplied by, `(rows,)`."""
    return matrix.float().abs().amax(1).clamp_min(1e-12) / LARGEST


def _pack(weight: Tensor, bias: Tensor | None) -> Any:
    weight = weight.detach().float()
    zeros = torch.zeros(len(weight), dtype=torch.long)
    rounded = torch.quantize_per_channel(weight, _scales(weight).double(), zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(rounded, None if bias is None else bias.detach())
