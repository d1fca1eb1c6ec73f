"""Where text may be cut into words, and how its parts are joined, whatever its script."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Ideographs, kana, and the full-width punctuation among them.
_UNSPACED = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff9f\U00020000-\U0003ffff"
_CLOSING = "\u3001\u3002\u300d\u300f\u3011\u30fc\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f"
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}][{_CLOSING}]*|[^\s{_UNSPACED}]+[{_CLOSING}]*)")


def join_texts(texts: Iterable[str]) -> str:
    """Texts one after the other, with blanks between them; not where Chinese or Japanese meet."""
    joined = ""
    for text in texts:
        if joined and text:
            between = re.fullmatch(rf"[{_UNSPACED}]{{2}}", joined[-1] + text[0])
            joined += text if between else f" {text}"
        else:
            joined += text
    return joined


def split_words(text: str) -> list[str]:
    """Words with the blanks before them, so that they join to the text, but for blanks at its end;
    of Chinese and Japanese, characters."""
    words: list[str] = _WORD.findall(text)
    return words


class TokenWord(NamedTuple):
    """A word, or several that share a token, and the tokens that spell it."""

    text: str
    start: int
    """Its first token."""
    end: int
    """The first token after it."""


def group_tokens(text: str, surfaces: Sequence[str]) -> list[TokenWord]:
    """The words of a text with their tokens; every token is in one of them.

    A token without a letter, as a blank, is of the word after it, or of the last. Words that share
    a token, as characters of Chinese in a subword, stay together.

    Args:
        text: what the tokens spell, but for blanks.
        surfaces: the part of the text that each token stands for.
    """
    words = [word.strip() for word in split_words(text)]
    word_of_letter = [index for index, word in enumerate(words) for _ in word]
    if not word_of_letter:
        return []
    found: list[TokenWord] = []
    first = last = -1  # of the words that the last group holds
    place = 0
    for token, surface in enumerate(surfaces):
        letters = sum(not letter.isspace() for letter in surface)
        touched = word_of_letter[place : place + max(1, letters)] or [len(words) - 1]
        place += letters
        if touched[0] > last:
            first = touched[0]
            found.append(TokenWord("", token, token))
        last = max(last, touched[-1])
        spelled = join_texts(words[first : last + 1])
        found[-1] = TokenWord(spelled, found[-1].start, token + 1)
    return found
