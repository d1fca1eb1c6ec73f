"""Conversion of text to token ids and back, for all kinds of vocabularies."""

import json
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_s2s.config import SourceTextConfig, TextConfig
from asr_s2s.errors import ModelError, TextError
from asr_s2s.text.subwords import SentencePieceTokenizer
from asr_s2s.text.tokenizer import (
    BLANK,
    BOS,
    EOS,
    SPECIALS,
    UNK,
    CharacterTokenizer,
    Tokenizer,
    WordTokenizer,
)
from asr_s2s.text.vocabulary import load_tokenizer, train_tokenizer

TEXTS = [
    "the birch canoe slid on the smooth planks",
    "glue the sheet to the dark blue background",
    "it's easy to tell the depth of a well",
    "these days a chicken leg is a rare dish",
    "rice is often served in round bowls",
    "the juice of lemons makes fine punch",
    "the box was thrown beside the parked truck",
    "the hogs were fed chopped corn and garbage",
    "four hours of steady work faced us",
    "a large size in stockings is hard to sell",
]
CHARACTERS = TextConfig(tokenizer="characters")
SUBWORDS = TextConfig(tokenizer="sentencepiece", vocabulary_size=60)
WORDS = TextConfig(tokenizer="words")
ALL_KINDS = pytest.mark.parametrize(
    "config", [CHARACTERS, SUBWORDS, WORDS], ids=lambda c: c.tokenizer
)
CHARACTERS_AND_SUBWORDS = pytest.mark.parametrize(
    "config", [CHARACTERS, SUBWORDS], ids=lambda c: c.tokenizer
)


