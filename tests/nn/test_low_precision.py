"""8-bit weights."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import asr_s2s
from asr_s2s.audio.decode import read_audio
from asr_s2s.model.folder import find_model, load_model
from asr_s2s.model.weights import convert_weights
from asr_s2s.nn import low_precision
from asr_s2s.nn.low_precision import (
    MIN_WEIGHTS,
    Bf16Linear,
    Int8Linear,
    LowPrecisionLSTM,
    LSTMPrecision,
    find_operation,
    multiplies_bf16,
    offered,
    restore_matrices,
    round_matrices,
    use_low_precision,
)
from asr_s2s.nn.recurrent import LSTMStack
from asr_s2s.nn.tied_linear import TiedLinear


@pytest.fixture(scope="module")
def digits_in_int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("int8") / "digits"
    model.mkdir()
    for path in find_model("digits").iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    convert_weights(model, "int8")
    return model


def test_each_row_is_quantized_with_its_own_scale_and_a_second_time_without_loss() -> None:
    weights = {"w": torch.randn(5, 40) * torch.logspace(-4, 2, 5)[:, None], "b": torch.randn(5)}
    rounded = round_matrices(weights)
    assert rounded["w"].dtype == torch.int8
    restored = restore_matrices(rounded)
    half_a_step = weights["w"].abs().amax(1, keepdim=True) / 127 / 2
    assert torch.all((restored["w"] - weights["w"]).abs() <= 1.001 * half_a_step)
    assert torch.equal(restored["b"], weights["b"])
    assert torch.equal(round_matrices(restored)["w"], rounded["w"])
    assert torch.equal(restore_matrices(weights)["w"], weights["w"])


def test_a_row_of_zeros_is_restored() -> None:
    weights = {"w": torch.zeros(2, 3)}
    assert torch.equal(restore_matrices(round_matrices(weights))["w"], weights["w"])


@pytest.fixture(params=[Int8Linear, Bf16Linear])
def kind(request: pytest.FixtureRequest) -> type[Int8Linear | Bf16Linear]:
    if request.param is Bf16Linear and not multiplies_bf16():
        pytest.skip("this processor does not multiply bfloat16")
    chosen: type[Int8Linear | Bf16Linear] = request.param
    return chosen


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_are_close_to_float32(
    kind: type[Int8Linear | Bf16Linear], bias: bool
) -> None:
    torch.manual_seed(0)
    layer, inputs = nn.Linear(64, 10, bias=bias), torch.randn(3, 7, 64)
    exact, rounded = layer(inputs), kind(layer.weight, layer.bias)(inputs)
    assert rounded.shape == exact.shape and rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.05 * exact.std()


@torch.inference_mode()
def test_rows_of_a_batch_do_not_affect_each_other(
    kind: type[Int8Linear | Bf16Linear],
) -> None:
    layer, rows = nn.Linear(64, 10), torch.randn(20, 64) * torch.logspace(-3, 3, 20)[:, None]
    rounded = kind(layer.weight, layer.bias)
    assert torch.equal(rounded(rows)[:3], rounded(rows[:3]))
    form = torch.bfloat16 if kind is Bf16Linear else torch.float32
    precision = LSTMPrecision(form, int8_steps=kind is Int8Linear)
    lstm = LowPrecisionLSTM(LSTMStack(64, 16, 2), precision)
    hidden, cell = torch.randn(20, 2, 16), torch.randn(20, 2, 16)
    together = lstm.step(rows, hidden, cell)
    alone = lstm.step(rows[:3], hidden[:3], cell[:3])
    for every, few in zip(together, alone, strict=True):
        assert all(torch.equal(a[:3], b) for a, b in zip(every, few, strict=True))


PRECISIONS = pytest.mark.parametrize(
    "precision",
    [
        LSTMPrecision(torch.bfloat16, int8_steps=False),
        LSTMPrecision(torch.bfloat16, int8_steps=True),
        LSTMPrecision(torch.float32, int8_steps=True),
    ],
    ids=str,
)


@PRECISIONS
@torch.inference_mode()
def test_sequences_have_the_same_outputs_alone_and_in_any_batch(precision: LSTMPrecision) -> None:
    if precision.form == torch.bfloat16 and not multiplies_bf16():
        pytest.skip("this processor does not multiply bfloat16")
    for input_size in (64, 48):  # inputs of the size of the states are a special case of oneDNN
        lstm = LowPrecisionLSTM(LSTMStack(input_size, 64, 2), precision)
        sequences = torch.randn(30, 17, input_size)
        alone = lstm(sequences[:, :1])[0]
        for rows in (2, 5, 17):
            assert torch.equal(lstm(sequences[:, :rows])[0][:, :1], alone)


@PRECISIONS
def test_lstm_layers_are_close_to_float32_and_steps_to_whole_sequences(
    precision: LSTMPrecision,
) -> None:
    if precision.form == torch.bfloat16 and not multiplies_bf16():
        pytest.skip("this processor does not multiply bfloat16")
    layers, inputs = LSTMStack(24, 16, 2), torch.randn(3, 9, 24)
    rounded = LowPrecisionLSTM(layers, precision)
    with torch.inference_mode():
        exact = layers(inputs)[0]
        assert (rounded(inputs)[0] - exact).abs().max() < 0.05 * exact.std()
        hidden, cell = torch.randn(3, 2, 16) * 0.1, torch.randn(3, 2, 16) * 0.1
        together = rounded.unroll(inputs, hidden, cell)
        steps = []
        for each in inputs.unbind(1):
            after = rounded.step(each, hidden, cell)
            hidden, cell = (torch.stack(states, 1) for states in after)
            steps.append(after[0][-1])
        # Not equal: single steps quantize inputs in another precision.
        assert (torch.stack(steps, 1) - together).abs().max() < 0.05 * exact.std()


@pytest.mark.parametrize("name", ["digits", "en-de", "english"])
def test_all_large_linear_layers_and_all_lstm_layers_are_replaced(
    name: str,
) -> None:
    model = load_model(name, exact=True).model
    use_low_precision(model)
    kept = [m for m in model.modules() if type(m) in (nn.Linear, LSTMStack)]
    # Small layers are faster in float32.
    assert kept and all(type(m) is nn.Linear and m.weight.numel() < MIN_WEIGHTS for m in kept)
    assert any(isinstance(m, LowPrecisionLSTM) for m in model.modules())
    large = [m for m in model.modules() if isinstance(m, Int8Linear | Bf16Linear)]
    assert all(m.bias is not None and m.bias.numel() for m in large)
    assert bool(large) is (name != "digits")  # digits has only small linear layers


@torch.inference_mode()
def test_a_tied_output_layer_is_replaced_and_close_to_float32() -> None:
    model = load_model("en-de", exact=True).model
    assert type(model.decoder.output) is TiedLinear
    features = torch.linspace(-1.0, 1.0, model.decoder.output.weight.size(1)).sin()[None]
    logits = model.decoder.output(features)
    use_low_precision(model)
    assert type(model.decoder.output) in (Int8Linear, Bf16Linear)
    rounded = model.decoder.output(features)
    assert (rounded - logits).abs().max() < 0.05 * logits.std()


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Function that hides an operation of torch from the probe."""
    hidden: list[str] = []

    def look_up(name: str) -> Callable[..., Any] | None:
        return None if name in hidden else find_operation(name)

    def hide_operation(name: str) -> None:
        assert find_operation(name) is not None  # or the test would prove nothing
        hidden.append(name)
        offered.cache_clear()

    monkeypatch.setattr(low_precision, "find_operation", look_up)
    yield hide_operation
    offered.cache_clear()


