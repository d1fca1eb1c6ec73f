"""Conversion of text to the phonemes of a lexicon and back."""

from pathlib import Path

import pytest
import torch

from asr_s2s.config import TextConfig
from asr_s2s.errors import ModelError, TextError
from asr_s2s.lm.kneser_ney import encode_lines, estimate
from asr_s2s.lm.ngram import from_levels
from asr_s2s.lm.ngram_file import load_ngram, save_ngram
from asr_s2s.lm.word_ngram import WordNgramModel, spell
from asr_s2s.text.phonemes import PhonemeTokenizer
from asr_s2s.text.tokenizer import EOS, SPECIALS, UNK, WordTokenizer
from asr_s2s.text.vocabulary import load_tokenizer, train_tokenizer

LEXICON = """the\tdh ax
the\tdh iy
to\tt uw
sea\ts iy
see\ts iy
two\tt uw
men\tm eh n
cats\tk ae t s
"""
LINES = [
    "two men see the sea",
    "the two cats",
    "to see the two men",
    "to see the sea",
    "see two cats",
]


@pytest.fixture
def tokenizer(tmp_path: Path) -> PhonemeTokenizer:
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    config = TextConfig(tokenizer="phonemes", lexicon="lexicon.txt")
    made = train_tokenizer(config, LINES, base=tmp_path)
    assert isinstance(made, PhonemeTokenizer)
    return made


@pytest.fixture
def words(tokenizer: PhonemeTokenizer) -> WordNgramModel:
    units = WordTokenizer(list(tokenizer.lexicon))
    levels = estimate(encode_lines(LINES, units, str), len(units), 3)
    return spell(from_levels(levels), units.pieces[len(SPECIALS) :], tokenizer)


def to_ids(tokenizer: PhonemeTokenizer, phonemes: str) -> list[int]:
    """Token ids of phonemes; "|" separates words."""
    return [tokenizer.pieces.index(unit.replace("|", " ")) for unit in phonemes.split()]


def test_text_is_encoded_by_first_pronunciations(tokenizer: PhonemeTokenizer) -> None:
    ids = tokenizer.encode("the cats")
    assert [tokenizer.pieces[i] for i in ids] == ["dh", "ax", " ", "k", "ae", "t", "s"]
    assert tokenizer.decode(ids) == "the cats"
    assert tokenizer.encode("the dogs")[-1] == UNK
    assert tokenizer.unknown_characters("the dogs see") == {"dogs"}


def test_all_pronunciations_are_decoded(tokenizer: PhonemeTokenizer) -> None:
    assert tokenizer.decode(to_ids(tokenizer, "dh iy | s iy")) == "the sea"


def test_an_unknown_word_is_spelled_by_its_phonemes(tokenizer: PhonemeTokenizer) -> None:
    assert tokenizer.decode(to_ids(tokenizer, "dh ax | m iy t")) == "the meet"


def test_words_outside_the_lexicon_are_unknown(tokenizer: PhonemeTokenizer) -> None:
    assert tokenizer.is_known(to_ids(tokenizer, "| dh iy"))
    assert not tokenizer.is_known(to_ids(tokenizer, "| m iy t"))


def test_a_changed_lexicon_changes_the_trie(
    tokenizer: PhonemeTokenizer, words: WordNgramModel, tmp_path: Path
) -> None:
    """The trie in the file is that of the lexicon at the time of writing."""
    save_ngram(tmp_path / "n.safetensors", words, tokenizer)
    lexicon = {**tokenizer.lexicon, "men": ["m eh n", "m ae n"]}
    changed = PhonemeTokenizer(tokenizer.pieces[len(SPECIALS) :], lexicon)
    loaded = load_ngram(tmp_path / "n.safetensors", changed)
    assert isinstance(loaded, WordNgramModel)
    assert len(loaded.words) > len(words.words)


def test_each_token_belongs_to_a_word(tokenizer: PhonemeTokenizer) -> None:
    text = "the cats see"
    assert tokenizer.words(text) == ["the"] * 2 + ["cats"] * 5 + ["see"] * 3
    surfaces = tokenizer.surfaces(text)
    assert len(surfaces) == len(tokenizer.encode(text))
    assert "".join(surfaces) == text
    ids = to_ids(tokenizer, "| dh ax | | k ae t s |")
    assert tokenizer.offsets(ids) == [0, 1, 3, 4, 4, 5, 6, 7, 8, 9]
    assert tokenizer.offsets(to_ids(tokenizer, "|")) == [0]


def test_the_lexicon_is_saved_in_the_model_folder(
    tokenizer: PhonemeTokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert isinstance(loaded, PhonemeTokenizer)
    assert loaded.pieces == tokenizer.pieces
    for text in LINES:
        assert loaded.encode(text) == tokenizer.encode(text)


def test_homophones_are_chosen_by_their_neighbors(
    tokenizer: PhonemeTokenizer, words: WordNgramModel
) -> None:
    ids = tokenizer.encode("two men see the sea")
    assert tokenizer.decode(ids) == "to men sea the sea"
    assert tokenizer.with_choice(words.choose).decode(ids) == "two men see the sea"


def test_the_score_of_homophones_is_that_of_the_most_probable_word(
    tokenizer: PhonemeTokenizer, words: WordNgramModel, tmp_path: Path
) -> None:
    save_ngram(tmp_path / "n.safetensors", words, tokenizer)
    loaded = load_ngram(tmp_path / "n.safetensors", tokenizer)
    assert isinstance(loaded, WordNgramModel)

    def score(text: str) -> float:
        total, state = 0.0, loaded.start[None]
        for token in [*tokenizer.encode(text), EOS]:
            gain, state = loaded.step(state, torch.tensor([token]))
            total += float(gain)
        return total

    def by_words(text: str) -> float:
        total, state = 0.0, loaded.ngrams.start[None]
        for token in [*(loaded.numbers[word] for word in text.split()), EOS]:
            gain, state = loaded.ngrams.step(state, torch.tensor([token]))
            total += float(gain)
        return total

    assert score("the see") == score("the sea") == pytest.approx(by_words("the sea"), abs=1e-5)
    assert by_words("the sea") > by_words("the see")


def test_an_ngram_word_outside_the_lexicon_is_rejected(
    tokenizer: PhonemeTokenizer, words: WordNgramModel
) -> None:
    with pytest.raises(ModelError, match="'dogs'"):
        spell(words.ngrams, ["the", "to", "sea", "see", "two", "men", "dogs"], tokenizer)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lexicon.txt: the lexicon is empty"),
        ("the dh ax\n", "lexicon.txt:1: expected a word, a tab and its phonemes"),
        ("the\tdh ax\ncat\t\n", "lexicon.txt:2: expected"),
        (b"\xff\xff", "this lexicon cannot be read"),
    ],
)
def test_a_malformed_lexicon_is_rejected(
    content: str | bytes, message: str, tmp_path: Path
) -> None:
    raw = content.encode() if isinstance(content, str) else content
    (tmp_path / "lexicon.txt").write_bytes(raw)
    config = TextConfig(tokenizer="phonemes", lexicon="lexicon.txt")
    with pytest.raises(TextError) as caught:
        train_tokenizer(config, LINES, base=tmp_path)
    assert message in str(caught.value)


def test_phonemes_require_a_lexicon(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"text.lexicon"):
        train_tokenizer(TextConfig(tokenizer="phonemes"), LINES, base=tmp_path)
    with pytest.raises(TextError, match=r"missing\.txt"):
        train_tokenizer(TextConfig(tokenizer="phonemes", lexicon="missing.txt"), LINES)
