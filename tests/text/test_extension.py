"""Vocabularies extended by the units of new texts."""

from pathlib import Path

import pytest

from asr_s2s.config import TextConfig
from asr_s2s.errors import ConfigError, TextError
from asr_s2s.text.extension import extend_tokenizer
from asr_s2s.text.phonemes import PhonemeTokenizer
from asr_s2s.text.tokenizer import UNK, CharacterTokenizer, WordTokenizer
from asr_s2s.text.vocabulary import load_tokenizer, train_tokenizer

OLD = ["bad kime dab", "kim bade", "made bad"]
NEW = ["z\u00e9bu \U0001f600 bad", "aze bad", "\u4f60\u597d"]


@pytest.mark.parametrize("kind", ["characters", "sentencepiece", "words"])
def test_missing_units_are_added_after_the_others_and_saved(kind: str, tmp_path: Path) -> None:
    config = TextConfig(tokenizer=kind, vocabulary_size=14)
    old = train_tokenizer(config, OLD)
    larger = TextConfig(tokenizer=kind, vocabulary_size=30)
    new = extend_tokenizer(old, larger, NEW, "add", "text")
    assert len(new) > len(old) and new.pieces[: len(old)] == old.pieces
    for line in OLD:
        assert new.encode(line) == old.encode(line)
    for line in NEW:
        assert UNK in old.encode(line) and UNK not in new.encode(line)
        assert new.decode(new.encode(line)) == line
        assert not new.unknown_characters(line)
    new.save(tmp_path)
    assert load_tokenizer(tmp_path).pieces == new.pieces
    again = extend_tokenizer(load_tokenizer(tmp_path), larger, ["q"], "add", "text")
    assert again.pieces[:-1] == new.pieces and again.decode(again.encode("q bad")) == "q bad"
    assert extend_tokenizer(new, larger, NEW, "add", "text") is new


@pytest.mark.parametrize("kind", ["characters", "sentencepiece"])
def test_missing_units_are_refused_by_default(kind: str) -> None:
    config = TextConfig(tokenizer=kind, vocabulary_size=14)
    tokenizer = train_tokenizer(config, OLD)
    with pytest.raises(ConfigError) as refused:
        extend_tokenizer(tokenizer, config, NEW, "refuse", "text")
    assert refused.value.where == "train.missing_units"
    assert all(repr(unit) in refused.value.problem for unit in "z\u00e9u\u4f60")
    assert "add" in refused.value.fix and "unknown" in refused.value.fix
    assert extend_tokenizer(tokenizer, config, OLD, "refuse", "text") is tokenizer
    assert extend_tokenizer(tokenizer, config, NEW, "unknown", "text") is tokenizer


def test_rare_characters_are_not_refused_below_the_coverage() -> None:
    tokenizer = CharacterTokenizer("abc ")
    lines = ["abc " * 100, "z"]
    for coverage, accepted in ((1.0, False), (0.999, False), (0.99, True)):
        config = TextConfig(character_coverage=coverage)
        if accepted:
            assert extend_tokenizer(tokenizer, config, lines, "refuse", "text") is tokenizer
        else:
            with pytest.raises(ConfigError):
                extend_tokenizer(tokenizer, config, lines, "refuse", "text")


def test_the_most_frequent_words_are_added_up_to_the_vocabulary_size() -> None:
    tokenizer = WordTokenizer(["bad", "kime"])
    texts = ["rare bad", "often kime", "often more", "more often"]
    config = TextConfig(tokenizer="words", vocabulary_size=8)
    assert extend_tokenizer(tokenizer, config, texts, "add", "text").pieces[6:] == ["more", "often"]
    assert extend_tokenizer(tokenizer, config, texts, "refuse", "text") is tokenizer
    small = TextConfig(tokenizer="words", vocabulary_size=6)
    with pytest.raises(ConfigError) as refused:
        extend_tokenizer(tokenizer, small, texts, "add", "text")
    assert refused.value.where == "text.vocabulary_size"


def test_phonemes_are_not_extended() -> None:
    tokenizer = PhonemeTokenizer(["k", "ae", "t", " "], {"cat": ["k ae t"]})
    config = TextConfig(tokenizer="phonemes")
    assert extend_tokenizer(tokenizer, config, ["a cat"], "refuse", "text") is tokenizer
    with pytest.raises(TextError) as refused:
        extend_tokenizer(tokenizer, config, ["a cat"], "add", "text")
    assert refused.value.where == "train.missing_units"
