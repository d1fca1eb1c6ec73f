"""Augmentation of sentence pairs for training: spellings of the source, and substituted names and
numbers, which teach a model to copy.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from asr_s2s.config import TextAugmentConfig
from asr_s2s.errors import ConfigError
from asr_s2s.text_files import read_lines

_WORD = re.compile(r"\w+(?:['’-]\w+)*")  # noqa: RUF001
_SECOND_NAME = 0.25
"""Probability that two names replace one, as a first and a last name."""
_SYMBOLS = (
    range(0x1F300, 0x1F650),  # emoji
    range(0x1F680, 0x1F6C6),
    range(0x2600, 0x2700),
    range(0x100, 0x180),  # Latin letters of central and eastern Europe
    range(0x3B1, 0x3CA),  # Greek
    range(0x410, 0x450),  # Cyrillic
    range(0x4E00, 0x9FA6),  # Chinese
)
_MOST_SYMBOLS = 3


class TextAugment:
    """Substitution of names and numbers, added symbols, and changes of spelling, in this order.

    All randomness comes from the generators passed in, so that a resumed run repeats it exactly.
    """

    def __init__(
        self, config: TextAugmentConfig, pairs: Sequence[tuple[str, str]], base: Path = Path()
    ) -> None:
        """Args:
        config: augmentation settings.
        pairs: training pairs of source and target, in which names are found.
        base: folder that files of names are relative to.

        Raises:
            ConfigError: names and numbers are to be substituted, but there is no name.
            ManifestError: a file of names cannot be read.
        """
        self.config = config
        self._found: frozenset[str] = frozenset()
        self._names: list[str] = []
        if config.substitute_probability > 0.0:
            self._found = find_names(pairs)
            given = (line.strip() for name in config.names for line in read_lines(base / name))
            self._names = sorted(self._found.union(filter(None, given)))
            if not self._names:
                raise ConfigError(
                    "text_augment.substitute_probability",
                    "the training pairs have no names in common, and text_augment.names is empty",
                    "Set text_augment.names to files of names, or this to 0",
                )

    def __call__(self, source: str, target: str, rng: np.random.Generator) -> tuple[str, str]:
        """Augment a pair of normalized texts."""
        config = self.config

        def drawn(probability: float) -> bool:
            # Disabled augmentations draw nothing, so that the draws of the others do not change.
            return probability > 0.0 and bool(rng.random() < probability)

        if drawn(config.substitute_probability):
            source, target = self._substitute(source, target, rng)
        if drawn(config.strip_end_probability):
            source = strip_end(source)
        if drawn(config.symbol_probability):
            symbols = _draw_symbols(rng)
            source, target = f"{source} {symbols}", f"{target} {symbols}"
        if drawn(config.lowercase_probability):
            source = source.lower()
        elif drawn(config.uppercase_probability):
            source = source.upper()
        return source, target

    def _substitute(self, source: str, target: str, rng: np.random.Generator) -> tuple[str, str]:
        """Replace the names and numbers that occur equally often on both sides."""
        counts, counts_there = (Counter(_WORD.findall(text)) for text in (source, target))
        changes: dict[str, str] = {}
        for word, count in counts.items():  # in the order of the source
            if counts_there[word] != count:
                continue
            if word.isdecimal() and word != "1":  # 1 takes the singular
                changes[word] = _draw_number(word, rng)
            elif word in self._found:
                changes[word] = self._draw_name(rng)
        return _replace(source, changes), _replace(target, changes)

    def _draw_name(self, rng: np.random.Generator) -> str:
        names = 2 if rng.random() < _SECOND_NAME else 1
        return " ".join(self._names[i] for i in rng.integers(len(self._names), size=names))


def find_names(pairs: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the words with a capital that both sides of a pair contain, and that no side of any
    pair contains in lower case."""
    common, lowercase = set[str](), set[str]()
    for source, target in pairs:
        words, words_there = set(_WORD.findall(source)), set(_WORD.findall(target))
        common.update(word for word in words & words_there if word[0].isupper() and len(word) > 1)
        lowercase.update(word for word in words | words_there if word[0].islower())
    return frozenset(word for word in common if word.lower() not in lowercase)


def strip_end(text: str) -> str:
    """Remove the punctuation at the end of a text, unless nothing else is left."""
    end = len(text)
    while end and unicodedata.category(text[end - 1])[0] == "P":
        end -= 1
    return text[:end].rstrip() or text


def _draw_number(number: str, rng: np.random.Generator) -> str:
    """Draw a number with as many digits, and with a leading zero if the given one has it."""
    if number[0] == "0":
        return "0" * len(number) if len(number) == 1 else f"0{_draw_digits(len(number) - 1, rng)}"
    if len(number) == 1:
        return str(rng.integers(2, 10))
    return f"{rng.integers(1, 10)}{_draw_digits(len(number) - 1, rng)}"


def _draw_digits(count: int, rng: np.random.Generator) -> str:
    return "".join(map(str, rng.integers(10, size=count)))


def _draw_symbols(rng: np.random.Generator) -> str:
    ranges = rng.integers(len(_SYMBOLS), size=rng.integers(1, _MOST_SYMBOLS + 1))
    return "".join(chr(rng.choice(_SYMBOLS[index])) for index in ranges)


def _replace(text: str, changes: dict[str, str]) -> str:
    return _WORD.sub(lambda match: changes.get(match[0], match[0]), text) if changes else text
