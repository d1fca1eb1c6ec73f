"""Text survives the way to token ids and back, in every vocabulary."""

import json
import pickle
from pathlib import Path

import pytest

from asr_s2s.config import TextConfig
from asr_s2s.errors import ModelError, TextError
from asr_s2s.text.tokenizer import (
    BLANK,
    BOS,
    EOS,
    SPECIALS,
    UNK,
    CharacterTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    load_tokenizer,
    train_tokenizer,
)

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
BOTH = pytest.mark.parametrize("config", [CHARACTERS, SUBWORDS], ids=lambda c: c.tokenizer)


@BOTH
def test_text_survives_ids(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    for text in [*TEXTS, "a", "", "the well"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


@BOTH
def test_the_specials_come_first_in_every_vocabulary(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    assert (BLANK, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert tuple(tokenizer.pieces[:4]) == SPECIALS
    assert len(tokenizer) == len(tokenizer.pieces) == len(set(tokenizer.pieces))
    ids = [i for text in TEXTS for i in tokenizer.encode(text)]
    assert min(ids) > UNK
    assert max(ids) < len(tokenizer)


@BOTH
def test_specials_are_not_spoken(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    ids = tokenizer.encode(TEXTS[0])
    assert tokenizer.decode([BOS, *ids[:5], BLANK, UNK, *ids[5:], EOS, BLANK]) == TEXTS[0]
    assert tokenizer.decode([BOS, EOS]) == ""


@BOTH
def test_specials_in_a_text_are_ordinary_characters(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, [*TEXTS, "a < b > c / d"])
    for text in ("<s> the </s>", "<unk> <blank>"):
        ids = tokenizer.encode(text)
        assert min(ids) > UNK
        assert tokenizer.decode(ids) == text


@BOTH
def test_unknown_characters_are_named_and_marked(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    assert tokenizer.unknown_characters("the café 9 z") == {"é", "9"}
    assert UNK in tokenizer.encode("the café")
    assert tokenizer.decode(tokenizer.encode("the café")) == "the caf"
    assert tokenizer.unknown_characters(" ".join(TEXTS)) == set()


@BOTH
def test_a_saved_vocabulary_is_the_same(config: TextConfig, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert type(loaded) is type(tokenizer)
    assert loaded.pieces == tokenizer.pieces
    assert [loaded.encode(t) for t in TEXTS] == [tokenizer.encode(t) for t in TEXTS]


@BOTH
def test_a_vocabulary_reaches_other_processes(config: TextConfig) -> None:
    tokenizer = train_tokenizer(config, TEXTS)
    received: Tokenizer = pickle.loads(pickle.dumps(tokenizer))
    assert received.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


@BOTH
def test_the_same_texts_give_the_same_bytes(config: TextConfig, tmp_path: Path) -> None:
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        train_tokenizer(config, iter(TEXTS)).save(tmp_path / run)
    (first,) = (tmp_path / "first").iterdir()
    (second,) = (tmp_path / "second").iterdir()
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())


def test_saving_replaces_the_other_kind(tmp_path: Path) -> None:
    for config in (CHARACTERS, SUBWORDS, CHARACTERS):
        tokenizer = train_tokenizer(config, TEXTS)
        tokenizer.save(tmp_path)
        assert load_tokenizer(tmp_path).pieces == tokenizer.pieces
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def test_characters_come_in_unicode_order_with_the_space_among_them() -> None:
    tokenizer = train_tokenizer(CHARACTERS, ["b a", "ça"])
    assert tokenizer.pieces == [*SPECIALS, " ", "a", "b", "ç"]
    assert tokenizer.encode("a b") == [5, 4, 6]


@pytest.mark.parametrize("texts", [["你好世界", "世界和平"], ["привет мир"], ["ｆｕｌｌ ﬁve"]])  # noqa: RUF001
@pytest.mark.parametrize("kind", ["characters", "sentencepiece"])
def test_every_script_survives_unchanged(kind: str, texts: list[str]) -> None:
    size = len(SPECIALS) + len(set("".join(texts)) | {" "})
    config = TextConfig(tokenizer=kind, vocabulary_size=size)  # type: ignore[arg-type]
    tokenizer = train_tokenizer(config, texts)
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_texts_are_normalised_before_they_are_counted() -> None:
    config = TextConfig(normalizer="english", tokenizer="characters")
    assert train_tokenizer(config, ["B, a!"]).pieces == [*SPECIALS, " ", "a", "b"]


def test_a_sentencepiece_vocabulary_has_the_size_asked_for() -> None:
    assert len(train_tokenizer(SUBWORDS, TEXTS)) == 60


def test_long_lines_are_not_skipped() -> None:
    config = TextConfig(tokenizer="sentencepiece", vocabulary_size=40)
    tokenizer = train_tokenizer(config, [" ".join(TEXTS * 20) + " 7"])
    assert tokenizer.unknown_characters("7") == set()


def test_training_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    train_tokenizer(SUBWORDS, TEXTS)
    assert capfd.readouterr() == ("", "")


@BOTH
@pytest.mark.parametrize("texts", [[], ["", "  \n"]])
def test_no_text_is_refused(config: TextConfig, texts: list[str]) -> None:
    with pytest.raises(TextError, match="there is no text to build a vocabulary from"):
        train_tokenizer(config, texts)


@pytest.mark.parametrize("size", [-1, 0, 5, 20, 5_000])
def test_a_vocabulary_size_that_does_not_fit_is_refused_with_one_that_does(size: int) -> None:
    config = TextConfig(tokenizer="sentencepiece", vocabulary_size=size)
    with pytest.raises(TextError, match=rf"^text.vocabulary_size: {size} is too ") as caught:
        train_tokenizer(config, TEXTS)
    mended = int(caught.value.mend.split()[3])
    config = TextConfig(tokenizer="sentencepiece", vocabulary_size=mended)
    assert len(train_tokenizer(config, TEXTS)) == mended


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
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
def test_a_damaged_vocabulary_is_refused(tmp_path: Path, file: str, content: bytes) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{file}: this is not a vocabulary"):
        load_tokenizer(tmp_path)


def test_both_kinds_work_on_real_transcripts(shared_data: Path) -> None:
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
