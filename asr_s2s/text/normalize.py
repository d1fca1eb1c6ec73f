"""Named text normalizers. A model folder records the name of the normalizer of its transcripts.

Every normalizer is pure and idempotent.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable

from asr_s2s.errors import TextError

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor"}
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u2032\u0060\u00b4"), "'")
# Letters that Unicode does not decompose into a base letter and an accent; U+0131 is a dotless i.
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ð": "d", "đ": "d", "þ": "th", "ł": "l", "ß": "ss"}
    | {"\u0131": "i", "&": " and ", "%": " percent "}
)


def verbatim(text: str) -> str:
    """Keep the text as written, except for NFC, single spaces, and no control or format characters.

    Line breaks and tabs count as spaces. The two joiners that Indic, Arabic-script and emoji
    spelling requires (U+200C, U+200D) are kept.
    """
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    kept = (c for c in spaced if c in "\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf"))
    # Removing a character can leave two that compose, or two spaces.
    return " ".join(unicodedata.normalize("NFC", "".join(kept)).split())


def lowercase(text: str) -> str:
    """Convert to lower case and NFKC (full-width and ligature forms become plain letters).

    Punctuation, digits and accents are kept; spaces and control characters are treated as in
    `verbatim`. There is no case folding, so "ß" stays a separate letter.
    """
    folded = unicodedata.normalize("NFKC", verbatim(text))
    return verbatim(unicodedata.normalize("NFKC", folded.lower()))


def english(text: str) -> str:
    """Reduce to lower-case a to z, apostrophe and space, the form in which English speech corpora
    are scored.

    Accents are removed (café: cafe). Curly apostrophes become straight; apostrophes are kept within
    a word (don't), but not at its edges, where they cannot be distinguished from quotation marks.
    "&" becomes "and", "%" "percent". Full stops are removed (U.S.A.: usa), as are commas between
    digits; hyphens, dashes and all other punctuation separate words.

    The titles mr, mrs and dr are expanded to mister, missus and doctor. A word of digits only is
    spelled digit by digit (42: four two; 1,000: one zero zero zero); digits within other words, and
    other scripts, are dropped. Amounts, dates and times have several spoken forms that no rule can
    choose between; write them in words.
    """
    plain = lowercase(text).translate(_APOSTROPHES).translate(_LETTERS)
    # Decomposition separates accents from letters.
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
    """Return the normalizer with this name.

    Raises:
        TextError: the name is unknown; the nearest known one is suggested.
    """
    if name in NORMALIZERS:
        return NORMALIZERS[name]
    near = difflib.get_close_matches(name.lower(), NORMALIZERS, n=1, cutoff=0.4)
    fix = f"Did you mean {near[0]}" if near else f"Choose from {', '.join(NORMALIZERS)}"
    raise TextError("text.normalizer", f"there is no normalizer {name!r}", fix)
