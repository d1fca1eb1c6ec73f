"""8-bit weights: a quarter of the size on disk, and faster inference on CPU.

Weights are quantized once, with one scale per row of a matrix. Inputs are quantized at run time
("dynamic quantization"): to 8-bit integers, also with one scale per row, so that rows of a batch do
not affect each other; or to bfloat16 if the processor has AMX tiles, which is faster and more
precise. Small matrices stay in float32, where a product takes less time than quantization. LSTM
layers process sequences in bfloat16 if the processor supports it, else in float32, and single steps
in bfloat16 with AMX, else in 8 bits.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

SCALE = ".scale"
"""Suffix of the name under which a model file stores the row scales of an 8-bit matrix."""
LARGEST_WEIGHT = 127
"""Largest 8-bit weight."""
MIN_SCALE = 1e-12
"""Floor on row scales; avoids division by zero."""
LARGEST_INPUT = 63
"""Largest quantized input. Inputs have 7 bits, because older processors sum two products in 16
bits."""
ONEDNN_LSTM = 2
"""Number of the LSTM in torch's enumeration of recurrent cells."""
MIN_WEIGHTS = 1 << 18
"""Linear layers with fewer weights than this stay in float32."""


def round_matrices(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Quantize matrices to 8-bit integers and add their scales `(rows,)`; tensors that do not have
    two dimensions are kept."""
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
    """Undo `round_matrices`, in float32; weights that are not quantized keep their values."""
    restored = {}
    for name, value in weights.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in weights:
            continue
        scale = weights.get(name + SCALE)
        restored[name] = value.float() if scale is None else value.float() * scale[:, None]
    return restored


def use_low_precision(network: nn.Module) -> None:
    """Replace large linear layers and LSTM layers of a network, in place, by layers that compute in
    8 bits or bfloat16, on CPU and without gradients."""
    for name, child in network.named_children():
        # Subclasses (e.g. CTCHead) have another forward; a Transformer reads weights directly.
        if type(child) is nn.Linear and child.weight.numel() >= MIN_WEIGHTS:
            setattr(network, name, _linear(child.weight, child.bias))
        elif type(child) is nn.LSTM:
            setattr(network, name, LowPrecisionLSTM(child))
        elif not isinstance(child, nn.TransformerEncoder):
            use_low_precision(child)
    if getattr(network, "output_bias", None) is not None:  # a tied output layer
        weight = network.get_parameter("embedding.weight")
        if weight.numel() >= MIN_WEIGHTS:
            network.output = _linear(weight, network.get_parameter("output_bias"))


class Int8Linear(nn.Module):
    """Linear layer with 8-bit weights.

    Args:
        weight: `(out_features, in_features)`, in float32.
        bias: `(out_features,)`, or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = _pack(weight)
        self.bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()

    def forward(self, inputs: Tensor) -> Tensor:
        """Same as `nn.Linear.forward`, in float32."""
        largest = inputs.abs().amax(-1, keepdim=True).clamp_min_(MIN_SCALE)  # vector_norm is slower
        return torch.addcmul(self.bias, _multiply(inputs / largest, self.packed), largest)


class Bf16Linear(nn.Module):
    """Linear layer with weights in bfloat16, which are packed for the processor once; called
    through `nn.functional.linear`, oneDNN would pack them at each call.

    Args:
        weight: `(out_features, in_features)`, in float32.
        bias: `(out_features,)`, or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().bfloat16())
        self.bias = None if bias is None else bias.detach().bfloat16()

    def forward(self, inputs: Tensor) -> Tensor:
        """Same as `nn.Linear.forward`, in float32."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs.bfloat16(), self.packed, self.bias, "none", [], ""
        )
        return outputs.float()


