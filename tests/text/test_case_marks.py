"""Case marks are reversible, and a word has the same letters in every spelling."""

import pytest

from asr_s2s.text.case_marks import TITLE, UPPER, apply_marks, mark_case, remove_marks


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("tom", "tom"),
        ("Tom", "Ttom"),
        (" Tom is", "T tom is"),
        ("NASA's", "Unasa's"),
        ("PCs", "TpTcs"),
        ("I am", "Ti am"),
        ("McDonald (USA)", "TmcTdonald (Uusa)"),
        ("ÄRGER", "Uärger"),
        ("", ""),
    ],
)
def test_marks_precede_the_space_before_a_capital(text: str, marked: str) -> None:
    assert mark_case(text) == marked.replace("T", TITLE).replace("U", UPPER)


@pytest.mark.parametrize(
    "text",
    [
        "Tom's PCs and NASA's iPhone, McDonald.", "STRASSE Straße", "ἈΘΗΝΑΙ Σοφος ΣΟΦΟΣ",
        "İstanbul ǅ ŉ 你好 ABC你好", "DON'T A B", "  X  y", "ẞ ß", "É É",
    ],
)  # fmt: skip
def test_marking_is_undone(text: str) -> None:
    assert apply_marks(mark_case(text)) == text


def test_a_word_has_the_same_letters_in_every_spelling() -> None:
    assert {remove_marks(mark_case(f" {w}")) for w in ("Tom", "tom", "TOM", "tOm")} == {" tom"}


def test_marks_without_a_letter_are_dropped() -> None:
    assert apply_marks(f"a{TITLE} 5{UPPER}. {TITLE}{UPPER}b{TITLE}") == "a 5. B"
    assert apply_marks(f"{UPPER}straße{UPPER}{TITLE} x") == "STRAßE X"


def test_marks_in_a_text_are_removed_first() -> None:
    assert mark_case(f"a{UPPER}b {TITLE}c") == "ab c"
