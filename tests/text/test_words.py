"""Text of every script is joined and cut as its readers expect."""

import pytest

from asr_s2s.text.words import join_texts, split_words


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
def test_texts_are_joined_with_a_blank_where_the_script_has_blanks(
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
def test_words_join_to_their_text(text: str, words: list[str]) -> None:
    assert split_words(text) == words
    assert "".join(words) == text
