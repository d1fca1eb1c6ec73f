"""Copying decoders: agreement of steps and whole passes, the mixture, and independence of rows."""

import math

import pytest
import torch
from torch import Tensor

from asr_s2s.config import Config, DecoderConfig, ModelConfig, SourceTextConfig, TextEncoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import Memory
from asr_s2s.model.decoders import DECODERS
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.tokenizer import BLANK, EOS, UNK

VOCABULARY = 11
LENGTHS = torch.tensor([6, 4, 1])
TOKENS = torch.tensor([[5, 11, 5, 12, 11, EOS], [9, 11, 4, EOS, BLANK, BLANK], [EOS] + 5 * [BLANK]])
"""Source tokens; 11 and 12 are unknown words of their rows."""
SMALL = {"copy": True, "size": 16, "embedding_size": 6, "dropout": 0.3}
CONFIGS = [
    DecoderConfig(**SMALL, attention="dot", attention_size=8, input_feeding=False),
    DecoderConfig(**SMALL, attention="coverage", attention_size=8, input_feeding=True, layers=2),
    DecoderConfig(**SMALL, attention="coverage", attention_size=8, input_feeding=False),
    DecoderConfig(**SMALL, attention="multihead", attention_size=8, attention_heads=2),
    DecoderConfig(**SMALL, kind="transformer", attention_heads=2, layers=2, feedforward_size=24),
]


def name_of(config: DecoderConfig) -> str:
    fed = "-fed" if config.input_feeding else ""
    return config.kind if config.kind == "transformer" else f"{config.attention}{fed}"


def make_memory(tokens: Tensor = TOKENS) -> Memory:
    values = torch.randn(3, 6, 12).masked_fill((torch.arange(6) >= LENGTHS[:, None])[..., None], 0)
    return Memory(values, LENGTHS, torch.randn(3, 12), tokens)


