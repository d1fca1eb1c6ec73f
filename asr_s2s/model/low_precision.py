"""8-bit weights: a quarter of the size on disk, and on CPU products of low precision.

Weights are rounded once, each row of a matrix by its own largest value. What they multiply is
rounded as it comes ("dynamic quantization"): to 8-bit integers, each row too by its own largest
value, so that no row changes what comes of another; or to bfloat16, where the processor multiplies
tiles of that (AMX), which is faster still and rounds less. Small matrices are multiplied in
float32, which takes less time than the rounding. LSTM layers take sequences in bfloat16 where the
processor multiplies that, or else in float32; single steps too in bfloat16 where it multiplies
tiles, or else in 8 bits.
"""

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
ONEDNN_LSTM = 2
"""What torch's enumeration of recurrent cells calls an LSTM."""
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


def use_low_precision(network: nn.Module) -> None:
    """Let the large linear and the LSTM layers of a network compute in 8 bits or bfloat16 from now
    on, on CPU and without gradients."""
    for name, child in network.named_children():
        # Subclasses do more than this, and a Transformer reads its layers' weights itself.
        if type(child) is nn.Linear and child.weight.numel() >= LEAST_WEIGHTS:
            setattr(network, name, _linear(child.weight, child.bias))
        elif type(child) is nn.LSTM:
            setattr(network, name, LowPrecisionLSTM(child))
        elif not isinstance(child, nn.TransformerEncoder):
            use_low_precision(child)
    if getattr(network, "output_bias", None) is not None:  # a tied output layer
        weight = network.get_parameter("embedding.weight")
        if weight.numel() >= LEAST_WEIGHTS:
            network.output = _linear(weight, network.get_parameter("output_bias"))


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


class Bf16Linear(nn.Module):
    """A linear layer of weights in bfloat16, laid out once as the processor reads them: as
    `nn.functional.linear`, oneDNN would do so at each call.

    Args:
        weight: `(out_features, in_features)`, in float32.
        bias: `(out_features,)`, if any.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().bfloat16())
        self.bias = None if bias is None else bias.detach().bfloat16()

    def forward(self, inputs: Tensor) -> Tensor:
        """As `nn.Linear`'s, in float32."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs.bfloat16(), self.packed, self.bias, "none", [], ""
        )
        return outputs.float()


class LowPrecisionLSTM(nn.Module):
    """LSTM layers, one way, time first, in the precision that is fastest on this processor."""

    def __init__(self, layers: nn.LSTM) -> None:
        super().__init__()
        self.num_layers = layers.num_layers
        self.size = layers.hidden_size
        self.form = torch.bfloat16 if multiplies_bf16() else torch.float32
        """What it reads sequences in."""
        numbers = range(layers.num_layers)
        self.layers = [_lay_out(layers, n, self.form) for n in numbers]
        self.gates = (
            None if multiplies_bf16_tiles() else [Int8Linear(*_gates(layers, n)) for n in numbers]
        )

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As `nn.LSTM`'s: `(time, batch, input_size)` to `(time, batch, hidden_size)`, states
        `(num_layers, batch, hidden_size)`; of the inputs' type."""
        outputs = inputs.to(self.form).contiguous()
        if state is None:
            zeros = outputs.new_zeros(self.num_layers, inputs.size(1), self.size)
            state = zeros, zeros
        states = []
        for layer in range(self.num_layers):
            before = (part[layer].to(self.form) for part in state)
            outputs, *after = self._unroll(layer, outputs, *before)
            states.append(after)
        hidden, cell = (torch.stack(part).to(inputs.dtype) for part in zip(*states, strict=True))
        return outputs.to(inputs.dtype), (hidden, cell)

    def step(
        self, layer: int, inputs: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One time step of one layer: inputs `(rows, input_size)` and states `(rows,
        hidden_size)` to its new hidden and cell state; this one may come in bfloat16."""
        if self.gates is None:
            before = (state.to(self.form).contiguous() for state in (hidden, cell))
            _, hidden, cell = self._unroll(layer, inputs.to(self.form)[None], *before)
            return hidden.to(inputs.dtype), cell
        gates = self.gates[layer](torch.cat([inputs, hidden], 1))
        size = self.size
        taken, kept, shown = gates[:, : 3 * size].sigmoid_().chunk(3, 1)
        cell = torch.addcmul(kept * cell, taken, gates[:, 3 * size :].tanh_())
        return shown * cell.tanh(), cell

    def _unroll(
        self, layer: int, inputs: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs `(time, rows, hidden_size)` and the last states of inputs `(time, rows,
        input_size)`; oneDNN takes it that all of them are contiguous."""
        outputs, hidden, cell, _ = torch.mkldnn_rnn_layer(
            inputs,
            *self.layers[layer],
            hidden,
            cell,
            reverse=False,
            batch_sizes=(),
            mode=ONEDNN_LSTM,
            hidden_size=self.size,
            num_layers=1,
            has_biases=True,
            bidirectional=False,
            batch_first=False,
            train=False,
        )
        return outputs, hidden, cell


def multiplies_bf16() -> bool:
    """Whether this processor does. On others oneDNN has no LSTM layers of bf16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def multiplies_bf16_tiles() -> bool:
    """Whether this processor does, by the matrix: it takes some rows in the time of one."""
    return torch.cpu._is_amx_tile_supported() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def multiplies_int8() -> bool:
    """Whether torch has these products for this processor; its builds for ARM do not."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def _linear(weight: Tensor, bias: Tensor | None) -> Int8Linear | Bf16Linear:
    """The kind that is faster on this processor."""
    return (Bf16Linear if multiplies_bf16_tiles() else Int8Linear)(weight, bias)


def _lay_out(
    layers: nn.LSTM, layer: int, form: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights and biases of a layer, laid out once as oneDNN reads them: `nn.LSTM` does so at each
    call, which takes longer than a step."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    read, kept, *biases = (getattr(layers, f"{n}_l{layer}").detach().to(form) for n in names)
    read, kept = torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(
        read, kept, layers.hidden_size, reverse=False, has_biases=True, batch_first=False
    )
    return read, kept, biases[0], biases[1]


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
