import pytest
import torch

from asr_s2s.config import Config, DecoderConfig, ModelConfig, SourceTextConfig, TextEncoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.model.text_encoder import TEXT_ENCODERS
from asr_s2s.text.tokenizer import BLANK

LENGTHS = torch.tensor([7, 4, 1])
VARIANTS = [
    {"cell": cell, "bidirectional": both, "reverse": reverse}
    for cell in ("rnn", "gru", "lstm")
    for both in (True, False)
    for reverse in (True, False)
] + [{"cell": "transformer", "heads": 2, "feedforward_size": 24}]


def make(variant: dict, layers: int = 2):
    config = TextEncoderConfig(**variant, layers=layers, size=16, embedding_size=12)
    return TEXT_ENCODERS[config.cell](config).eval()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_padding_does_not_change_the_memory(variant: dict) -> None:
    encoder = make(variant)
    embedded = torch.randn(3, 7, 12)  # values beyond a length must have no effect
    together = encoder(embedded, LENGTHS)
    assert together.values.shape == (3, 7, encoder.output_size)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = encoder(embedded[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(
            together.values[row, :length], alone.values[0], atol=1e-5, rtol=0
        )
        torch.testing.assert_close(together.summary[row], alone.summary[0], atol=1e-5, rtol=0)
        assert torch.all(together.values[row, length:] == 0.0)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_padded_tokens_get_exactly_zero_gradient(variant: dict) -> None:
    embedded = torch.randn(3, 7, 12, requires_grad=True)
    memory = make(variant)(embedded, LENGTHS)
    (memory.values.square().sum() + memory.summary.square().sum()).backward()
    for row, length in enumerate(LENGTHS.tolist()):
        assert torch.all(embedded.grad[row, length:] == 0.0)
        assert torch.all(embedded.grad[row, :length].abs().sum(-1) > 0.0)


def test_the_summary_of_a_reversed_source_is_the_output_at_its_first_token() -> None:
    encoder = make({"cell": "lstm", "bidirectional": False, "reverse": True})
    memory = encoder(torch.randn(3, 7, 12), LENGTHS)
    torch.testing.assert_close(memory.summary, memory.values[:, 0])


def make_model(**encoder: object) -> Seq2Seq:
    config = Config(
        model=ModelConfig(encoders=("text",)),
        source_text=SourceTextConfig(joint=True),
        text_encoder=TextEncoderConfig(layers=1, size=8, embedding_size=6, **encoder),
        decoder=DecoderConfig(attention="dot", size=8, embedding_size=6, tied_output=True),
    )
    return Seq2Seq(config, vocabulary=11)


def test_a_shared_embedding_is_used_by_source_decoder_and_output_layer() -> None:
    model = make_model(shared_embedding=True)
    tables = [name for name, p in model.named_parameters() if p.shape == (11, 6)]
    assert tables == ["decoder.embedding.weight"]
    source = torch.tensor([[4, 5, 2], [6, 2, BLANK]])
    memory = model.encode("text", source, torch.tensor([3, 2]))
    (gradient,) = torch.autograd.grad(memory.values.sum(), model.decoder.embedding.weight)
    used = gradient.abs().sum(-1) > 0
    assert used.nonzero().flatten().tolist() == [2, 4, 5, 6]


def make_transformer(*, shared: bool, tied: bool) -> Seq2Seq:
    config = Config(
        model=ModelConfig(encoders=("text",)),
        source_text=SourceTextConfig(joint=True),
        text_encoder=TextEncoderConfig(
            cell="transformer", layers=2, size=64, embedding_size=64, shared_embedding=shared
        ),
        decoder=DecoderConfig(attention="dot", size=64, embedding_size=64, tied_output=tied),
    )
    torch.manual_seed(0)
    return Seq2Seq(config, vocabulary=300, source_vocabulary=300).eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_an_untrained_transformer_distinguishes_sentences(shared: bool, tied: bool) -> None:
    model = make_transformer(shared=shared, tied=tied)
    source, lengths = torch.randint(4, 300, (8, 15)), torch.full((8,), 15)
    values = model.encode("text", source, lengths).values
    similarity = torch.cosine_similarity(values[:4], values[4:], dim=-1).mean()
    assert similarity < 0.8  # 0.99 if positional encodings dominate the embeddings


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_recurrent_layers_do_not_scale_a_shared_embedding(cell: str) -> None:
    model = make_model(shared_embedding=True, cell=cell).eval()
    source, lengths = torch.tensor([[4, 5, 2]]), torch.tensor([3])
    memory = model.encode("text", source, lengths)
    expected = model.encoders["text"](model.decoder.embedding(source), lengths)
    assert torch.equal(memory.values, expected.values)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"model": ModelConfig(encoders=())}, "model.encoders"),
        ({"model": ModelConfig(encoders=("speech", "video"))}, "model.encoders"),
        ({"model": ModelConfig(encoders=("speech", "text"))}, "model.encoders"),  # sizes differ
        (
            {
                "model": ModelConfig(encoders=("text",)),
                "text_encoder": TextEncoderConfig(shared_embedding=True),
            },
            "text_encoder.shared_embedding",
        ),
        (
            {
                "model": ModelConfig(encoders=("text",)),
                "source_text": SourceTextConfig(joint=True),
                "text_encoder": TextEncoderConfig(shared_embedding=True, embedding_size=24),
            },
            "text_encoder.embedding_size",
        ),
        (
            {
                "model": ModelConfig(encoders=("text",)),
                "text_encoder": TextEncoderConfig(cell="transformer", size=30, heads=4),
            },
            "text_encoder.heads",
        ),
    ],
)
def test_inconsistent_encoder_settings_are_rejected(sections: dict, key: str) -> None:
    if sections["model"].encoders == ("speech", "text"):
        sections["text_encoder"] = TextEncoderConfig(size=100)
    with pytest.raises(ConfigError) as error:
        Seq2Seq(Config(**sections), vocabulary=11, source_vocabulary=9)
    assert error.value.where == key