def make_decoder(config: DecoderConfig) -> torch.nn.Module:
    decoder = DECODERS[config.kind](VOCABULARY, 12, config).eval()
    torch.nn.init.normal_(decoder.copy.gate.weight)  # so that gates differ
    return decoder


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_forward_equals_repeated_step(config: DecoderConfig) -> None:
    decoder, memory = make_decoder(config), make_memory()
    prefix = torch.randint(1, 13, (3, 7))  # unknown words are read as unknown tokens
    logits, weights = decoder(prefix, memory)
    assert logits.shape == (3, 7, 13) and logits.dtype == torch.float32
    prepared, state = decoder.prepare(memory), decoder.start(memory)
    for index in range(prefix.size(1)):
        stepped, state = decoder.step(prefix[:, index], state, prepared)
        torch.testing.assert_close(stepped, logits[:, index], atol=1e-5, rtol=0)
        torch.testing.assert_close(state.alignment, weights[:, index], atol=1e-5, rtol=0)
    known, _ = decoder(prefix.where(prefix < VOCABULARY, UNK), memory)
    torch.testing.assert_close(known, logits, atol=0, rtol=0)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_outputs_are_log_probabilities_of_the_vocabulary_and_own_unknown_words(
    config: DecoderConfig,
) -> None:
    decoder, memory = make_decoder(config), make_memory()
    log_probs, weights = decoder(torch.randint(1, 11, (3, 4)), memory)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(3, 4))
    assert torch.all(log_probs[1:, :, 12] == -math.inf)
    assert torch.all(log_probs[2, :, 11:] == -math.inf)
    # An unknown word has only the attention on its places.
    shares = [weights[0, :, [1, 4]].sum(-1), weights[0, :, 3]]
    ratio = log_probs[0, :, 11] - log_probs[0, :, 12]
    torch.testing.assert_close(ratio, shares[0].log() - shares[1].log(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_hypotheses_are_queries_on_one_memory(config: DecoderConfig) -> None:
    decoder, memory = make_decoder(config), make_memory()
    prepared, state = decoder.prepare(memory), decoder.start(memory, beam_size=2)
    assert prepared.copyable.tokens.shape == (3, 1, 6)
    _, state = decoder.step(torch.tensor([3, 4, 5, 6, 7, 11]), state, prepared)
    rows = torch.tensor([1, 0, 3, 3, 4, 4])
    state = type(state)(*(part.index_select(0, rows) for part in state))
    logits, _ = decoder.step(torch.tensor([9, 2, 11, 2, 9, 2]), state, prepared)
    written = torch.tensor([[4, 9], [3, 2], [6, 11], [6, 2], [7, 9], [7, 2]])
    expected, _ = decoder(written, memory.select([0, 0, 1, 1, 2, 2]))
    torch.testing.assert_close(logits, expected[:, -1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_rows_do_not_depend_on_padding_or_on_the_unknown_words_of_others(
    config: DecoderConfig,
) -> None:
    decoder, memory = make_decoder(config), make_memory()
    prefix = torch.randint(1, 11, (3, 4))
    logits, _ = decoder(prefix, memory)
    for row, length in enumerate(LENGTHS.tolist()):
        one = slice(row, row + 1)
        alone = memory.select(one)
        alone = alone._replace(values=alone.values[:, :length], tokens=TOKENS[one, :length])
        expected, _ = decoder(prefix[one], alone)
        found = logits[one, :, : expected.size(-1)]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_gradients_are_finite_in_bfloat16_and_reach_gate_and_attention(
    config: DecoderConfig,
) -> None:
    decoder, memory = make_decoder(config).train(), make_memory()
    values = memory.values.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = decoder(torch.randint(1, 11, (3, 4)), memory._replace(values=values))
    assert logits.dtype == torch.float32
    loss = torch.nn.functional.cross_entropy(logits[:2].flatten(0, 1), torch.full((8,), 11))
    loss.backward()
    assert decoder.copy.gate.weight.grad.abs().sum() > 0
    assert torch.isfinite(values.grad).all() and values.grad[:2].abs().sum() > 0
    for parameter in decoder.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


def test_coverage_attention_reads_the_sum_of_all_previous_weights() -> None:
    decoder, memory = make_decoder(CONFIGS[1]), make_memory()
    prepared, state = decoder.prepare(memory), decoder.start(memory)
    summed = torch.zeros(3, 6)
    for token in (1, 5, 6):
        _, state = decoder.step(torch.full((3,), token), state, prepared)
        summed = summed + state.alignment
        torch.testing.assert_close(state.coverage, summed)
    changed = state._replace(alignment=torch.zeros(3, 6))
    same, _ = decoder.step(torch.full((3,), 7), changed, prepared)
    expected, _ = decoder.step(torch.full((3,), 7), state, prepared)
    torch.testing.assert_close(same, expected, atol=0, rtol=0)
    other, _ = decoder.step(torch.full((3,), 7), state._replace(coverage=5 * summed), prepared)
    assert not torch.allclose(other[0], expected[0])


@pytest.mark.parametrize(
    ("encoders", "joint"), [(("text",), False), (("speech",), True), (("speech", "text"), True)]
)
def test_copying_is_refused_without_a_text_source_of_the_same_vocabulary(
    encoders: tuple[str, ...], joint: bool
) -> None:
    config = Config(
        model=ModelConfig(encoders=encoders),
        source_text=SourceTextConfig(joint=joint),
        text_encoder=TextEncoderConfig(size=8, embedding_size=6),
        decoder=CONFIGS[0],
    )
    with pytest.raises(ConfigError) as refused:
        Seq2Seq(config, VOCABULARY, VOCABULARY)
    assert refused.value.where == "decoder.copy"
    assert "source_text.joint" in refused.value.fix and "model.encoders" in refused.value.fix


def test_copying_is_refused_without_attention() -> None:
    config = DecoderConfig(copy=True, attention="none", first_state="source")
    with pytest.raises(ConfigError) as refused:
        DECODERS["recurrent"](VOCABULARY, 12, config)
    assert refused.value.where == "decoder.copy"
