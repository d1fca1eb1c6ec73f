"""Rules of beam search: prefix, minimum length, repetitions, diverse groups and phrases that must
occur."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from asr_s2s.config import SearchConfig, TextConfig
from asr_s2s.errors import ConfigError, TextError
from asr_s2s.search.beam import Hypothesis, beam_search
from asr_s2s.search.must import Must, MustProgress, make_must
from asr_s2s.search.sampling import Sampling, sample
from asr_s2s.search.steps import repeated_tokens
from asr_s2s.text.normalize import verbatim
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import (
    BLANK,
    BOS,
    CharacterTokenizer,
    Tokenizer,
    WordTokenizer,
)
from asr_s2s.text.vocabulary import train_tokenizer
from tests.support.tables import TableScorer

FRAMES = torch.tensor([12, 7, 9, 3])
KEYS = [str(number).encode() for number in range(4)]


def search(config: SearchConfig, **rules: object) -> list[list[Hypothesis]]:
    return beam_search((TableScorer(4, 30), 1.0), [], FRAMES, config, **rules)


def both(config: SearchConfig, prefix: tuple[int, ...] = ()) -> list[list[Hypothesis]]:
    """Outputs of beam search and samples, of four utterances each."""
    scorer = (TableScorer(4, 30), 1.0)
    drawn = sample(scorer, [], FRAMES, config, Sampling(), KEYS, prefix=prefix)
    return search(config, prefix=prefix) + drawn


def test_outputs_start_with_the_prefix_and_scores_include_it() -> None:
    prefix = (5, 4, 6, 6, 5)
    for hypotheses in both(SearchConfig(beam_size=4), prefix):
        assert hypotheses
        assert all(tuple(each.tokens[:5]) == prefix for each in hypotheses)
    scorer, exact = TableScorer(4, 30), SearchConfig(beam_size=1, length_normalization=0.0)
    for row, ((tokens, score), *_) in enumerate(search(exact, prefix=prefix)):
        path = [BOS, BOS, *tokens, 2]
        gains = [
            scorer.table[row, i, path[i], path[i + 1], path[i + 2]] for i in range(len(tokens) + 1)
        ]
        assert score == pytest.approx(float(sum(gains)), abs=1e-4)


def test_a_minimum_length_holds_beyond_the_maximum_ratio() -> None:
    for hypotheses in both(SearchConfig(beam_size=4, min_length=8)):
        assert hypotheses
        assert all(len(each.tokens) >= 8 for each in hypotheses)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_ngram_occurs_twice(size: int) -> None:
    repeated = 0
    plain = SearchConfig(beam_size=4, min_length=10)
    for config in (replace(plain, no_repeat_ngram=size), plain):
        for hypotheses in both(config):
            for tokens, _ in hypotheses:
                counts = Counter(tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1))
                repeated += max(counts.values(), default=0) > 1
        assert (repeated > 0) == (config.no_repeat_ngram == 0)


def test_repeated_tokens_complete_ngrams_that_occurred() -> None:
    history = torch.tensor([[4, 5, 6, 4, 5], [4, 4, 4, 4, 4], [4, 5, 6, 5, 6]])
    found = repeated_tokens(history, 3).tolist()
    assert [set(row) - {BLANK} for row in found] == [{6}, {4}, {5}]
    assert repeated_tokens(history, 1).tolist() == history.tolist()


def test_groups_give_more_diverse_alternatives() -> None:
    def shared(config: SearchConfig) -> float:
        """Fraction of positions at which two alternatives of an utterance have equal tokens."""
        pairs = [(a.tokens, b.tokens) for found in search(config) for a, b in pairwise(found[:4])]
        same = sum(x == y for a, b in pairs for x, y in zip(a, b, strict=False))
        return same / sum(min(len(a), len(b)) for a, b in pairs)

    plain = SearchConfig(beam_size=8, min_length=5)
    diverse = replace(plain, beam_groups=4, diversity=3.0)
    assert shared(diverse) < shared(plain)
    for hypotheses in search(diverse):
        scores = [each.score for each in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(each.tokens) for each in hypotheses}) == len(hypotheses)


def test_the_first_group_is_a_beam_search_of_its_own() -> None:
    narrow = search(SearchConfig(beam_size=2))
    for groups in (SearchConfig(beam_size=6, beam_groups=3, diversity=9.0),):
        for alone, found in zip(narrow, search(groups), strict=True):
            assert {(tuple(h.tokens), round(h.score, 5)) for h in alone} <= {
                (tuple(h.tokens), round(h.score, 5)) for h in found
            }


def test_groups_do_not_depend_on_the_batch() -> None:
    class Row(TableScorer):
        def __init__(self, row: int) -> None:
            self.table = TableScorer(4, 30).table[row : row + 1]

    config = SearchConfig(beam_size=6, beam_groups=3)
    for row, together in enumerate(search(config)):
        assert beam_search((Row(row), 1.0), [], FRAMES[row : row + 1], config)[0] == together


def test_groups_must_divide_the_beam() -> None:
    with pytest.raises(ConfigError, match=r"search\.beam_groups"):
        search(SearchConfig(beam_size=8, beam_groups=3))


def subwords() -> Tokenizer:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdef", k=rng.randint(1, 5))) for _ in range(60)]
    lines = [" ".join(rng.choices(words, k=8)) for _ in range(300)]
    return train_tokenizer(TextConfig(tokenizer="sentencepiece", vocabulary_size=40), lines)


TOKENIZERS = {
    "subwords": (subwords, ["fed", "ab cd", "abc"]),
    "characters": (lambda: CharacterTokenizer("abcdef "), ["fed", "ab cd", "d"]),
    "words": (lambda: WordTokenizer(["a", "b", "c", "d", "e", "f"]), ["f e d", "a b", "d"]),
    "punctuation": (lambda: CharacterTokenizer("abcdef .'"), ["fed", "ab cd", "d"]),
    "no spaces": (lambda: CharacterTokenizer("abcdef"), ["fed", "abcd", "dd"]),
}


class RandomScorer(TableScorer):
    """A scorer with random log-probabilities by step and last token, of any vocabulary."""

    def __init__(self, batch: int, vocabulary: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        logits = 3 * torch.randn(batch, 60, 1, vocabulary, vocabulary, generator=generator)
        self.table = logits.log_softmax(-1).expand(-1, -1, vocabulary, -1, -1)


@pytest.mark.parametrize("beam_size", [1, 3, 12])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_output_has_all_phrases_as_whole_words(kind: str, beam_size: int) -> None:
    make, phrases = TOKENIZERS[kind]
    tokenizer = make()
    must = make_must(phrases, Output(tokenizer, verbatim))
    frames = torch.tensor([20, 1, 9, 14])
    for seed in range(2):
        scorer = RandomScorer(4, len(tokenizer), seed)
        for judges in ([], [(RandomScorer(4, len(tokenizer), seed + 100), 0.5)]):
            for rules in ({}, {"no_repeat_ngram": 2}, {"min_length": 12}):
                config = SearchConfig(beam_size=beam_size, candidates=3, **rules)
                for hypotheses in beam_search((scorer, 0.5), judges, frames, config, must=must):
                    assert hypotheses
                    for each in hypotheses:
                        text = tokenizer.decode(each.tokens).replace(".", " ")
                        mark = "" if kind == "no spaces" else " "
                        for phrase in phrases:
                            assert f"{mark}{phrase}{mark}" in f"{mark}{text}{mark}"


def test_phrases_do_not_depend_on_the_batch() -> None:
    tokenizer = CharacterTokenizer("abcdef ")
    must = make_must(["fed", "ab"], Output(tokenizer, verbatim))
    scorer, config = RandomScorer(4, len(tokenizer), 0), SearchConfig(beam_size=5)
    together = beam_search((scorer, 1.0), [], FRAMES, config, must=must)
    for row in range(4):
        alone = RandomScorer(1, len(tokenizer), 0)
        alone.table = scorer.table[row : row + 1]
        found = beam_search((alone, 1.0), [], FRAMES[row : row + 1], config, must=must)
        assert found[0] == together[row]


def test_a_phrase_in_the_prefix_counts() -> None:
    tokenizer = CharacterTokenizer("abcdef ")
    output = Output(tokenizer, verbatim)

    def missing(text: str, must: Must) -> bool:
        progress = MustProgress(must, 1)
        for token in tokenizer.encode(text):
            progress.advance(torch.tensor([token]))
        zeros = torch.zeros(1, 1, len(tokenizer))
        ends = progress.extend(zeros[:, :, :1], torch.full((1, 1, 1), 2), zeros)[0]
        return bool(ends[0, 0, -1] == -torch.inf)

    must = make_must(["ab"], output)
    assert not missing("ab", must) and not missing("c ab d", must)
    assert missing("cab", must) and missing("abc", must) and missing("a", must)
    config = SearchConfig(beam_size=3)
    prefix = tokenizer.encode("ab c")
    scorer = RandomScorer(1, len(tokenizer), 0)
    frames = torch.tensor([14])
    free = beam_search((scorer, 1.0), [], frames, config, prefix=prefix)
    bound = beam_search((scorer, 1.0), [], frames, config, prefix=prefix, must=must)
    assert bound[0][0].tokens == free[0][0].tokens


@pytest.mark.parametrize("phrase", ["", "xyz"])
def test_a_phrase_that_cannot_be_written_is_refused(phrase: str) -> None:
    with pytest.raises(TextError, match="must"):
        make_must(["ab", phrase], Output(CharacterTokenizer("abcdef "), verbatim))
