"""N-gram models over words that score character by character."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from asr_s2s.errors import ModelError
from asr_s2s.lm.kneser_ney import encode_lines, estimate, frequent_words
from asr_s2s.lm.ngram import NgramModel, from_levels
from asr_s2s.lm.ngram_file import load_ngram, save_ngram
from asr_s2s.lm.word_ngram import WordNgramModel, spell
from asr_s2s.search.fusion import WordNgramScorer
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


def test_the_scorer_gives_the_scores_of_the_model(model: WordNgramModel) -> None:
    scorer, letters = WordNgramScorer(model, 2), CHARACTERS.encode("can a ncan")
    everything = torch.arange(len(CHARACTERS)).expand(2, -1)
    state, expected_state = scorer.start(1), model.start.repeat(2)
    for previous, token in pairwise([BOS, *letters, EOS]):
        scores, state = scorer.judge(torch.tensor([previous] * 2), state, everything)
        expected, _ = model.step(expected_state[:, None], everything)
        assert torch.equal(scores, expected)
        _, expected_state = model.step(expected_state, torch.tensor([token] * 2))


def test_saving_keeps_scores_and_words(model: WordNgramModel, tmp_path: Path) -> None:
    save_ngram(tmp_path / "n.safetensors", model, CHARACTERS)
    loaded = load_ngram(tmp_path / "n.safetensors", CHARACTERS)
    assert isinstance(loaded, WordNgramModel)
    for text in ("can a can", "cant", "tan"):
        assert by_characters(loaded, text) == pytest.approx(by_characters(model, text), abs=0.02)
    for name, value in loaded.named_buffers():
        if not name.startswith("ngrams."):
            assert torch.equal(value, model.get_buffer(name)), name
    with pytest.raises(ModelError, match="another vocabulary"):
        load_ngram(tmp_path / "n.safetensors", CharacterTokenizer("abc "))


def test_tokens_other_than_characters_with_spaces_are_rejected(
    ngrams: tuple[NgramModel, WordTokenizer],
) -> None:
    for units in (CharacterTokenizer("acnrt"), ngrams[1]):
        with pytest.raises(ModelError, match="characters or phonemes"):
            spell(ngrams[0], ngrams[1].pieces[4:], units)


def test_files_without_a_trie_are_read(model: WordNgramModel, tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    save_ngram(path, model, CHARACTERS)
    loaded = load_ngram(path, CHARACTERS)
    tensors = load_file(path)
    save_file({k: v for k, v in tensors.items() if not k.startswith("trie.")}, path)
    rebuilt = load_ngram(path, CHARACTERS)
    for name, value in loaded.named_buffers():
        torch.testing.assert_close(rebuilt.get_buffer(name), value, atol=1e-3, rtol=0)


def test_words_outside_the_model_are_chosen_only_without_alternative(model: WordNgramModel) -> None:
    assert model.choose([["zant", "ant"], ["qan"], ["can", "kan"]]) == ["ant", "qan", "can"]
