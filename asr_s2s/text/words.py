"""Splitting text into words and joining texts, for scripts with and without spaces."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Ideographs, kana, and full-width punctuation.
_UNSPACED = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff9f\U00020000-\U0003ffff"
_CLOSING = "\u3001\u3002\u300d\u300f\u3011\u30fc\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f"
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}][{_CLOSING}]*|[^\s{_UNSPACED}]+[{_CLOSING}]*)")


def join_texts(texts: Iterable[str]) -> str:
    """Join texts with spaces, but without a space between Chinese or Japanese characters."""
    joined = ""
    for text in texts:
        if joined and text:
            between = re.fullmatch(rf"[{_UNSPACED}]{{2}}", joined[-1] + text[0])
            joined += text if between else f" {text}"
        else:
            joined += text
    return joined


def split_words(text: str) -> list[str]:
    """Split text into words, or into characters for Chinese and Japanese. Words include the spaces
    before them, so that they concatenate to the text except for trailing spaces."""
    words: list[str] = _WORD.findall(text)
    return words


class TokenWord(NamedTuple):
    """Word, or several words that share a token, with the range of its tokens."""

    text: str
    """Text of the word."""
    start: int
    """Index of the first token."""
    end: int
    """Index after the last token."""


def group_tokens(text: str, surfaces: Sequence[str]) -> list[TokenWord]:
    """Group tokens into the words of a text; every token belongs to exactly one word.

    A token without letters, such as a space, belongs to the word after it, or to the last word.
    Words that share a token, such as Chinese characters in a subword, stay together.

    Args:
        text: text that the tokens represent, apart from spaces.
        surfaces: part of the text that each token represents.
    """
    words = [word.strip() for word in split_words(text)]
    word_of_letter = [index for index, word in enumerate(words) for _ in word]
    if not word_of_letter:
        return []
    found: list[TokenWord] = []
    first = last = -1  # range of words in the last group
    position = 0
    for token, surface in enumerate(surfaces):
        letters = sum(not letter.isspace() for letter in surface)
        touched = word_of_letter[position : position + max(1, letters)] or [len(words) - 1]
        position += letters
        if touched[0] > last:
            first = touched[0]
            found.append(TokenWord("", token, token))
        last = max(last, touched[-1])
        spelled = join_texts(words[first : last + 1])
        found[-1] = TokenWord(spelled, found[-1].start, token + 1)
    return found
