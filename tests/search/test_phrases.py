"""Phrases earn what they are worth when they are whole, and nothing otherwise."""

import random
from pathlib import Path

import pytest
import torch

from asr_s2s.config import TextConfig
from asr_s2s.errors import TextError
from asr_s2s.search.phrases import Phrases, PhraseScorer, make_phrases, read_phrases
from asr_s2s.text.normalize import lowercase, verbatim
from asr_s2s.text.tokenizer import (
    BOS,
    EOS,
    CharacterTokenizer,
    Tokenizer,
    WordTokenizer,
)
from asr_s2s.text.vocabulary import train_tokenizer

CHARACTERS = CharacterTokenizer("abcdef ")
NAMES = [("ab", 1.0), ("ab cd", 0.5), ("cd", 2.0), ("abba", 1.0), ("b", 0.25), ("cd ab e", 1.0)]


def steps(phrases: Phrases, tokens: list[int]) -> list[float]:
    """What the scorer gives for each token and the end."""
    scorer = PhraseScorer(phrases, 1)
    state, earned = scorer.start(1), []
    for previous, token in zip([BOS, *tokens], [*tokens, EOS], strict=True):
        scores, state = scorer.step(torch.tensor([previous]), state, torch.tensor([[token]]))
        earned.append(scores.item())
    return earned


def occurrences(text: str, phrase: str) -> int:
    """How often the words of a phrase stand in the text, one after the other."""
    words, wanted = text.split(), phrase.split()
    return sum(words[i : i + len(wanted)] == wanted for i in range(len(words)))


@pytest.mark.parametrize("seed", range(20))
def test_an_output_earns_the_sum_of_the_phrases_in_it(seed: int) -> None:
    phrases = make_phrases(NAMES, CHARACTERS, verbatim)
    chance = random.Random(seed)
    words = ["ab", "cd", "abba", "b", "e", "abb", "c", "abcd", "bab"]
    text = " ".join(chance.choices(words, k=12))
    expected = sum(
        weight * len(name.replace(" ", "")) * occurrences(text, name) for name, weight in NAMES
    )
    assert sum(steps(phrases, CHARACTERS.encode(text))) == pytest.approx(expected)


def test_tokens_earn_on_the_way_and_lose_it_when_the_phrase_breaks_off() -> None:
    phrases = make_phrases([("abc", 1.0)], CHARACTERS, verbatim)
    assert steps(phrases, CHARACTERS.encode("abc")) == [1, 1, 1, 0]
    assert steps(phrases, CHARACTERS.encode("abd")) == [1, 1, -2, 0]
    assert steps(phrases, CHARACTERS.encode("ab")) == [1, 1, -2]
    assert steps(phrases, CHARACTERS.encode("abcd")) == [1, 1, 1, -3, 0]
    assert steps(phrases, CHARACTERS.encode("dabc")) == [0, 0, 0, 0, 0]
    assert steps(phrases, CHARACTERS.encode("d abc ")) == [0, 0, 1, 1, 1, 0, 0]


@pytest.fixture(scope="module")
def subwords() -> Tokenizer:
    chance = random.Random(0)
    letters = "abcdefghij"
    words = ["".join(chance.choices(letters, k=chance.randint(1, 6))) for _ in range(80)]
    lines = [" ".join(chance.choices(words, k=8)) for _ in range(400)]
    return train_tokenizer(TextConfig(tokenizer="sentencepiece", vocabulary_size=60), lines)


@pytest.mark.parametrize("name", ["abc", "abc fed", "j"])
def test_phrases_of_subwords_are_whole_words(subwords: Tokenizer, name: str) -> None:
    phrases = make_phrases([(name, 1.0)], subwords, verbatim)
    worth = sum(subwords.pieces[t] != "\u2581" for t in subwords.encode(name))
    for text, times in ((f"g {name} h", 1), (name, 1), (f"{name} {name}", 2), (f"{name}a", 0)):
        assert sum(steps(phrases, subwords.encode(text))) == pytest.approx(worth * times)


def test_phrases_of_word_tokens() -> None:
    tokenizer = WordTokenizer(["new", "york", "city"])
    phrases = make_phrases([("new york", 1.0), ("york city", 3.0)], tokenizer, verbatim)
    assert sum(steps(phrases, tokenizer.encode("new york"))) == pytest.approx(2)
    assert sum(steps(phrases, tokenizer.encode("new york city"))) == pytest.approx(8)
    assert sum(steps(phrases, tokenizer.encode("york new city"))) == pytest.approx(0)


def test_without_blanks_phrases_are_found_anywhere() -> None:
    tokenizer = CharacterTokenizer("abcdef")
    phrases = make_phrases([("bc", 1.0)], tokenizer, verbatim)
    assert sum(steps(phrases, tokenizer.encode("abcdbc"))) == pytest.approx(4)


def test_candidates_earn_as_within_the_whole_vocabulary() -> None:
    scorer = PhraseScorer(make_phrases(NAMES, CHARACTERS, verbatim), 2)
    state = scorer.start(1)
    for previous in (BOS, *CHARACTERS.encode("ab")):
        rows = torch.tensor([previous, previous])
        whole, following = scorer.step(rows, state, None)
        candidates = torch.tensor([[4, EOS, 6], [7, 5, len(CHARACTERS) + 3]])
        some, _ = scorer.step(rows, state, candidates)
        assert torch.equal(some[0], whole[0, candidates[0]])
        assert torch.equal(some[1, :2], whole[1, candidates[1, :2]])
        state = following


def test_a_file_of_phrases_may_weigh_them(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Ab\n\nCD\t2.5\n")
    phrases = read_phrases(tmp_path / "names.txt", CHARACTERS, lowercase)
    assert sum(steps(phrases, CHARACTERS.encode("ab cd"))) == pytest.approx(2 + 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ab\thigh\n", r"names.txt:1.*expected a number after the tab, found 'high'"),
        ("ab\t-1\n", "expected a weight above 0, found -1"),
        ("xyz\n", "'xyz': the model cannot write 'xyz'"),
        ("\n", "no phrase"),
    ],
)
def test_lines_that_are_no_phrases_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "names.txt").write_text(content)
    with pytest.raises(TextError, match=message):
        read_phrases(tmp_path / "names.txt", CHARACTERS, verbatim)
