"""Scores of attention in beam search, compared with teacher forcing."""

from dataclasses import replace

import pytest
import torch

from asr_s2s.config import Config, DecoderConfig, ModelConfig, SearchConfig, TextConfig
from asr_s2s.config import TextEncoderConfig as EncoderConfig
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.decode import attention_weights, decode
from asr_s2s.text.tokenizer import BLANK, BOS, EOS, UNK

LANGUAGES = ("yy", "zz")
VOCABULARY = 12
"""Number of tokens that outputs may contain; tokens of languages follow."""
LENGTHS = torch.tensor([6, 3, 1, 5])
SEARCH = SearchConfig(beam_size=4, length_normalization=1.0, end_threshold=None)
DECODERS = [
    {"cell": "lstm", "attention": "location", "input_feeding": True},
    {"cell": "gru", "attention": "additive", "input_feeding": False},
    {"cell": "rnn", "attention": "multihead", "input_feeding": False, "layers": 2},
    {"cell": "lstm", "attention": "none", "input_feeding": True, "first_state": "source"},
]
TRANSFORMER = {"kind": "transformer", "layers": 2, "attention_heads": 5, "feedforward_size": 12}


def name_of(decoder: dict) -> str:
    return decoder.get("kind") or f"{decoder['cell']}-{decoder['attention']}"


def make_model(decoder: dict) -> Seq2Seq:
    config = Config(
        model=ModelConfig(encoders=("text",)),
        text=TextConfig(languages=LANGUAGES),
        text_encoder=EncoderConfig(layers=1, size=8, embedding_size=6),
        decoder=DecoderConfig(size=10, embedding_size=6, attention_size=8, **decoder),
    )
    model = Seq2Seq(config, VOCABULARY + len(LANGUAGES), source_vocabulary=9).eval()
    for parameter in model.parameters():  # larger than initial weights, so that outputs differ
        parameter.data.mul_(3.0)
    return model


def make_sources() -> torch.Tensor:
    source = torch.randint(4, 9, (len(LENGTHS), int(LENGTHS.max())))
    return source.where(torch.arange(source.size(1)) < LENGTHS[:, None], BLANK)


@torch.inference_mode()
def teacher_forced(model: Seq2Seq, source: torch.Tensor, written: list[int]) -> torch.Tensor:
    """Log-probability of each token of an output and of the end token."""
    memory = model.encode("text", source[None], torch.tensor([len(source)]))
    logits, _ = model.decoder(torch.tensor([[BOS, *written]]), memory)
    log_probs = logits[0].log_softmax(-1)
    return log_probs[torch.arange(len(written) + 1), [*written, EOS]]


@pytest.mark.parametrize("decoder", [*DECODERS, TRANSFORMER], ids=name_of)
@pytest.mark.parametrize("prompted", [True, False])
def test_scores_equal_teacher_forcing_after_the_prompt(decoder: dict, prompted: bool) -> None:
    model, source = make_model(decoder), make_sources()
    prompts = torch.tensor([[VOCABULARY], [VOCABULARY + 1], [VOCABULARY + 1], [VOCABULARY]])
    results = decode(
        model, "text", model.encode("text", source, LENGTHS), SEARCH, prompts if prompted else None
    )
    for row, hypotheses in enumerate(results):
        prompt = prompts[row].tolist() if prompted else []
        for tokens, score in hypotheses:
            scores = teacher_forced(model, source[row, : int(LENGTHS[row])], [*prompt, *tokens])
            # The score of the prompt does not count.
            expected = scores[len(prompt) :].mean().item()
            assert score == pytest.approx(expected, abs=1e-4)


def test_the_language_of_the_prompt_changes_the_output() -> None:
    model, source = make_model(DECODERS[0]), make_sources()
    written = []
    for language in range(2):
        prompts = torch.full((len(LENGTHS), 1), VOCABULARY + language)
        results = decode(model, "text", model.encode("text", source, LENGTHS), SEARCH, prompts)
        written.append([hypotheses[0].tokens for hypotheses in results])
    assert written[0] != written[1]


@pytest.mark.parametrize("unknown", [False, True])
def test_outputs_never_contain_languages_or_special_tokens(unknown: bool) -> None:
    model, source = make_model(DECODERS[1]), make_sources()
    forbidden = [BLANK, BOS, *range(VOCABULARY, VOCABULARY + len(LANGUAGES))]
    model.decoder.output.bias.data[[*forbidden, UNK]] = 9.0
    search = replace(SEARCH, unknown=unknown, candidates=100)
    prompts = torch.full((len(LENGTHS), 1), VOCABULARY)
    for hypotheses in decode(model, "text", model.encode("text", source, LENGTHS), search, prompts):
        for tokens, score in hypotheses:
            assert score > -100
            assert not set(tokens) & set(forbidden)
        best = hypotheses[0].tokens
        assert (UNK in best) == (unknown and bool(best))


@pytest.mark.parametrize("decoder", [*DECODERS[:3], TRANSFORMER], ids=name_of)
def test_the_coverage_penalty_equals_its_formula(
    decoder: dict,
) -> None:
    model, source = make_model(decoder), make_sources()
    prompts = torch.full((len(LENGTHS), 1), VOCABULARY + 1)
    search = replace(SEARCH, coverage_penalty=0.7, length_normalization=0.0)
    for row, hypotheses in enumerate(
        decode(model, "text", model.encode("text", source, LENGTHS), search, prompts)
    ):
        words = source[row, : int(LENGTHS[row])]
        for tokens, score in hypotheses:
            written = [VOCABULARY + 1, *tokens]
            log_probs = teacher_forced(model, words, written)[1:]
            weights = attention_weights(model, "text", words, LENGTHS[row], written)[1:]
            read = weights.sum(0).clamp(0.01, 1.0)
            expected = log_probs.sum() + 0.7 * read.log().sum()
            assert score == pytest.approx(expected.item(), abs=1e-3)


def test_the_coverage_penalty_lengthens_outputs() -> None:
    model, source = make_model(DECODERS[1]), make_sources()
    model.decoder.output.bias.data[EOS] = 2.0
    lengths = []
    for penalty in (0.0, 2.0):
        search = replace(
            SEARCH, coverage_penalty=penalty, length_normalization=0.0, max_length_ratio=3.0
        )
        results = decode(model, "text", model.encode("text", source, LENGTHS), search)
        lengths.append(sum(len(hypotheses[0].tokens) for hypotheses in results))
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("decoder", [DECODERS[0], TRANSFORMER], ids=name_of)
def test_batching_does_not_change_hypotheses_with_prompts_and_coverage(decoder: dict) -> None:
    model, source = make_model(decoder), make_sources()
    prompts = torch.tensor([[VOCABULARY], [VOCABULARY + 1], [VOCABULARY], [VOCABULARY + 1]])
    search = replace(SEARCH, coverage_penalty=0.2)
    together = decode(model, "text", model.encode("text", source, LENGTHS), search, prompts)
    for row, length in enumerate(LENGTHS.tolist()):
        (alone,) = decode(
            model,
            "text",
            model.encode("text", source[row : row + 1, :length], LENGTHS[row : row + 1]),
            search,
            prompts[row : row + 1],
        )
        assert [h.tokens for h in alone] == [h.tokens for h in together[row]]
        for a, b in zip(alone, together[row], strict=True):
            assert a.score == pytest.approx(b.score, abs=1e-4)
