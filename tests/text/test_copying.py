"""Vocabularies of one source, whose unknown words get ids of their own."""

import numpy as np
import pytest

from asr_s2s.config import TextConfig
from asr_s2s.text.copying import CopyingTokenizer
from asr_s2s.text.tokenizer import UNK, WordTokenizer
from asr_s2s.text.vocabulary import train_tokenizer

WORDS = WordTokenizer(["bado", "kime"])  # ids 4 and 5
SOURCE = "N12 bado N7 N12"


def test_unknown_words_get_the_ids_after_tokens_and_languages() -> None:
    tokenizer = CopyingTokenizer(WORDS, ["yy", "zz"], SOURCE)
    assert tokenizer.encode(SOURCE) == [8, 4, 9, 8]
    assert tokenizer.decode([8, 5, 9]) == "N12 kime N7"
    assert tokenizer.pieces[6:] == ["<yy>", "<zz>", "N12", "N7"]
    assert len(tokenizer) == 10


def test_words_that_the_source_lacks_stay_unknown() -> None:
    tokenizer = CopyingTokenizer(WORDS, [], SOURCE)
    assert tokenizer.encode("kime N99 N7") == [5, UNK, 7]
    assert tokenizer.decode([UNK, 7, 5, UNK], ["Quilla"]) == "Quilla N7 kime"
    assert CopyingTokenizer(WORDS, [], "bado kime").encode(SOURCE) == WORDS.encode(SOURCE)


@pytest.mark.parametrize("kind", ["characters", "sentencepiece", "words"])
def test_any_source_is_restored_from_its_ids(kind: str) -> None:
    lines = ["bad kime dab", "kim bade", "made bad"]
    subwords = train_tokenizer(TextConfig(tokenizer=kind, vocabulary_size=14), lines)
    source = "bad \u9f98\u9750 kime\u20ac zz \u9f98\u9750"
    tokenizer = CopyingTokenizer(subwords, ["yy"], source)
    ids = tokenizer.encode(source)
    assert UNK not in ids and max(ids) == len(tokenizer) - 1
    assert tokenizer.decode(ids) == source
    sampled = tokenizer.sample(source, 0.2, np.random.default_rng(1))
    assert tokenizer.decode(sampled, ["?"] * len(sampled)).startswith("bad ")
