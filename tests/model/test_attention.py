import pytest
import torch

from asr_s2s.config import DecoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import ATTENTION, Memory
from asr_s2s.model.recurrent_decoder import RecurrentDecoder

KINDS = sorted(ATTENTION)
LENGTHS = torch.tensor([9, 5, 1])


def make_memory() -> Memory:
    values = torch.randn(3, 9, 12, requires_grad=True)
    return Memory(values, LENGTHS, torch.randn(3, 12, requires_grad=True))


def make_decoder(
    kind: str, input_feeding: bool, layers: int = 1, cell: str = "lstm"
) -> RecurrentDecoder:
    config = DecoderConfig(
        cell=cell,
        attention=kind,
        first_state="source" if kind == "none" else "zeros",
        attention_size=8,
        attention_heads=2,
        location_width=5,
        input_feeding=input_feeding,
        size=16,
        layers=layers,
        embedding_size=6,
    )
    return RecurrentDecoder(11, 12, config).eval()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("input_feeding", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_forward_equals_repeated_step(kind: str, input_feeding: bool, layers: int) -> None:
    decoder = make_decoder(kind, input_feeding, layers)
    memory = make_memory()
    prefix = torch.randint(1, 11, (3, 7))
    logits, weights = decoder(prefix, memory)
    prepared = decoder.prepare(memory)
    state = decoder.start(memory)
    for index in range(prefix.size(1)):
        stepped, state = decoder.step(prefix[:, index], state, prepared)
        torch.testing.assert_close(stepped, logits[:, index], atol=1e-5, rtol=0)
        torch.testing.assert_close(state.alignment, weights[:, index], atol=1e-5, rtol=0)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("input_feeding", [True, False])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_forward_equals_repeated_step_with_a_first_state_from_the_source(
    cell: str, input_feeding: bool, tied: bool
) -> None:
    config = DecoderConfig(
        cell=cell, attention="dot", attention_size=8, first_state="source", tied_output=tied,
        input_feeding=input_feeding, size=16, layers=2, embedding_size=6,
    )  # fmt: skip
    decoder, memory = RecurrentDecoder(11, 12, config).eval(), make_memory()
    prefix = torch.randint(1, 11, (3, 7))
    logits, _ = decoder(prefix, memory)
    prepared, state = decoder.prepare(memory), decoder.start(memory)
    for index in range(prefix.size(1)):
        stepped, state = decoder.step(prefix[:, index], state, prepared)
        torch.testing.assert_close(stepped, logits[:, index], atol=1e-5, rtol=0)
    (first,) = torch.autograd.grad(logits[:, 0].sum(), memory.summary)
    assert torch.all(first.abs().sum(-1) > 0.0)


def test_without_attention_the_decoder_sees_only_the_summary_of_the_source() -> None:
    decoder, memory = make_decoder("none", input_feeding=False), make_memory()
    prefix = torch.randint(1, 11, (3, 5))
    logits, weights = decoder(prefix, memory)
    other, _ = decoder(prefix, memory._replace(values=torch.randn(3, 9, 12)))
    torch.testing.assert_close(logits, other, atol=0, rtol=0)
    another, _ = decoder(prefix, memory._replace(summary=torch.randn(3, 12)))
    assert not torch.allclose(logits, another)
    assert torch.all(weights == 0.0)
    with pytest.raises(ConfigError, match="first_state"):
        RecurrentDecoder(11, 12, DecoderConfig(attention="none"))


@pytest.mark.parametrize("kind", KINDS)
def test_hypotheses_of_a_beam_do_not_affect_each_other(kind: str) -> None:
    decoder = make_decoder(kind, input_feeding=True)
    memory = make_memory()
    tokens = torch.randint(1, 11, (3, 4, 5))  # (batch, beam, steps)
    prepared = decoder.prepare(memory)
    state = decoder.start(memory, beam_size=4)
    for step in range(5):
        together, state = decoder.step(tokens[:, :, step].flatten(), state, prepared)
    for beam in range(4):
        alone, _ = decoder(tokens[:, beam], memory)
        torch.testing.assert_close(
            together.view(3, 4, -1)[:, beam], alone[:, -1], atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_padded_frames_get_exactly_zero_attention_and_gradient(kind: str) -> None:
    decoder = make_decoder(kind, input_feeding=True)
    memory = make_memory()
    logits, weights = decoder(torch.randint(1, 11, (3, 4)), memory)
    logits.square().sum().backward()
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4))
    for row, length in enumerate(LENGTHS.tolist()):
        assert torch.all(weights[row, :, length:] == 0.0)
        assert torch.all(memory.values.grad[row, length:] == 0.0)
        assert torch.any(memory.values.grad[row, :length] != 0.0)


def test_additive_attention_equals_its_formula() -> None:
    config = DecoderConfig(attention="additive", attention_size=5)
    attention = ATTENTION["additive"](4, 3, config)
    memory = Memory(torch.randn(1, 6, 3), torch.tensor([6]), torch.zeros(1, 3))
    query = torch.randn(1, 1, 4)
    context, weights = attention(query, attention.prepare(memory), torch.zeros(1, 1, 6))
    scores = torch.stack(
        [
            attention.energy.weight[0]
            @ torch.tanh(
                attention.query.weight @ query[0, 0]
                + attention.key.weight @ memory.values[0, t]
                + attention.key.bias
            )
            for t in range(6)
        ]
    )
    torch.testing.assert_close(weights[0, 0], scores.softmax(0))
    torch.testing.assert_close(context[0, 0], scores.softmax(0) @ memory.values[0])
