"""Language models in beam search."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asr_s2s.config import (
    Config,
    DecoderConfig,
    LanguageModelConfig,
    ModelConfig,
    SearchConfig,
    TextEncoderConfig,
)
from asr_s2s.errors import ConfigError
from asr_s2s.lm.kneser_ney import encode_lines, estimate, frequent_words
from asr_s2s.lm.language_model import LanguageModel, LanguageModels
from asr_s2s.lm.ngram import NgramModel, from_levels
from asr_s2s.lm.word_ngram import spell
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.beam import check_search
from asr_s2s.search.decode import decode
from asr_s2s.search.fusion import LanguageModelScorer, NgramScorer
from asr_s2s.search.phrases import Phrases, make_phrases
from asr_s2s.text.normalize import verbatim
from asr_s2s.text.tokenizer import BLANK, BOS, EOS, SPECIALS, UNK, CharacterTokenizer, WordTokenizer

TOKENIZER = CharacterTokenizer("abcdef ")
LINES = ["abc abd", "abc", "fed cab", "bad cafe", "abba", "cab abc"] * 3
BEAM = SearchConfig(beam_size=4, end_threshold=None, max_length_ratio=2.0)


@pytest.fixture(scope="module")
def ngram() -> NgramModel:
    text = encode_lines(LINES, TOKENIZER, verbatim)
    return from_levels(estimate(text, len(TOKENIZER), 3))


@pytest.fixture(scope="module")
def recurrent() -> LanguageModel:
    torch.manual_seed(0)
    config = LanguageModelConfig(layers=1, size=16, embedding_size=8)
    return LanguageModel(len(TOKENIZER), config).eval()


@pytest.fixture(scope="module")
def translator() -> Seq2Seq:
    torch.manual_seed(0)
    config = Config(
        model=ModelConfig(encoders=("text",)),
        text_encoder=TextEncoderConfig(layers=1, size=16, embedding_size=8),
        decoder=DecoderConfig(attention="dot", attention_size=16, size=16, embedding_size=8),
    )
    return Seq2Seq(config, len(TOKENIZER), len(TOKENIZER)).eval()


@pytest.mark.parametrize("kind", ["ngram", "recurrent"])
def test_candidates_get_the_same_scores_as_the_whole_vocabulary(
    kind: str, ngram: NgramModel, recurrent: LanguageModel
) -> None:
    model = {"ngram": NgramScorer(ngram, 2), "recurrent": LanguageModelScorer(recurrent, 2)}
    scorer = model[kind]
    state = scorer.start(2)
    for previous in ([BOS] * 4, [5, 6, 7, 5], [6, 6, 7, 8]):
        everything = torch.arange(len(TOKENIZER)).expand(4, -1)
        whole, after = scorer.judge(torch.tensor(previous), state, everything)
        candidates = torch.tensor([[5, EOS], [7, 4], [EOS, 9], [10, EOS]])
        some, _ = scorer.judge(torch.tensor(previous), state, candidates)
        torch.testing.assert_close(some, whole.gather(1, candidates))
        state = after


def test_ngram_scores_sum_to_the_score_of_the_sentence(ngram: NgramModel) -> None:
    scorer, total = NgramScorer(ngram, 1), 0.0
    tokens = TOKENIZER.encode("cab abc")
    state = scorer.start(1)
    for previous, token in zip([BOS, *tokens], [*tokens, EOS], strict=True):
        scores, state = scorer.judge(torch.tensor([previous]), state, torch.tensor([[token]]))
        total += scores.item()
    node, expected = ngram.start, 0.0
    for token in [*tokens, EOS]:
        score, node = ngram.step(node, torch.tensor(token))
        expected += score.item()
    assert total == pytest.approx(expected)


def sources() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(4, 10, (3, 6))), torch.tensor([6, 4, 5])


def texts(model: Seq2Seq, config: SearchConfig, models: LanguageModels, phrases=None) -> list[str]:
    found = decode(
        model,
        "text",
        model.encode("text", *sources()),
        config,
        language_models=models,
        phrases=phrases,
    )
    return [TOKENIZER.decode(hypotheses[0].tokens) for hypotheses in found]


def test_scores_are_weighted_sums(
    translator: Seq2Seq, ngram: NgramModel, recurrent: LanguageModel
) -> None:
    config = replace(
        BEAM,
        ngram_weight=0.7,
        language_model_weight=0.4,
        token_bonus=0.5,
        length_normalization=0.0,
        candidates=100,
    )
    source, lengths = sources()
    models = LanguageModels(ngram, recurrent)
    memory = translator.encode("text", source, lengths)
    found = decode(translator, "text", memory, config, language_models=models)
    for row, (best, *_) in enumerate(found):
        prefix = torch.tensor([[BOS, *best.tokens]])
        target = torch.tensor([*best.tokens, EOS])
        memory = translator.encode("text", source[row : row + 1], lengths[row : row + 1])
        steps = torch.arange(len(target))
        attention = translator.decoder(prefix, memory)[0][0].log_softmax(-1)[steps, target].sum()
        lstm = recurrent(prefix)[0].log_softmax(-1)[steps, target].sum()
        node, grams = ngram.start, torch.tensor(0.0)
        for token in target:
            score, node = ngram.step(node, token)
            grams = grams + score
        expected = attention + 0.7 * grams + 0.4 * lstm + 0.5 * len(best.tokens)
        assert best.score == pytest.approx(expected.item(), abs=1e-3)


def test_a_high_language_model_weight_dominates(translator: Seq2Seq, ngram: NgramModel) -> None:
    without = texts(translator, BEAM, LanguageModels(ngram))
    with_it = texts(translator, replace(BEAM, ngram_weight=10.0), LanguageModels(ngram))
    assert without != with_it
    assert set(" ".join(with_it).split()) <= set(" ".join(LINES).split())


def test_batching_does_not_change_hypotheses(
    translator: Seq2Seq, ngram: NgramModel, recurrent: LanguageModel
) -> None:
    config = replace(BEAM, ngram_weight=0.5, language_model_weight=0.5)
    models = LanguageModels(ngram, recurrent)
    phrases = make_phrases([("abba", 1.0)], TOKENIZER, verbatim)
    source, lengths = sources()

    def run(rows: slice) -> list:
        return decode(
            translator,
            "text",
            translator.encode("text", source[rows], lengths[rows]),
            config,
            language_models=models,
            phrases=phrases,
        )

    together = run(slice(None))
    for row in range(3):
        alone = run(slice(row, row + 1))[0]
        assert [h.tokens for h in alone] == [h.tokens for h in together[row]]
        torch.testing.assert_close(
            torch.tensor([h.score for h in alone]),
            torch.tensor([h.score for h in together[row]]),
        )


def test_a_phrase_with_a_high_weight_is_in_the_output(translator: Seq2Seq) -> None:
    phrases: Phrases = make_phrases([("fed", 20.0)], TOKENIZER, verbatim)
    assert all("fed" in text.split() for text in texts(translator, BEAM, LanguageModels(), phrases))


def test_a_token_bonus_lengthens_outputs(translator: Seq2Seq) -> None:
    config = replace(BEAM, length_normalization=0.0)
    lengths = [
        sum(map(len, texts(translator, replace(config, token_bonus=bonus), LanguageModels())))
        for bonus in (-5.0, 0.0, 5.0)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2]


def test_a_word_bonus_increases_the_number_of_words(translator: Seq2Seq) -> None:
    units = WordTokenizer(frequent_words(LINES, TOKENIZER, str, 20))
    grams = from_levels(estimate(encode_lines(LINES, units, str), len(units), 2))
    models = LanguageModels(spell(grams, units.pieces[len(SPECIALS) :], TOKENIZER))
    config = replace(BEAM, ngram_weight=0.3, length_normalization=0.0, candidates=100)
    words = [
        sum(
            text.count(" ") for text in texts(translator, replace(config, word_bonus=bonus), models)
        )
        for bonus in (-5.0, 0.0, 5.0)
    ]
    assert words == sorted(words)
    assert words[0] < words[2]


@pytest.mark.parametrize(
    "key", ["ngram_weight", "language_model_weight", "token_bonus", "word_bonus"]
)
def test_weights_out_of_range_are_rejected(key: str) -> None:
    with pytest.raises(ConfigError, match=f"search.{key}"):
        check_search(replace(SearchConfig(), **{key: -11.0}))


def test_tokens_beyond_the_vocabulary_have_finite_scores(
    ngram: NgramModel, recurrent: LanguageModel
) -> None:
    """Tokens of languages follow the tokenizer's; only the attention scorer excludes them."""
    candidates = torch.tensor([[BLANK, UNK, 5, len(TOKENIZER), len(TOKENIZER) + 5]])
    for scorer in (NgramScorer(ngram, 1), LanguageModelScorer(recurrent, 1)):
        scores, _ = scorer.judge(torch.tensor([BOS]), scorer.start(1), candidates)
        assert scores.isfinite().all()
