"""Transformer decoder: agreement of steps and whole passes, and independence of rows."""

import pytest
import torch

from asr_s2s.config import DecoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import Memory
from asr_s2s.model.transformer_decoder import TransformerDecoder
from asr_s2s.nn.low_precision import offered, use_low_precision

CONFIG = DecoderConfig(
    kind="transformer", size=16, layers=3, attention_heads=2, embedding_size=6, feedforward_size=24
)
TIED = DecoderConfig(
    kind="transformer", size=8, layers=1, attention_heads=4, embedding_size=8, tied_output=True
)
LENGTHS = torch.tensor([9, 5, 1])


def make_memory() -> Memory:
    values = torch.randn(3, 9, 12)
    padded = torch.arange(9) >= LENGTHS[:, None]
    values = values.masked_fill(padded[:, :, None], 0.0).requires_grad_()
    return Memory(values, LENGTHS, torch.randn(3, 12))


@pytest.mark.parametrize("config", [CONFIG, TIED], ids=["untied", "tied"])
def test_forward_equals_repeated_step(config: DecoderConfig) -> None:
    decoder, memory = TransformerDecoder(11, 12, config).eval(), make_memory()
    prefix = torch.randint(1, 11, (3, 7))
    logits, weights = decoder(prefix, memory)
    assert logits.shape == (3, 7, 11) and weights.shape == (3, 7, 9)
    prepared, state = decoder.prepare(memory), decoder.start(memory)
    for index in range(prefix.size(1)):
        stepped, state = decoder.step(prefix[:, index], state, prepared)
        torch.testing.assert_close(stepped, logits[:, index], atol=1e-5, rtol=0)
        torch.testing.assert_close(state.alignment, weights[:, index], atol=1e-5, rtol=0)
        assert state.keys.shape == state.values.shape
        assert state.keys.shape[0] == 3 and state.keys.shape[3] == index + 1


def test_the_state_is_reordered_by_rows_between_steps() -> None:
    decoder, memory = TransformerDecoder(11, 12, CONFIG).eval(), make_memory()
    prepared, state = decoder.prepare(memory), decoder.start(memory, beam_size=2)
    _, state = decoder.step(torch.tensor([3, 4, 5, 6, 7, 8]), state, prepared)
    rows = torch.tensor([1, 0, 3, 3, 4, 4])  # hypotheses of the same utterance
    state = type(state)(*(part.index_select(0, rows) for part in state))
    logits, _ = decoder.step(torch.tensor([9, 2, 9, 2, 9, 2]), state, prepared)
    written = torch.tensor([[4, 9], [3, 2], [6, 9], [6, 2], [7, 9], [7, 2]])
    copied = memory.select([0, 0, 1, 1, 2, 2])
    expected, _ = decoder(written, copied)
    torch.testing.assert_close(logits, expected[:, -1], atol=1e-5, rtol=0)


def test_hypotheses_of_a_beam_do_not_affect_each_other_and_share_one_memory() -> None:
    decoder, memory = TransformerDecoder(11, 12, CONFIG).eval(), make_memory()
    tokens = torch.randint(1, 11, (3, 4, 5))  # (batch, beam, steps)
    prepared, state = decoder.prepare(memory), decoder.start(memory, beam_size=4)
    assert {part.shape for part in prepared.keys} == {(3, 2, 9, 8)}
    for step in range(5):
        together, state = decoder.step(tokens[:, :, step].flatten(), state, prepared)
    for beam in range(4):
        alone, _ = decoder(tokens[:, beam], memory)
        torch.testing.assert_close(
            together.view(3, 4, -1)[:, beam], alone[:, -1], atol=1e-5, rtol=0
        )


def test_padding_of_the_memory_changes_nothing_and_gets_no_attention_and_no_gradient() -> None:
    decoder, memory = TransformerDecoder(11, 12, CONFIG).eval(), make_memory()
    prefix = torch.randint(1, 11, (3, 4))
    logits, weights = decoder(prefix, memory)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4))
    logits.square().sum().backward()
    assert memory.values.grad is not None
    for row, length in enumerate(LENGTHS.tolist()):
        one = slice(row, row + 1)
        alone = Memory(memory.values[one, :length], LENGTHS[one], memory.summary[one])
        expected, expected_weights = decoder(prefix[one], alone)
        torch.testing.assert_close(logits[one], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(weights[one, :, :length], expected_weights, atol=1e-5, rtol=0)
        assert torch.all(weights[row, :, length:] == 0.0)
        assert torch.all(memory.values.grad[row, length:] == 0.0)
        assert torch.any(memory.values.grad[row, :length] != 0.0)


def test_later_tokens_do_not_change_earlier_predictions_but_positions_do() -> None:
    decoder, memory = TransformerDecoder(11, 12, CONFIG).eval(), make_memory()
    prefix = torch.randint(1, 11, (3, 6))
    changed = prefix.clone()
    changed[:, 4:] = 11 - changed[:, 4:]
    logits, _ = decoder(prefix, memory)
    other, _ = decoder(changed, memory)
    torch.testing.assert_close(logits[:, :4], other[:, :4], atol=1e-6, rtol=0)
    assert not torch.allclose(logits[:, 4:], other[:, 4:])
    same = torch.full((3, 3), 5)
    repeated, _ = decoder(same, memory)
    assert not torch.allclose(repeated[:, 0], repeated[:, 1], atol=1e-3)


@torch.inference_mode()
def test_large_layers_compute_in_low_precision_close_to_float32() -> None:
    config = DecoderConfig(
        kind="transformer", size=512, layers=2, embedding_size=64, tied_output=True
    )
    decoder = TransformerDecoder(4096, 12, config).eval()
    memory, prefix = make_memory(), torch.randint(1, 4096, (3, 5))
    exact, _ = decoder(prefix, memory)
    use_low_precision(decoder)
    low = offered().linear
    if low is None:
        pytest.skip("this processor has no low precision")
    assert type(decoder.output) is low
    assert sum(type(module) is low for module in decoder.modules()) == 1 + 2 * 6
    rounded, _ = decoder(prefix, memory)
    assert (rounded - exact).abs().max() < 0.2 * exact.std()
    prepared, state = decoder.prepare(memory), decoder.start(memory)
    for index in range(prefix.size(1)):
        stepped, state = decoder.step(prefix[:, index], state, prepared)
        torch.testing.assert_close(stepped, rounded[:, index], atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (DecoderConfig(kind="transformer", size=10), "decoder.attention_heads"),
        (DecoderConfig(kind="transformer", attention="none"), "decoder.attention"),
    ],
)
def test_inconsistent_settings_are_refused(config: DecoderConfig, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        TransformerDecoder(11, 12, config)
    assert refused.value.where == key
