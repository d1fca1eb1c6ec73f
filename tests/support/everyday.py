"""Everyday English sentences as people type them, made for tests of translation into German, with
the names and numbers that every translation must contain.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_TEMPLATES = (
    "My name is {name}.",
    "{name} lives in {place}.",
    "I met {name} in {place} last week.",
    "Do you know {name}?",
    "{name} is {number} years old.",
    "Please call {name} at {time}.",
    "{name} paid {amount} dollars for the car.",
    "I was born in {year}.",
    "{name} moved to {place} in {year}.",
    "The train leaves at {time}.",
    "We need {number} eggs.",
    "There are {number} students in this class.",
    "My phone number is {phone}.",
    "I'm waiting for {name}.",
    "{name} and {name} are good friends.",
    "Room {number} is on the second floor.",
    "{name} has never been to {place}.",
    "The book costs {number} dollars.",
    "I live in {place}.",
    "{name} doesn't like coffee.",
)
_NAMES = (
    "Ingrid", "Marlow", "Priya", "Halvorsen", "Dieudonne", "Keiko", "Alvarez", "Brandon", "Sunita",
    "Oleksandr", "Tamsin", "Rashid", "Wendell", "Yusuf", "Fiona", "Gregor", "Nadia", "Peterson",
    "Quentin", "Sofia", "Vikram", "Zelda", "Bronwyn", "Callum", "Anika", "Malik", "Jorge",
    # Invented ones, which no corpus has.
    "Zorvane", "Quillby", "Tresk", "Omandiri", "Vashkel", "Plimwood", "Grabesta", "Yntoria",
)  # fmt: skip
_PLACES = (
    "Boston", "Bristol", "Denver", "Harrogate", "Kampala", "Lagos", "Manchester", "Osaka",
    "Portland", "Quito", "Seattle", "Tallinn", "Windhoek", "Adelaide", "Nairobi", "Lima",
)  # fmt: skip
_SYMBOLS = ("😀", "🎉", "❤", "→", "你", "☕")
SPELLINGS = ("normal", "lower case", "capitals", "no full stop", "symbol")


@dataclass(frozen=True)
class Sentence:
    """A sentence with what its translation must contain."""

    text: str
    spelling: str
    """One of `SPELLINGS`."""
    names: tuple[str, ...]
    """In normal spelling."""
    numbers: tuple[str, ...]


def sentences(count: int = 200, seed: int = 7) -> list[Sentence]:
    """Draw distinct sentences, each spelling equally often."""
    rng = np.random.default_rng(seed)
    found: dict[str, Sentence] = {}
    while len(found) < count:
        spelling = SPELLINGS[len(found) % len(SPELLINGS)]
        names: list[str] = []
        numbers: list[str] = []

        def fill(
            match: re.Match[str], names: list[str] = names, numbers: list[str] = numbers
        ) -> str:
            kind = match[1]
            value = _draw(kind, rng)
            (names if kind in ("name", "place") else numbers).append(value)
            return value

        text = re.sub(r"\{(\w+)\}", fill, _TEMPLATES[rng.integers(len(_TEMPLATES))])
        text = _spell(text, spelling, _SYMBOLS[rng.integers(len(_SYMBOLS))])
        found[text] = Sentence(text, spelling, tuple(names), tuple(numbers))
    return list(found.values())


def copied(sentence: Sentence, translation: str) -> tuple[int, int]:
    """Count the names and numbers of a sentence, and those that its translation contains.

    A name counts in normal spelling, or in capitals if the sentence has them, and may take the
    German genitive's s. Separators in numbers may be German: 1.250 for 1,250, and 14.30 for 14:30.

    Returns:
        what the sentence has, and what of it the translation has.
    """
    words = re.findall(r"\w+", translation)
    wanted = [*sentence.names, *(name.upper() for name in sentence.names)]
    spelled = {word for word in words if word in wanted or word.removesuffix("s") in wanted}
    kept = sum(bool(spelled & {n, f"{n}s", n.upper()}) for n in sentence.names)
    kept += sum(
        re.search(rf"(?<!\d){re.sub('[,:]', '[.,: ]?', number)}(?!\d)", translation) is not None
        for number in sentence.numbers
    )
    return len(sentence.names) + len(sentence.numbers), kept


def loops(translation: str) -> bool:
    """Whether a word or a group of up to four words stands four times in a row."""
    return re.search(r"\b(\w+(?:\W+\w+){0,3})(?:\W+\1\b){3}", translation.lower()) is not None


def share_copied(pairs: Iterable[tuple[Sentence, str]]) -> float:
    """Return the share of names and numbers that the translations contain."""
    counts = np.array([copied(sentence, translation) for sentence, translation in pairs])
    return float(counts[:, 1].sum() / counts[:, 0].sum())


def _draw(kind: str, rng: np.random.Generator) -> str:
    match kind:
        case "name":
            return str(rng.choice(_NAMES))
        case "place":
            return str(rng.choice(_PLACES))
        case "number":
            return str(rng.integers(12, 100))
        case "amount":
            return f"{rng.integers(1, 100)},{rng.integers(100, 1000)}"
        case "year":
            return str(rng.integers(1900, 2030))
        case "time":
            return f"{rng.integers(1, 13)}:{rng.integers(10, 60)}"
        case _:
            return f"{rng.integers(200, 1000)}-{rng.integers(1000, 10000)}"


def _spell(text: str, spelling: str, symbol: str) -> str:
    match spelling:
        case "lower case":
            return text.lower()
        case "capitals":
            return text.upper()
        case "no full stop":
            return text.rstrip(".?")
        case "symbol":
            return f"{text} {symbol}"
        case _:
            return text