def kinds_of(model: nn.Module) -> set[type]:
    return {type(module) for module in model.modules()} & {Int8Linear, Bf16Linear, LowPrecisionLSTM}


def test_without_private_operations_the_model_computes_in_float32(
    digits_in_int8: Path, sample: Path, hide: Callable[[str], None]
) -> None:
    exact = load_model(digits_in_int8, exact=True).model
    assert kinds_of(load_model(digits_in_int8).model)
    hide("quantized::linear_with_input_q_dq_qweight_dq_output_fp32")
    hide("mkldnn::_linear_pointwise")
    loaded = load_model(digits_in_int8).model
    assert not kinds_of(loaded)
    audio, length = torch.from_numpy(read_audio(sample))[None], torch.tensor([16_000])
    with torch.inference_mode():
        memories = [model.encode("speech", audio[:, :16_000], length) for model in (loaded, exact)]
        prefix = torch.tensor([[1, 5, 6]])
        logits = [model.decoder(prefix, memories[0])[0] for model in (loaded, exact)]
    assert torch.equal(memories[0].values, memories[1].values)
    assert torch.equal(*logits)


def test_without_the_operation_of_bf16_layers_linear_layers_are_8_bit_and_right(
    hide: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not multiplies_bf16():
        pytest.skip("this processor does not multiply bfloat16")
    monkeypatch.setattr(low_precision, "multiplies_bf16_tiles", lambda: True)
    offered.cache_clear()
    assert offered().linear is Bf16Linear
    hide("mkldnn::_linear_pointwise")
    assert offered().linear is Int8Linear
    network = nn.Sequential(nn.Linear(1024, 512))
    inputs = torch.randn(4, 1024)
    with torch.inference_mode():
        expected = network(inputs)
        use_low_precision(network)
        assert kinds_of(network) == {Int8Linear}
        assert (network(inputs) - expected).abs().max() < 0.1 * expected.std()


def test_without_the_operation_of_lstm_layers_they_alone_stay_in_float32(
    hide: Callable[[str], None],
) -> None:
    hide("mkldnn::_reorder_mkldnn_rnn_layer_weight")
    network = nn.ModuleList([LSTMStack(8, 8), nn.Linear(1024, 512)])
    use_low_precision(network)
    assert type(network[0]) is LSTMStack
    assert kinds_of(network) == {offered().linear}


def _refuse(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("expected at most 3 arguments")


def _return_zeros(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(inputs), 8)


def test_an_operation_that_fails_or_is_wrong_counts_as_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert low_precision._works(Int8Linear) is True
    for changed in (_refuse, _return_zeros):
        monkeypatch.setattr(Int8Linear, "forward", changed)
        assert low_precision._works(Int8Linear) is False


def test_the_probe_does_not_change_random_numbers() -> None:
    offered.cache_clear()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    offered()
    assert torch.equal(torch.rand(2), expected)


def test_quantized_models_give_the_same_words_as_exact_ones_alone_and_in_a_batch(
    digits_in_int8: Path, sample: Path
) -> None:
    exact, rounded = asr_s2s.load("digits", device="cpu"), asr_s2s.load(digits_in_int8)
    whole = read_audio(sample)
    sources = [whole, whole[: len(whole) // 2], whole[len(whole) // 3 :]]
    expected = [result.text for result in exact.transcribe(sources)]
    assert [result.text for result in rounded.transcribe(sources)] == expected
    assert [rounded.transcribe(source).text for source in sources] == expected
    times = [[w.start for w in r.segments[0].words] for r in exact.transcribe(sources, words=True)]
    again = [
        [w.start for w in r.segments[0].words] for r in rounded.transcribe(sources, words=True)
    ]
    for left, right in zip(times, again, strict=True):
        assert left == pytest.approx(right, abs=0.05)


def test_8_bit_weights_take_half_the_space_of_16_bits_and_exact_loading_gives_gradients(
    digits_in_int8: Path,
) -> None:
    sizes = [
        (model / "model.safetensors").stat().st_size
        for model in (digits_in_int8, find_model("digits"))
    ]
    assert sizes[0] < 0.55 * sizes[1]
    for exact in (False, True):
        loaded = load_model(digits_in_int8, exact=exact)
        assert (LowPrecisionLSTM in map(type, loaded.model.modules())) is not exact
    audio = torch.randn(1, 16_000, requires_grad=True)
    memory = loaded.model.encode("speech", audio, torch.tensor([16_000]))
    memory.values.sum().backward()
    assert audio.grad is not None and audio.grad.abs().sum() > 0
