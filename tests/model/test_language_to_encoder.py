"""Encoders that are given the output language."""

import pytest
import torch
from torch import Tensor

from asr_s2s.config import (
    Config,
    DecoderConfig,
    FeatureConfig,
    ModelConfig,
    SearchConfig,
    SpeechEncoderConfig,
    TextConfig,
    TextEncoderConfig,
)
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import Memory
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.decode import attention_weights, decode

VOCABULARY = 12
YY, ZZ = [VOCABULARY], [VOCABULARY + 1]
LENGTHS = {"text": torch.tensor([6, 3, 4]), "speech": torch.tensor([8000, 3000, 5000])}


def make_model(kind: str, *, given: bool = True, cell: str = "lstm") -> Seq2Seq:
    config = Config(
        model=ModelConfig(encoders=(kind,), language_to_encoder=given),
        text=TextConfig(languages=("yy", "zz")),
        features=FeatureConfig(mel_bins=16),
        speech_encoder=SpeechEncoderConfig(
            layers=1, size=8, convolution_layers=1, convolution_channels=4, time_reduction=2
        ),
        text_encoder=TextEncoderConfig(cell=cell, layers=1, size=8, embedding_size=6, heads=2),
        decoder=DecoderConfig(size=10, embedding_size=6, attention_size=8),
    )
    model = Seq2Seq(config, VOCABULARY + 2, source_vocabulary=9).eval()
    if model.languages is not None:
        torch.nn.init.normal_(model.languages[kind].weight)
    return model


def make_source(kind: str) -> Tensor:
    lengths = LENGTHS[kind]
    padded = torch.arange(int(lengths.max())) >= lengths[:, None]
    if kind == "text":
        return torch.randint(4, 9, padded.shape).masked_fill(padded, 0)
    return (0.1 * torch.randn(padded.shape)).masked_fill(padded, 0.0)


@torch.inference_mode()
def encode(model: Seq2Seq, kind: str, source: Tensor, prompts: list[list[int]]) -> Memory:
    return model.encode(kind, source, LENGTHS[kind], torch.tensor(prompts))


@pytest.mark.parametrize(
    ("kind", "cell"), [("text", "gru"), ("text", "transformer"), ("speech", "")]
)
def test_each_row_of_a_batch_has_its_language(kind: str, cell: str) -> None:
    model, source = make_model(kind, cell=cell or "lstm"), make_source(kind)
    mixed = encode(model, kind, source, [YY, ZZ, YY])
    all_yy, all_zz = (encode(model, kind, source, [language] * 3) for language in (YY, ZZ))
    for row, same in enumerate((all_yy, all_zz, all_yy)):
        torch.testing.assert_close(mixed.values[row], same.values[row])
    assert not torch.allclose(all_yy.values, all_zz.values, atol=1e-2)
    for row, length in enumerate(LENGTHS[kind]):
        prompt = torch.tensor([[YY, ZZ, YY][row]])
        with torch.inference_mode():
            alone = model.encode(kind, source[row : row + 1, :length], length[None], prompt)
        frames = int(alone.lengths[0])
        expected = mixed.values[row, :frames]
        torch.testing.assert_close(alone.values[0], expected, atol=1e-5, rtol=0)
        assert torch.all(mixed.values[row, frames:] == 0.0)


@pytest.mark.parametrize("kind", ["text", "speech"])
def test_a_new_model_encodes_like_one_without_the_language(kind: str) -> None:
    model, plain, source = make_model(kind), make_model(kind, given=False), make_source(kind)
    torch.nn.init.zeros_(model.languages[kind].weight)
    plain.load_state_dict(model.state_dict(), strict=False)
    prompts = [YY, ZZ, ZZ]
    torch.testing.assert_close(
        encode(model, kind, source, prompts).values, encode(plain, kind, source, prompts).values
    )


@torch.inference_mode()
def test_attention_of_an_output_is_that_of_its_language() -> None:
    model, source = make_model("text"), make_source("text")
    memory = encode(model, "text", source, [YY, YY, YY])
    config = SearchConfig(beam_size=2, end_threshold=None)
    best = decode(model, "text", memory, config, torch.tensor([YY] * 3))[0][0].tokens
    weights, others = (
        attention_weights(model, "text", source[0], LENGTHS["text"][0], [*prompt, *best])
        for prompt in (YY, ZZ)
    )
    prefix = torch.tensor([[1, *YY, *best]])
    expected = model.decoder(prefix, memory.select([0]))[1]
    torch.testing.assert_close(weights, expected[0])
    assert not torch.allclose(weights, others)


def test_languages_are_required() -> None:
    config = Config(model=ModelConfig(encoders=("text",), language_to_encoder=True))
    with pytest.raises(ConfigError) as refused:
        Seq2Seq(config, VOCABULARY, source_vocabulary=9)
    assert refused.value.where == "model.language_to_encoder"
    assert "text.languages" in refused.value.fix
