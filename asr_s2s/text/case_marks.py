"""Case marks: text in lower case, with marks for the capitals (inline casing, as in Bérard et al.,
2019).

`Tom`, `tom` and `TOM` then share their subwords and differ in a mark only, so that a model that has
learned a word in one spelling knows it in all.
"""

import re

TITLE = "\ue000"
"""Makes the next letter a capital. Both marks are private-use characters."""
UPPER = "\ue001"
"""Makes all letters of the next word, up to its first other character, capitals."""
CASE_MARKS = (TITLE, UPPER)
_LETTERS = r"[^\W\d_]"
_WORD = re.compile(rf"( ?)({_LETTERS}+)")
_UPPER_WORD = re.compile(rf"{UPPER}( ?)({_LETTERS}+)")
_TITLE_LETTER = re.compile(rf"{TITLE}( ?)({_LETTERS})")
_REMOVE = str.maketrans(dict.fromkeys(CASE_MARKS, ""))


def mark_case(text: str) -> str:
    """Convert capitals to lower case with marks.

    A mark precedes the space before its letter, so that words keep their spaces in subwords.
    Letters that lose information in lower case, such as U+0130, stay as they are.
    """
    return _WORD.sub(_mark_word, remove_marks(text))


def apply_marks(text: str) -> str:
    """Convert marked letters to capitals and remove all marks. Undoes `mark_case`."""
    text = _UPPER_WORD.sub(lambda match: match[1] + "".join(map(_capital, match[2])), text)
    text = _TITLE_LETTER.sub(lambda match: match[1] + _capital(match[2]), text)
    return remove_marks(text)


def remove_marks(text: str) -> str:
    """Remove all case marks, without changing letters."""
    return text.translate(_REMOVE)


def _mark_word(match: re.Match[str]) -> str:
    space, word = match.groups()
    capitals = [_is_capital(letter) for letter in word]
    if len(word) > 1 and all(capitals):
        return UPPER + space + "".join(map(str.lower, word))
    letters = [f"{space}{word[0]}", *word[1:]]
    return "".join(
        TITLE + letter.lower() if capital else letter
        for letter, capital in zip(letters, capitals, strict=True)
    )


def _is_capital(letter: str) -> bool:
    """Whether a letter is a capital that its lower case gives back."""
    lower = letter.lower()
    return lower != letter and len(lower) == 1 and lower.upper() == letter


def _capital(letter: str) -> str:
    upper = letter.upper()
    return upper if len(upper) == 1 else letter  # the capital of "ß" is two letters