class LowPrecisionLSTM(nn.Module):
    """Unidirectional LSTM layers, time first, in the fastest precision of this processor."""

    def __init__(self, layers: nn.LSTM) -> None:
        super().__init__()
        self.num_layers = layers.num_layers
        self.size = layers.hidden_size
        self.form = torch.bfloat16 if multiplies_bf16() else torch.float32
        """Data type of sequences."""
        numbers = range(layers.num_layers)
        self.layers = [_pack_lstm_layer(layers, n, self.form) for n in numbers]
        self.gates = (
            None
            if multiplies_bf16_tiles()
            else [Int8Linear(*_joined_gates(layers, n)) for n in numbers]
        )

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Same as `nn.LSTM.forward`: `(time, batch, input_size)` to `(time, batch, hidden_size)`,
        with states `(num_layers, batch, hidden_size)`, in the data type of the inputs."""
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
        """Advance one layer by one time step, from inputs `(rows, input_size)` and states `(rows,
        hidden_size)`; returns the new hidden and cell state. The cell state may be bfloat16."""
        if self.gates is None:
            before = (state.to(self.form).contiguous() for state in (hidden, cell))
            _, hidden, cell = self._unroll(layer, inputs.to(self.form)[None], *before)
            return hidden.to(inputs.dtype), cell
        gates = self.gates[layer](torch.cat([inputs, hidden], 1))
        size = self.size
        input_gate, forget_gate, output_gate = gates[:, : 3 * size].sigmoid_().chunk(3, 1)
        cell = torch.addcmul(forget_gate * cell, input_gate, gates[:, 3 * size :].tanh_())
        return output_gate * cell.tanh(), cell

    def _unroll(
        self, layer: int, inputs: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one layer over inputs `(time, rows, input_size)`; returns outputs `(time, rows,
        hidden_size)` and the last states. oneDNN requires contiguous inputs and states."""
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
    """Return whether the processor multiplies bfloat16; on others oneDNN has no bfloat16 LSTM."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def multiplies_bf16_tiles() -> bool:
    """Return whether the processor multiplies bfloat16 matrices (AMX tiles), which takes a few rows
    in the time of one."""
    return torch.cpu._is_amx_tile_supported() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def multiplies_int8() -> bool:
    """Return whether torch has 8-bit products for this processor; its builds for ARM do not."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def _linear(weight: Tensor, bias: Tensor | None) -> Int8Linear | Bf16Linear:
    """Build the kind of linear layer that is faster on this processor."""
    return (Bf16Linear if multiplies_bf16_tiles() else Int8Linear)(weight, bias)


def _pack_lstm_layer(
    layers: nn.LSTM, layer: int, form: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pack the weights and biases of a layer for oneDNN. `nn.LSTM` packs them at each call, which
    takes longer than a step."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, *biases = (getattr(layers, f"{n}_l{layer}").detach().to(form) for n in names)
    w_ih, w_hh = torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(
        w_ih, w_hh, layers.hidden_size, reverse=False, has_biases=True, batch_first=False
    )
    return w_ih, w_hh, biases[0], biases[1]


def _joined_gates(layers: nn.LSTM, layer: int) -> tuple[Tensor, Tensor]:
    """Return weights and bias of a layer's gates for concatenated inputs and hidden state.

    One product replaces two, at the cost of quantizing weights a second time that `round_matrices`
    quantized apart. The order is input, forget and output gate, then cell candidate, so that one
    sigmoid computes the three gates.
    """
    weights = [getattr(layers, f"weight_{part}_l{layer}") for part in ("ih", "hh")]
    bias = getattr(layers, f"bias_ih_l{layer}") + getattr(layers, f"bias_hh_l{layer}")
    rows = torch.cat([*weights, bias[:, None]], 1)
    input_gate, forget_gate, candidate, output_gate = rows.chunk(4)
    ordered = torch.cat([input_gate, forget_gate, output_gate, candidate])
    return ordered[:, :-1], ordered[:, -1]


def _scales(matrix: Tensor) -> Tensor:
    """Return the scale of each row, `(rows,)`: value = scale x 8-bit integer."""
    return matrix.float().abs().amax(1).clamp_min(MIN_SCALE) / LARGEST_WEIGHT


def _pack(weight: Tensor) -> Any:
    weight = weight.detach().float()
    zeros = torch.zeros(len(weight), dtype=torch.long)
    rounded = torch.quantize_per_channel(weight, _scales(weight).double(), zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(rounded, None)


def _multiply(inputs: Tensor, packed: Any) -> Tensor:
    """Quantize inputs `(..., in_features)` in [-1, 1] and multiply them by packed weights."""
    products: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
        inputs, 1 / LARGEST_INPUT, LARGEST_INPUT + 1, packed
    )
    return products
