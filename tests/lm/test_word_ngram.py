"""N-gram models over words that score character by character."""

import math
from pathlib import Path

import pytest
import torch

from asr_s2s.errors import ModelError
from asr_s2s.lm.kneser_ney import encode_lines, estimate, frequent_words
from asr_s2s.lm.ngram import NgramModel, from_levels
from asr_s2s.lm.ngram_file import load_ngram, save_ngram
from asr_s2s.lm.word_ngram import WordNgramModel, spell
from asr_s2s.search.fusion import NgramScorer
from asr_s2s.text.tokenizer import BOS, EOS, UNK, CharacterTokenizer, WordTokenizer

LINES = ["an ant can", "a can", "an ant ran", "ant", "a tan can ran", "can a can ran"]
CHARACTERS = CharacterTokenizer("acnrt ")
LETTER = -math.log(len("acnrt "))


@pytest.fixture(scope="module")
def ngrams() -> tuple[NgramModel, WordTokenizer]:
    words = frequent_words(LINES, CHARACTERS, str, 5)
    assert words[0] == "can" and len(words) == 5  # of 6
    units = WordTokenizer(words)
    return from_levels(estimate(encode_lines(LINES, units, str), len(units), 3)), units


@pytest.fixture(scope="module")
def model(ngrams: tuple[NgramModel, WordTokenizer]) -> WordNgramModel:
    return spell(ngrams[0], ngrams[1].pieces[4:], CHARACTERS)


def by_characters(model: WordNgramModel, text: str) -> float:
    total, state = 0.0, model.start[None]
    for token in [*CHARACTERS.encode(text), EOS]:
        score, state = model.step(state, torch.tensor([token]))
        total += float(score)
    return total


def by_words(ngrams: NgramModel, units: WordTokenizer, text: str) -> float:
    total, state = 0.0, ngrams.start[None]
    for token in [*units.encode(text), EOS]:
        score, state = ngrams.step(state, torch.tensor([token]))
        total += float(score)
    return total


@pytest.mark.parametrize("text", [*LINES, "ran ran ant a", "can an", ""])
def test_a_spelled_sentence_has_the_probability_of_its_words(
    model: WordNgramModel, ngrams: tuple[NgramModel, WordTokenizer], text: str
) -> None:
    known = [word for word in text.split() if word in ngrams[1].pieces]
    text = " ".join(known)
    assert by_characters(model, text) == pytest.approx(by_words(*ngrams, text), abs=1e-5)


@pytest.mark.parametrize("word", ["nnn", "cant", "anr", "c", "ca"])
def test_unknown_words_have_a_uniform_probability_per_letter(
    model: WordNgramModel, ngrams: tuple[NgramModel, WordTokenizer], word: str
) -> None:
    units = ngrams[1]
    assert units.encode(word) == [UNK]
    for text in (word, f"can {word} a"):
        expected = by_words(*ngrams, text) + LETTER * len(word)
        assert by_characters(model, text) == pytest.approx(expected, abs=1e-5)


def test_first_letters_of_frequent_words_are_more_likely(model: WordNgramModel) -> None:
    ids = torch.tensor([CHARACTERS.encode(letter)[0] for letter in "ct"])
    scores, _ = model.step(model.start.repeat(2), ids)
    assert scores[0] > scores[1]  # "can" occurs five times, "tan" once


def test_candidates_get_the_same_scores_as_the_whole_vocabulary(model: WordNgramModel) -> None:
    scorer = NgramScorer(model, 2)
    state = scorer.start(1)
    previous = torch.tensor([BOS, BOS])
    for letter in "can ":
        scores, state = scorer.step(previous, state, None)
        assert scores.shape == (2, len(CHARACTERS))
        previous = torch.tensor(CHARACTERS.encode(letter) * 2)
    candidates = torch.tensor([CHARACTERS.encode("ar"), CHARACTERS.encode("ca")])
    scores, state = scorer.step(previous, state, candidates)
    everything, _ = scorer.step(torch.tensor([BOS, BOS]), state, None)  # keeps the state
    assert torch.equal(scores, everything.gather(1, candidates))
    assert torch.equal(everything[0], everything[1])


def test_saving_keeps_scores_and_words(model: WordNgramModel, tmp_path: Path) -> None:
    save_ngram(tmp_path / "n.safetensors", model, CHARACTERS)
    loaded = load_ngram(tmp_path / "n.safetensors", CHARACTERS)
    assert isinstance(loaded, WordNgramModel)
    for text in ("can a can", "cant", "tan"):
        assert by_characters(loaded, text) == pytest.approx(by_characters(model, text), abs=0.02)
    with pytest.raises(ModelError, match="another vocabulary"):
        load_ngram(tmp_path / "n.safetensors", CharacterTokenizer("abc "))


def test_tokens_other_than_characters_with_spaces_are_rejected(
    ngrams: tuple[NgramModel, WordTokenizer],
) -> None:
    for units in (CharacterTokenizer("acnrt"), ngrams[1]):
        with pytest.raises(ModelError, match="characters or phonemes"):
            spell(ngrams[0], ngrams[1].pieces[4:], units)
