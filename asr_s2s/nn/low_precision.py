"""8-bit weights: a quarter of the size on disk, and faster inference on CPU.

Weights are quantized once, with one scale per row of a matrix. Inputs are quantized at run time
("dynamic quantization"): to 8-bit integers, also with one scale per row, so that rows of a batch do
not affect each other; or to bfloat16 if the processor has AMX tiles, which is faster and more
precise. Small matrices stay in float32, where a product takes less time than quantization. LSTM
layers process sequences in bfloat16 if the processor supports it, else in float32, and single steps
in bfloat16 with AMX, else in 8 bits.

torch has these products as private operations, which differ between processors and versions.
`offered` tries each of them once; layers whose operations are missing or fail stay in float32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.nn.recurrent import LSTMStack, RecurrentStack
from asr_s2s.nn.tied_linear import TiedLinear

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
EXTRA_CHANNELS = 2
"""Input channels of zeros that LSTM layers get if their inputs have the size of their states. For
such layers, oneDNN sums one row in another order than several, so that a recording alone would give
other results than in a batch."""
MIN_WEIGHTS = 1 << 18
"""Linear layers with fewer weights than this stay in float32."""
PROBE_TOLERANCE = 0.2
"""Maximum error of the probes of `offered`, whose results are of magnitude 1 to 10. It is far above
the rounding errors of 8 bits, and far below the results of wrong operations."""


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


@dataclass(frozen=True)
class LowPrecision:
    """Layers in low precision that this processor and this torch offer."""

    linear: "type[Int8Linear] | type[Bf16Linear] | None"
    """Fastest linear layer; None if there is none that works."""
    lstm: "LSTMPrecision | None"
    """Fastest precision of LSTM layers; None if there is none that works."""


@dataclass(frozen=True)
class LSTMPrecision:
    """Precision of an LSTM layer."""

    form: torch.dtype
    """Data type of sequences: bfloat16 or float32."""
    int8_steps: bool
    """Whether single steps compute in 8 bits, instead of the data type of sequences."""


def use_low_precision(network: nn.Module) -> None:
    """Replace large linear layers and LSTM layers of a network, in place, by layers that compute in
    8 bits or bfloat16, on CPU and without gradients.

    Layers for which neither is offered stay in float32.
    """
    low = offered()
    for name, child in network.named_children():
        # Subclasses (e.g. CTCHead) have another forward; a Transformer reads weights directly.
        if type(child) in (nn.Linear, TiedLinear):
            assert isinstance(child, nn.Linear | TiedLinear)
            if low.linear is not None and child.weight.numel() >= MIN_WEIGHTS:
                setattr(network, name, low.linear(child.weight, child.bias))
        elif isinstance(child, LSTMStack):
            if low.lstm is not None:
                setattr(network, name, LowPrecisionLSTM(child, low.lstm))
        elif not isinstance(child, nn.TransformerEncoder):
            use_low_precision(child)


@cache
def offered() -> LowPrecision:
    """Find out which layers in low precision work here, by running each kind once."""
    linear = next((kind for kind in (Bf16Linear, Int8Linear) if _works(kind)), None)
    form = torch.bfloat16 if multiplies_bf16() else torch.float32
    lstm = LSTMPrecision(form, int8_steps=linear is Int8Linear)
    return LowPrecision(linear, lstm if linear is not None and _lstm_works(lstm) else None)


def find_operation(name: str) -> Callable[..., Any] | None:
    """Look up an operation of torch by its qualified name, such as `mkldnn::_linear_pointwise`;
    returns None if this build of torch lacks it."""
    namespace, operation = name.split("::")
    return getattr(getattr(torch.ops, namespace), operation, None)


def _works(kind: "type[Int8Linear] | type[Bf16Linear]") -> bool:
    """Return whether a kind of linear layer is fast here and gives the right results."""
    if kind is Bf16Linear and not multiplies_bf16_tiles():
        return False
    if kind is Int8Linear and "fbgemm" not in torch.backends.quantized.supported_engines:
        return False  # builds for ARM
    if not all(map(find_operation, kind.operations)):
        return False
    weight = torch.linspace(-1.0, 1.0, 32 * 8).sin().view(8, 32)
    inputs = torch.linspace(-1.0, 1.0, 32).cos()[None]
    try:
        with torch.no_grad():
            products = kind(weight, None)(inputs)
    except (RuntimeError, TypeError):  # another version, with other arguments
        return False
    return torch.allclose(products, inputs @ weight.T, rtol=0.0, atol=PROBE_TOLERANCE)


def _lstm_works(precision: LSTMPrecision) -> bool:
    """Return whether LSTM layers work in a precision, and their results are right."""
    if not all(map(find_operation, LowPrecisionLSTM.operations)):
        return False
    # Built on a generator of its own, so that the weights of models do not depend on the probe.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = LSTMStack(8, 8)
    inputs, state = torch.linspace(-1.0, 1.0, 8)[None, None], torch.zeros(1, 1, 8)
    try:
        with torch.no_grad():
            expected = layers(inputs)[0]
            low = LowPrecisionLSTM(layers, precision)
            results = low(inputs)[0], low.step(inputs[0], state, state)[0][-1]
    except (RuntimeError, TypeError):
        return False
    return all(torch.allclose(r, expected, rtol=0.0, atol=PROBE_TOLERANCE) for r in results)


class Int8Linear(nn.Module):
    """Linear layer with 8-bit weights.

    Args:
        weight: `(out_features, in_features)`, in float32.
        bias: `(out_features,)`, or None.
    """

    operations: ClassVar = (
        "quantized::linear_prepack",
        "quantized::linear_with_input_q_dq_qweight_dq_output_fp32",
    )
    """Private operations of torch that the layer uses."""

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

    operations: ClassVar = ("mkldnn::_reorder_linear_weight", "mkldnn::_linear_pointwise")
    """Private operations of torch that the layer uses."""

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


class LowPrecisionLSTM(RecurrentStack):
    """Unidirectional LSTM layers, time first, in low precision."""

    has_cell_states = True
    operations: ClassVar = (
        "mkldnn::_reorder_mkldnn_rnn_layer_weight",
        "aten::mkldnn_rnn_layer",
    )
    """Private operations of torch that the layers use, beside those of `Int8Linear`."""

    def __init__(self, layers: LSTMStack, precision: LSTMPrecision) -> None:
        super().__init__()
        self.num_layers = layers.num_layers
        self.hidden_size = layers.hidden_size
        self.form: torch.dtype = precision.form
        numbers = range(layers.num_layers)
        self.layers = [_pack_lstm_layer(layers, n, self.form) for n in numbers]
        self.gates = (
            [Int8Linear(*_joined_gates(layers, n)) for n in numbers]
            if precision.int8_steps
            else None
        )

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Same as `nn.LSTM.forward`: `(time, batch, input_size)` to `(time, batch, hidden_size)`,
        with states `(num_layers, batch, hidden_size)`, in the data type of the inputs."""
        outputs = inputs.to(self.form).contiguous()
        if state is None:
            zeros = outputs.new_zeros(self.num_layers, inputs.size(1), self.hidden_size)
            state = zeros, zeros
        states = []
        for layer in range(self.num_layers):
            before = (part[layer].to(self.form) for part in state)
            outputs, *after = self._unroll(layer, outputs, *before)
            states.append(after)
        hidden, cell = (torch.stack(part).to(inputs.dtype) for part in zip(*states, strict=True))
        return outputs.to(inputs.dtype), (hidden, cell)

    def advance(
        self, layer: int, inputs: Tensor, hidden: Tensor, cell: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Same as `RecurrentStack.advance`. The cell state may be bfloat16."""
        assert cell is not None
        if self.gates is None:
            before = (state.to(self.form).contiguous() for state in (hidden, cell))
            _, hidden, cell = self._unroll(layer, inputs.to(self.form)[None], *before)
            return hidden.to(inputs.dtype), cell
        gates = self.gates[layer](torch.cat([inputs, hidden], 1))
        size = self.hidden_size
        input_gate, forget_gate, output_gate = gates[:, : 3 * size].sigmoid_().chunk(3, 1)
        cell = torch.addcmul(forget_gate * cell, input_gate, gates[:, 3 * size :].tanh_())
        return output_gate * cell.tanh(), cell

    def _unroll(
        self, layer: int, inputs: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one layer over inputs `(time, rows, input_size)`; returns outputs `(time, rows,
        hidden_size)` and the last states. oneDNN requires contiguous inputs and states."""
        if inputs.size(2) == self.hidden_size:
            inputs = F.pad(inputs, (0, EXTRA_CHANNELS))
        outputs, hidden, cell, _ = torch.mkldnn_rnn_layer(
            inputs,
            *self.layers[layer],
            hidden,
            cell,
            reverse=False,
            batch_sizes=(),
            mode=ONEDNN_LSTM,
            hidden_size=self.hidden_size,
            num_layers=1,
            has_biases=True,
            bidirectional=False,
            batch_first=False,
            train=False,
        )
        return outputs, hidden, cell


def multiplies_bf16() -> bool:
    """Return whether the processor multiplies bfloat16; on others oneDNN has no bfloat16 LSTM."""
    return _processor_has("avx512_bf16") or _processor_has("amx_tile")


def multiplies_bf16_tiles() -> bool:
    """Return whether the processor multiplies bfloat16 matrices (AMX tiles), which takes a few rows
    in the time of one."""
    supported = find_operation("mkldnn::_is_mkldnn_bf16_supported")
    return _processor_has("amx_tile") and supported is not None and bool(supported())


def _processor_has(extension: str) -> bool:
    """Ask torch for an extension of the processor; False if this version of torch cannot tell."""
    supported = getattr(torch.cpu, f"_is_{extension}_supported", None)
    return supported is not None and bool(supported())


def _pack_lstm_layer(
    layers: nn.LSTM, layer: int, form: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pack the weights and biases of a layer for oneDNN. `nn.LSTM` packs them at each call, which
    takes longer than a step."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, *biases = (getattr(layers, f"{n}_l{layer}").detach().to(form) for n in names)
    if w_ih.size(1) == layers.hidden_size:
        w_ih = F.pad(w_ih, (0, EXTRA_CHANNELS))
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
