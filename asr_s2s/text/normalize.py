"""Named text normalizers. A model folder records the name its transcripts were written with.

Every normalizer is pure and idempotent: normalizing twice gives what normalizing once gives.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable

from asr_s2s.errors import TextError

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor"}
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u2032\u0060\u00b4"), "'")
# Letters that Unicode does not decompose into a base letter and an accent; 0131 is a dotless i.
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ð": "d", "đ": "d", "þ": "th", "ł": "l", "ß": "ss"}
    | {"\u0131": "i", "&": " and ", "%": " percent "}
)


def verbatim(text: str) -> str:
    """The text as written: composed (NFC), single spaces, no control or format characters.

    Line breaks and tabs count as spaces. The two joiners that Indic, Arabic-script and emoji
    spelling needs (U+200C, U+200D) stay.
    """
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    kept = (c for c in spaced if c in "\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf"))
    # Taking a character away can leave two that compose, or two spaces.
    return " ".join(unicodedata.normalize("NFC", "".join(kept)).split())


def lowercase(text: str) -> str:
    """Lower case in compatibility form (NFKC: full-width and ligature forms become plain letters).

    Punctuation, digits and accents stay; spaces and control characters are those of `verbatim`.
    Lower case, not case folding, so that "ß" stays a letter of its own.
    """
    folded = unicodedata.normalize("NFKC", verbatim(text))
    return verbatim(unicodedata.normalize("NFKC", folded.lower()))


def english(text: str) -> str:
    """Lower-case a to z, apostrophe and space, as English speech corpora are scored.

    Accents come off (café: cafe). Curly apostrophes become straight; apostrophes stay within a
    word (don't), but not at its edges, where they cannot be told from quotation marks. "&" is
    spelled "and", "%" "percent". Full stops vanish (U.S.A.: usa), and so do commas between digits;
    hyphens, dashes and all other punctuation separate words.

    The titles mr, mrs and dr are written as they are said: mister, missus, doctor. A word of digits
    only is spelled digit by digit (42: four two; 1,000: one zero zero zero); digits within other
    words, and other scripts, are dropped. Amounts, dates and times are read aloud in more ways than
    a rule can know: write them in words.
    """
    plain = lowercase(text).translate(_APOSTROPHES).translate(_LETTERS)
    # Decomposed, accents are marks of their own.
    decomposed = unicodedata.normalize("NFKD", plain).lower()
    plain = "".join(c for c in decomposed if c != "." and not unicodedata.combining(c))
    plain = re.sub(r"(?<=\d),(?=\d)", "", plain)
    words = (word.strip("'") for word in re.sub(r"[^a-z0-9']", " ", plain).split())
    spelled = (
        " ".join(_DIGITS[int(digit)] for digit in word)
        if word.isdigit()
        else _TITLES.get(letters := re.sub(r"\d", "", word).strip("'"), letters)
        for word in words
    )
    return " ".join(filter(None, spelled))


NORMALIZERS: dict[str, Callable[[str], str]] = {
    "verbatim": verbatim,
    "lowercase": lowercase,
    "english": english,
}


def normalizer(name: str) -> Callable[[str], str]:
    """The normalizer of that name.

    Raises:
        TextError: there is none; the nearest is named.
    """
    if name in NORMALIZERS:
        return NORMALIZERS[name]
    near = difflib.get_close_matches(name.lower(), NORMALIZERS, n=1, cutoff=0.4)
    fix = f"Did you mean {near[0]}" if near else f"Choose from {', '.join(NORMALIZERS)}"
    raise TextError("text.normalizer", f"there is no normalizer {name!r}", fix)