@ALL_KINDS
def test_decoding_ids_gives_the_text(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    for text in [*TEXTS, "a", "", "the well"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


@ALL_KINDS
def test_special_tokens_come_first_in_every_vocabulary(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    assert (BLANK, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert tuple(tokenizer.pieces[:4]) == SPECIALS
    assert len(tokenizer) == len(tokenizer.pieces) == len(set(tokenizer.pieces))
    ids = [i for text in TEXTS for i in tokenizer.encode(text)]
    assert min(ids) > UNK
    assert max(ids) < len(tokenizer)


@ALL_KINDS
def test_special_tokens_are_skipped_in_text(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    ids = tokenizer.encode(TEXTS[0])
    assert tokenizer.decode([BOS, *ids[:5], BLANK, UNK, *ids[5:], EOS, BLANK]) == TEXTS[0]
    assert tokenizer.decode([BOS, EOS]) == ""


@CHARACTERS_AND_SUBWORDS
def test_names_of_special_tokens_in_text_are_ordinary_characters(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, [*TEXTS, "a < b > c / d"])
    for text in ("<s> the </s>", "<unk> <blank>"):
        ids = tokenizer.encode(text)
        assert min(ids) > UNK
        assert tokenizer.decode(ids) == text


@CHARACTERS_AND_SUBWORDS
def test_unknown_characters_are_reported_and_become_unk(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    assert tokenizer.unknown_characters("the café 9 z") == {"é", "9"}
    assert UNK in tokenizer.encode("the café")
    assert tokenizer.decode(tokenizer.encode("the café")) == "the caf"
    assert tokenizer.unknown_characters(" ".join(TEXTS)) == set()


@ALL_KINDS
def test_each_token_belongs_to_a_whole_word(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    text = "the q77x lemons  xy"
    words = tokenizer.words(text)
    assert len(words) == len(tokenizer.encode(text)) == len(tokenizer.surfaces(text))
    assert list(dict.fromkeys(words)) == text.split()
    for word, surface in zip(words, tokenizer.surfaces(text), strict=True):
        assert surface.strip() in word
    assert tokenizer.words("") == []


@CHARACTERS_AND_SUBWORDS
def test_words_of_chinese_are_the_characters_of_the_token(config: TextConfig) -> None:
    tokenizer = train_tokenizer(replace(config, vocabulary_size=12), ["你好世界", "你好abc"])
    # Sentencepiece may represent the beginning of a line by a separate token.
    assert "".join(dict.fromkeys(tokenizer.words("你好世界"))) == "你好世界"
    assert tokenizer.words("你好abc")[-1] == "abc"


@ALL_KINDS
def test_a_loaded_vocabulary_equals_the_saved_one(config: TextConfig, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert type(loaded) is type(tokenizer)
    assert loaded.pieces == tokenizer.pieces
    assert [loaded.encode(t) for t in TEXTS] == [tokenizer.encode(t) for t in TEXTS]


@ALL_KINDS
def test_a_vocabulary_can_be_pickled(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    received: Tokenizer = pickle.loads(pickle.dumps(tokenizer))
    assert received.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


@ALL_KINDS
def test_the_same_texts_give_the_same_file(config: TextConfig, tmp_path: Path) -> None:
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        train_tokenizer(config, iter(TEXTS)).save(tmp_path / run)
    (first,) = (tmp_path / "first").iterdir()
    (second,) = (tmp_path / "second").iterdir()
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())


def test_saving_replaces_a_vocabulary_of_another_kind(tmp_path: Path) -> None:
    for config in (CHARACTERS, SUBWORDS, CHARACTERS):
        tokenizer = train_tokenizer(config, TEXTS)
        tokenizer.save(tmp_path)
        assert load_tokenizer(tmp_path).pieces == tokenizer.pieces
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def test_characters_are_in_unicode_order_and_include_the_space() -> None:
    tokenizer = train_tokenizer(CHARACTERS, ["b a", "ça"])
    assert tokenizer.pieces == [*SPECIALS, " ", "a", "b", "ç"]
    assert tokenizer.encode("a b") == [5, 4, 6]


@pytest.mark.parametrize("texts", [["你好世界", "世界和平"], ["привет мир"], ["ｆｕｌｌ ﬁve"]])  # noqa: RUF001
@pytest.mark.parametrize("kind", ["characters", "sentencepiece"])
def test_text_in_any_script_is_preserved(kind: str, texts: list[str]) -> None:
    size = len(SPECIALS) + len(set("".join(texts)) | {" "})
    config = TextConfig(tokenizer=kind, vocabulary_size=size)  # type: ignore[arg-type]
    tokenizer = train_tokenizer(config, texts)
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_texts_are_normalized_before_training() -> None:
    config = TextConfig(normalizer="english", tokenizer="characters")
    assert train_tokenizer(config, ["B, a!"]).pieces == [*SPECIALS, " ", "a", "b"]


def test_a_sentencepiece_vocabulary_has_the_requested_size() -> None:
    assert len(train_tokenizer(SUBWORDS, TEXTS)) == 60


def test_long_lines_are_not_skipped() -> None:
    config = TextConfig(tokenizer="sentencepiece", vocabulary_size=40)
    tokenizer = train_tokenizer(config, [" ".join(TEXTS * 20) + " 7"])
    assert tokenizer.unknown_characters("7") == set()


def test_training_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    train_tokenizer(SUBWORDS, TEXTS)
    assert capfd.readouterr() == ("", "")


@CHARACTERS_AND_SUBWORDS
@pytest.mark.parametrize("texts", [[], ["", "  \n"]])
def test_training_without_text_is_rejected(config: TextConfig, texts: list[str]) -> None:
    with pytest.raises(TextError, match="there is no text to build a vocabulary from"):
        train_tokenizer(config, texts)


@pytest.mark.parametrize("size", [-1, 0, 5, 20, 5_000])
def test_an_unsuitable_vocabulary_size_is_rejected_with_a_suitable_one(size: int) -> None:
    config = TextConfig(tokenizer="sentencepiece", vocabulary_size=size)
    with pytest.raises(TextError, match=rf"^text.vocabulary_size: {size} is too ") as caught:
        train_tokenizer(config, TEXTS)
    suitable = int(caught.value.fix.split()[3])
    config = TextConfig(tokenizer="sentencepiece", vocabulary_size=suitable)
    assert len(train_tokenizer(config, TEXTS)) == suitable


def test_a_folder_without_a_vocabulary_is_rejected(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ModelError, match=r"there is no tokenizer.json or tokenizer.model"):
            load_tokenizer(folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b"[]"),
        ("tokenizer.json", b'{"units": ["ab"]}'),
        ("tokenizer.json", b'{"units": 3}'),
        ("tokenizer.json", b'{"units": [3]}'),
        ("tokenizer.json", b"\xff\xfe"),
        ("tokenizer.model", b""),
        ("tokenizer.model", b"not a model"),
    ],
)
def test_a_damaged_vocabulary_is_rejected(tmp_path: Path, file: str, content: bytes) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{file}: this is not a vocabulary"):
        load_tokenizer(tmp_path)


def test_words_are_ordered_by_frequency_and_the_rarest_are_unknown() -> None:
    config = TextConfig(tokenizer="words", vocabulary_size=len(SPECIALS) + 2)
    tokenizer = train_tokenizer(config, ["dh ax dh", "ax dh b", "c"])
    assert tokenizer.pieces == [*SPECIALS, "dh", "ax"]
    assert tokenizer.encode("ax b dh") == [5, UNK, 4]
    assert tokenizer.decode([5, UNK, 4]) == "ax dh"
    assert tokenizer.unknown_characters("ax b dh cc") == {"b", "cc"}


def test_a_word_vocabulary_is_no_larger_than_the_number_of_words() -> None:
    assert len(train_tokenizer(WORDS, ["a b", "b c"])) == len(SPECIALS) + 3


@ALL_KINDS
@pytest.mark.parametrize("text", [*TEXTS[:3], "the café on 9 wells", "éé the é", "", "ça"])
def test_surfaces_concatenate_to_the_text(config: TextConfig, text: str) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    ids, surfaces = tokenizer.encode(text), tokenizer.surfaces(text)
    assert len(surfaces) == len(ids)
    assert "".join(surfaces).replace(" ", "") == text.replace(" ", "")
    for token, surface in zip(ids, surfaces, strict=True):
        if token != UNK:
            assert tokenizer.pieces[token].removeprefix("\u2581") == surface


@ALL_KINDS
def test_unknown_tokens_are_replaced_by_the_given_texts(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    for text in ("the café", "éa 9 the 99"):
        ids, surfaces = tokenizer.encode(text), tokenizer.surfaces(text)
        unknowns = [s for i, s in zip(ids, surfaces, strict=True) if i == UNK]
        assert unknowns
        assert tokenizer.decode(ids, unknowns) == text
    # Unknown tokens without a replacement, or with an empty one, are skipped.
    known = tokenizer.encode("the")
    assert tokenizer.decode([*known, UNK, UNK], ["", "x"]).replace(" ", "") == "thex"
    assert tokenizer.decode([BOS, *known, UNK, EOS, BLANK], []) == "the"
    assert tokenizer.decode([*known, UNK, UNK], ["x"]).replace(" ", "") == "thex"


def test_sampled_subwords_give_the_same_text_and_depend_only_on_the_generator() -> None:
    tokenizer = train_tokenizer(SUBWORDS, TEXTS)
    for text in [*TEXTS, "the café", "", "a"]:
        drawn = [tokenizer.sample(text, 0.1, np.random.default_rng(i)) for i in range(20)]
        again = [tokenizer.sample(text, 0.1, np.random.default_rng(i)) for i in range(20)]
        assert drawn == again
        best = tokenizer.encode(text)
        assert {tokenizer.decode(ids) for ids in drawn} == {tokenizer.decode(best)}
        assert {ids.count(UNK) for ids in drawn} == {best.count(UNK)}
    assert len({tuple(tokenizer.sample(TEXTS[0], 0.1, np.random.default_rng(i)))
                for i in range(20)}) > 10  # fmt: skip


def test_segmentations_are_drawn_by_their_probability_raised_to_a_power() -> None:
    tokenizer = train_tokenizer(SUBWORDS, TEXTS)
    rng = np.random.default_rng(0)
    word = "canoe"
    best = tuple(tokenizer.encode(word))
    frequent = {}
    for power in (0.0, 1.0, 50.0):
        counts = Counter(tuple(tokenizer.sample(word, power, rng)) for _ in range(1000))
        assert all(tokenizer.decode(ids) == word for ids in counts)
        frequent[power] = counts[best] / 1000
        if power > 0:
            assert counts.most_common(1)[0][0] == best
        else:  # uniform
            assert max(counts.values()) < 2 * min(counts.values())
    assert frequent[0.0] < frequent[1.0] < frequent[50.0] == 1.0
    for text in TEXTS:
        assert tokenizer.sample(text, 1000.0, rng) == tokenizer.encode(text)


@pytest.mark.parametrize("config", [CHARACTERS, WORDS], ids=lambda c: c.tokenizer)
def test_characters_and_words_are_not_sampled(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    rng = np.random.default_rng(0)
    assert tokenizer.sample(TEXTS[0], 0.1, rng) == tokenizer.encode(TEXTS[0])
    assert rng.random() == np.random.default_rng(0).random()


def test_rare_characters_beyond_the_coverage_are_unknown() -> None:
    texts = [*TEXTS * 20, "\u9f98 \u9750", "\u9f98"]
    whole = train_tokenizer(
        TextConfig(tokenizer="sentencepiece", vocabulary_size=62, character_coverage=1.0), texts
    )
    most = train_tokenizer(
        TextConfig(tokenizer="sentencepiece", vocabulary_size=60, character_coverage=0.9995), texts
    )
    assert whole.unknown_characters("\u9f98 \u9750") == set()
    assert most.unknown_characters("\u9f98 \u9750") == {"\u9f98", "\u9750"}
    assert UNK in most.encode("the \u9f98")


@pytest.mark.parametrize("coverage", [0.98, 0.99, 0.999, 1.0])
def test_the_suggested_vocabulary_size_is_the_smallest_possible(coverage: float) -> None:
    """The texts have no spaces, but sentencepiece counts one at the beginning of each line."""
    rng = np.random.default_rng(0)
    texts = ["".join(chr(0x4E00 + i) for i in rng.zipf(1.5, 20) if i < 500) for _ in range(50)]

    def config(size: int) -> TextConfig:
        return TextConfig(
            tokenizer="sentencepiece", vocabulary_size=size, character_coverage=coverage
        )

    with pytest.raises(TextError, match=r"^text.vocabulary_size: 9 is too small") as caught:
        train_tokenizer(config(9), texts)
    smallest = int(caught.value.fix.split()[3])
    assert len(train_tokenizer(config(smallest), texts)) == smallest
    with pytest.raises(TextError, match=r"too small"):
        train_tokenizer(config(smallest - 1), texts)


def test_a_coverage_that_sentencepiece_does_not_support_is_rejected() -> None:
    config = SourceTextConfig(vocabulary_size=60, character_coverage=0.9)
    with pytest.raises(TextError, match=r"^source_text.character_coverage: .* from 0.98 to 1"):
        train_tokenizer(config, TEXTS, "source_text")


@ALL_KINDS
def test_source_and_output_vocabularies_share_a_folder(config: TextConfig, tmp_path: Path) -> None:
    output = train_tokenizer(CHARACTERS, ["xyz"])
    source = train_tokenizer(config, TEXTS)
    output.save(tmp_path)
    source.save(tmp_path, "source")
    assert load_tokenizer(tmp_path).pieces == output.pieces
    loaded = load_tokenizer(tmp_path, "source")
    assert type(loaded) is type(source)
    assert loaded.encode("the café") == source.encode("the café")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_missing_source_vocabulary_is_reported(tmp_path: Path) -> None:
    train_tokenizer(WORDS, TEXTS).save(tmp_path)
    assert isinstance(load_tokenizer(tmp_path), WordTokenizer)
    with pytest.raises(ModelError, match=r"no source_tokenizer.json or source_tokenizer.model"):
        load_tokenizer(tmp_path, "source")


def test_characters_and_subwords_represent_real_transcripts(shared_data: Path) -> None:
    lines = (shared_data / "english" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines[::10]]
    subwords = train_tokenizer(TextConfig(tokenizer="sentencepiece", vocabulary_size=200), texts)
    characters = train_tokenizer(CHARACTERS, texts)
    assert isinstance(subwords, SentencePieceTokenizer)
    assert isinstance(characters, CharacterTokenizer)
    for tokenizer in (subwords, characters):
        assert all(tokenizer.decode(tokenizer.encode(text)) == text for text in texts)
    short, long = (sum(len(t.encode(x)) for x in texts) for t in (subwords, characters))
    assert short < 0.8 * long


ROBUST = TextConfig(
    tokenizer="sentencepiece",
    vocabulary_size=340,
    byte_fallback=True,
    split_digits=True,
    case_marks=True,
)
SENTENCES = [f"{text[0].upper()}{text[1:]}. It cost {i} euros." for i, text in enumerate(TEXTS)]
UNSEEN = [
    "Łukasz paid 1,250 euros 😀 to NASA's McDonald!", "THE WELL", "你好 the ÉTÉ", "İ ß ẞ", "😀", "",
]  # fmt: skip


def test_with_byte_fallback_no_character_is_unknown() -> None:
    tokenizer = train_tokenizer(ROBUST, SENTENCES)
    assert len(tokenizer) == 340 and tokenizer.spells_all_text
    for text in [*SENTENCES, *UNSEEN]:
        ids = tokenizer.encode(text)
        assert UNK not in ids and tokenizer.decode(ids) == text
        drawn = tokenizer.sample(text, 0.3, np.random.default_rng(0))
        assert UNK not in drawn and tokenizer.decode(drawn) == text
        assert tokenizer.sample(text, 1000.0, np.random.default_rng(0)) == ids
        assert tokenizer.unknown_characters(text) == set()
    assert not train_tokenizer(SUBWORDS, TEXTS).spells_all_text


def test_surfaces_offsets_and_labels_of_bytes_and_case_marks_follow_the_text() -> None:
    tokenizer = train_tokenizer(ROBUST, SENTENCES)
    for text in [*SENTENCES, *UNSEEN]:
        ids, surfaces = tokenizer.encode(text), tokenizer.surfaces(text)
        assert len(surfaces) == len(ids) == len(tokenizer.words(text))
        assert "".join(surfaces).replace(" ", "") == text.replace(" ", "")
        offsets = tokenizer.offsets(ids)
        assert offsets == sorted(offsets) and offsets[-1:] == ([len(text)] if text else [])
        labels = tokenizer.labels([*ids, EOS])
        assert "".join(labels).replace("\u2581", " ").strip() == f"{text}</s>"
    assert tokenizer.words("THE WELL") == ["THE"] * 2 + ["WELL"] * (len(tokenizer.encode("WELL")))


def test_case_marks_share_the_subwords_of_all_spellings() -> None:
    tokenizer = train_tokenizer(ROBUST, SENTENCES)
    normal = tokenizer.encode("the well")
    for text in ("The Well", "THE WELL", "The WELL"):
        ids = tokenizer.encode(text)
        assert [i for i in ids if i in normal] == normal and len(ids) == len(normal) + 2
    without = train_tokenizer(replace(ROBUST, case_marks=False), SENTENCES)
    assert without.encode("The Well") != without.encode("the well")


def test_each_digit_is_a_token() -> None:
    texts = [*SENTENCES, *["It was 1998.", "1998 and 1999", "call 1998"] * 5]
    digits = set("0123456789")
    for split in (True, False):
        tokenizer = train_tokenizer(replace(ROBUST, split_digits=split), texts)
        found = [len(digits & set(surface)) for surface in tokenizer.surfaces("1998")]
        assert (max(found) == 1) == split


def test_bytes_and_marks_are_loaded_and_pickled(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(ROBUST, SENTENCES)
    tokenizer.save(tmp_path)
    for other in (load_tokenizer(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        assert other.pieces == tokenizer.pieces and other.spells_all_text
        assert [other.encode(text) for text in UNSEEN] == [tokenizer.encode(t) for t in UNSEEN]


@pytest.mark.parametrize("size", [100, 260, 5_000])
def test_the_suggested_size_counts_bytes_and_marks(size: int) -> None:
    with pytest.raises(TextError, match=rf"^text.vocabulary_size: {size} is too ") as caught:
        train_tokenizer(replace(ROBUST, vocabulary_size=size), SENTENCES)
    suitable = int(caught.value.fix.split()[3])
    config = replace(ROBUST, vocabulary_size=suitable)
    assert len(train_tokenizer(config, SENTENCES)) == suitable


def test_incomplete_bytes_in_an_output_do_not_fail() -> None:
    tokenizer = train_tokenizer(ROBUST, SENTENCES)
    ids = tokenizer.encode("the 😀")[:-2]
    assert tokenizer.decode(ids).strip() == "the"
    assert len(tokenizer.labels(ids)) == len(tokenizer.offsets(ids)) == len(ids)
