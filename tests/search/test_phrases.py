"""Phrases get their bonus if they are complete, and none otherwise."""

import random
from pathlib import Path

import pytest
import torch

from asr_s2s.config import TextConfig
from asr_s2s.errors import TextError
from asr_s2s.search.phrases import (
    Phrases,
    PhraseScorer,
    make_phrases,
    read_phrases,
    split_writable,
)
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
    """Score each token and the end token."""
    scorer = PhraseScorer(phrases, 1)
    state, earned = scorer.start(1), []
    for previous, token in zip([BOS, *tokens], [*tokens, EOS], strict=True):
        scores, state = scorer.judge(torch.tensor([previous]), state, torch.tensor([[token]]))
        earned.append(scores.item())
    return earned


def occurrences(text: str, phrase: str) -> int:
    """Count the occurrences of a phrase in a text, as whole words."""
    words, wanted = text.split(), phrase.split()
    return sum(words[i : i + len(wanted)] == wanted for i in range(len(words)))


@pytest.mark.parametrize("seed", range(20))
def test_the_total_bonus_is_the_sum_over_the_phrases_in_the_output(seed: int) -> None:
    phrases = make_phrases(NAMES, CHARACTERS, verbatim)
    rng = random.Random(seed)
    words = ["ab", "cd", "abba", "b", "e", "abb", "c", "abcd", "bab"]
    text = " ".join(rng.choices(words, k=12))
    expected = sum(
        weight * len(name.replace(" ", "")) * occurrences(text, name) for name, weight in NAMES
    )
    assert sum(steps(phrases, CHARACTERS.encode(text))) == pytest.approx(expected)


def test_provisional_bonuses_are_revoked_when_a_phrase_is_broken_off() -> None:
    phrases = make_phrases([("abc", 1.0)], CHARACTERS, verbatim)
    assert steps(phrases, CHARACTERS.encode("abc")) == [1, 1, 1, 0]
    assert steps(phrases, CHARACTERS.encode("abd")) == [1, 1, -2, 0]
    assert steps(phrases, CHARACTERS.encode("ab")) == [1, 1, -2]
    assert steps(phrases, CHARACTERS.encode("abcd")) == [1, 1, 1, -3, 0]
    assert steps(phrases, CHARACTERS.encode("dabc")) == [0, 0, 0, 0, 0]
    assert steps(phrases, CHARACTERS.encode("d abc ")) == [0, 0, 1, 1, 1, 0, 0]


@pytest.fixture(scope="module")
def subwords() -> Tokenizer:
    rng = random.Random(0)
    letters = "abcdefghij"
    words = ["".join(rng.choices(letters, k=rng.randint(1, 6))) for _ in range(80)]
    lines = [" ".join(rng.choices(words, k=8)) for _ in range(400)]
    return train_tokenizer(TextConfig(tokenizer="sentencepiece", vocabulary_size=60), lines)


@pytest.mark.parametrize("name", ["abc", "abc fed", "j"])
def test_phrases_of_subwords_match_whole_words(subwords: Tokenizer, name: str) -> None:
    phrases = make_phrases([(name, 1.0)], subwords, verbatim)
    bonus = sum(subwords.pieces[t] != "\u2581" for t in subwords.encode(name))
    for text, times in ((f"g {name} h", 1), (name, 1), (f"{name} {name}", 2), (f"{name}a", 0)):
        assert sum(steps(phrases, subwords.encode(text))) == pytest.approx(bonus * times)


def test_phrases_match_word_tokens() -> None:
    tokenizer = WordTokenizer(["new", "york", "city"])
    phrases = make_phrases([("new york", 1.0), ("york city", 3.0)], tokenizer, verbatim)
    assert sum(steps(phrases, tokenizer.encode("new york"))) == pytest.approx(2)
    assert sum(steps(phrases, tokenizer.encode("new york city"))) == pytest.approx(8)
    assert sum(steps(phrases, tokenizer.encode("york new city"))) == pytest.approx(0)


def test_without_spaces_phrases_match_anywhere() -> None:
    tokenizer = CharacterTokenizer("abcdef")
    phrases = make_phrases([("bc", 1.0)], tokenizer, verbatim)
    assert sum(steps(phrases, tokenizer.encode("abcdbc"))) == pytest.approx(4)


def test_candidates_get_the_same_scores_as_the_whole_vocabulary() -> None:
    scorer = PhraseScorer(make_phrases(NAMES, CHARACTERS, verbatim), 2)
    state = scorer.start(1)
    for previous in (BOS, *CHARACTERS.encode("ab")):
        rows = torch.tensor([previous, previous])
        everything = torch.arange(len(CHARACTERS)).expand(2, -1)
        whole, following = scorer.judge(rows, state, everything)
        candidates = torch.tensor([[4, EOS, 6], [7, 5, len(CHARACTERS) + 3]])
        some, _ = scorer.judge(rows, state, candidates)
        assert torch.equal(some[0], whole[0, candidates[0]])
        assert torch.equal(some[1, :2], whole[1, candidates[1, :2]])
        state = following


@pytest.mark.parametrize(
    ("phrases", "writable", "left_out"),
    [
        (["Ab cd", "e"], ["Ab cd", "e"], []),
        (["ab xyz cd fe", "9", "xyz"], ["ab", "cd fe"], ["xyz", "9"]),
        (["", " "], [], []),
    ],
)
def test_words_that_cannot_be_written_are_left_out(
    phrases: list[str], writable: list[str], left_out: list[str]
) -> None:
    assert split_writable(phrases, CHARACTERS, lowercase) == (writable, left_out)
    without_space = CharacterTokenizer("abcdef")
    assert split_writable(["ab cd"], without_space, lowercase) == (["ab", "cd"], [])


def test_a_file_of_phrases_may_contain_weights(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Ab\n\nCD\t2.5\n")
    phrases = read_phrases(tmp_path / "names.txt", CHARACTERS, lowercase)
    assert sum(steps(phrases, CHARACTERS.encode("ab cd"))) == pytest.approx(2 + 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ab\thigh\n", r"names.txt:1.*found 'high'"),
        ("ab\t-1\n", "above 0, found -1"),
        ("xyz\n", "cannot write 'xyz'"),
        ("\n", "no phrase"),
    ],
)
def test_invalid_lines_are_rejected(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "names.txt").write_text(content)
    with pytest.raises(TextError, match=message):
        read_phrases(tmp_path / "names.txt", CHARACTERS, verbatim)
