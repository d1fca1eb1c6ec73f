"""Normalizers give the documented form and are idempotent."""

import random
import sys
import unicodedata

import pytest

from asr_s2s.errors import TextError
from asr_s2s.text.normalize import NORMALIZERS, normalizer


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("verbatim", "  Two\t words\r\n\u00a0here ", "Two words here"),
        ("verbatim", "cafe\u0301, Ünï", "café, Ünï"),
        ("verbatim", "a\x00b\u200bc\ufeffd\x07", "abcd"),
        ("verbatim", "ﬁve ½ ①", "ﬁve ½ ①"),
        ("verbatim", "क्\u200dष न\u200cय", "क्\u200dष न\u200cय"),
        ("verbatim", "a \u200b b", "a b"),
        ("lowercase", "Don't STOP, Élan! Straße 42", "don't stop, élan! straße 42"),
        ("lowercase", "\uff21\uff22\uff23 ﬁve", "abc five"),  # full-width ABC
        ("english", "Don\u2019t stop \u2014 it\u2019s \u201c42\u201d!", "don't stop it's four two"),
        ("english", "A well-known café/naïve", "a well known cafe naive"),
        ("english", "the U.S.A., e.g. Mr. Smith", "the usa eg mister smith"),
        ("english", "Dr. No, Mrs. Bell\u2019s, mr3", "doctor no missus bell's mister"),
        ("english", "1,000 men; 3.5 m", "one zero zero zero men three five m"),
        ("english", "B2B at 50% & more", "bb at five zero percent and more"),
        ("english", "'Quoted words,' the dogs' and 'em", "quoted words the dogs and em"),
        ("english", "Æsir, Straße, Øre, Łódź", "aesir strasse ore lodz"),
        ("english", "one,two:three(four)five", "one two three four five"),
        ("english", "你好 hello мир", "hello"),
        ("english", "'' - ...", ""),
    ],
)
def test_text_is_normalized(name: str, text: str, expected: str) -> None:
    assert NORMALIZERS[name](text) == expected


@pytest.fixture(scope="module")
def odd_texts() -> list[str]:
    """All characters of Unicode between letters, and random mixtures."""
    characters = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]
    assigned = [c for c in characters if unicodedata.category(c) not in ("Cn", "Co")]
    rng = random.Random(0)
    mixtures = ["".join(rng.choices(assigned[:9_000], k=6)) for _ in range(20_000)]
    # Hangul and Han (category Lo) are about 100,000 characters of the same behavior.
    plain = [c for c in assigned if unicodedata.category(c) != "Lo"] + rng.sample(assigned, 5_000)
    return [f"a{c}b e{c}\u0301" for c in plain] + mixtures


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizers_are_idempotent(name: str, odd_texts: list[str]) -> None:
    normalize = NORMALIZERS[name]
    for text in odd_texts:
        once = normalize(text)
        assert normalize(once) == once, ascii(text)


def test_english_contains_only_letters_apostrophes_and_single_spaces(odd_texts: list[str]) -> None:
    for text in odd_texts:
        result = NORMALIZERS["english"](text)
        assert set(result) <= set("abcdefghijklmnopqrstuvwxyz' ")
        assert result == " ".join(result.split())


@pytest.mark.parametrize("name", NORMALIZERS)
def test_every_normalizer_is_registered_and_documented(name: str) -> None:
    assert normalizer(name) is NORMALIZERS[name]
    assert NORMALIZERS[name].__doc__


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("englsh", "Did you mean english"),
        ("Lower", "Did you mean lowercase"),
        ("zzz", "Choose from verbatim, lowercase, english"),
    ],
)
def test_an_unknown_normalizer_is_rejected_with_a_suggestion(name: str, fix: str) -> None:
    with pytest.raises(TextError, match=rf"^text.normalizer: .*{name}.*{fix}"):
        normalizer(name)
