"""Splitting and joining of text in scripts with and without spaces."""

import pytest

from asr_s2s.text.words import group_tokens, join_texts, split_words


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        (["one two", "three"], "one two three"),
        (["", "one", "", "two", ""], "one two"),
        (["我今天去", "商店"], "我今天去商店"),
        (["今日は。", "そうですか"], "今日は。そうですか"),
        (["오늘은", "어때"], "오늘은 어때"),
        (["我用", "Python", "写"], "我用 Python 写"),
        ([], ""),
    ],
)
def test_texts_are_joined_with_a_space_if_the_script_uses_spaces(
    texts: list[str], joined: str
) -> None:
    assert join_texts(texts) == joined


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one, two  three", ["one,", " two", "  three"]),
        ("今日は、ローマ。", ["今", "日", "は、", "ロー", "マ。"]),
        ("我用 Python写", ["我", "用", " Python", "写"]),
        ("", []),
    ],
)
def test_words_concatenate_to_their_text(text: str, words: list[str]) -> None:
    assert split_words(text) == words
    assert "".join(words) == text


@pytest.mark.parametrize(
    ("text", "surfaces", "words"),
    [
        ("one two", list("one two"), [("one", 0, 3), ("two", 3, 7)]),
        ("a dog.", ["a", "", "do", "g", "."], [("a", 0, 1), ("dog.", 1, 5)]),
        ("one ", ["one", " "], [("one", 0, 2)]),
        (
            "我用Python写",
            ["我用", "Py", "thon", "写"],
            [("我用", 0, 1), ("Python", 1, 3), ("写", 3, 4)],
        ),
        ("我用写", ["我", "用写"], [("我", 0, 1), ("用写", 1, 2)]),
        ("the the", ["the", "the"], [("the", 0, 1), ("the", 1, 2)]),
        ("", [""], []),
    ],
)
def test_every_token_belongs_to_one_word(
    text: str, surfaces: list[str], words: list[tuple[str, int, int]]
) -> None:
    assert group_tokens(text, surfaces) == words
