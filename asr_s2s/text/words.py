"""Where text may be cut into words, and how its parts are joined, whatever its script."""

import re
from collections.abc import Iterable

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
