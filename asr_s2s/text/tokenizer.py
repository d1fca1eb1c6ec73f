"""Text to token ids and back, by character or by word; `subwords.py` and `phonemes.py` do it
by theirs, and `vocabulary.py` makes and loads all of them.

All vocabularies begin with the same four specials, which the attention decoder and CTC share;
the units follow. Text is expected as its normalizer leaves it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from asr_s2s.text.words import split_words

BLANK = 0
"""CTC's blank; elsewhere padding."""
BOS = 1
"""Begins the decoder's input."""
EOS = 2
"""Ends an output."""
UNK = 3
"""A character that training did not see."""
SPECIALS = ("<blank>", "<s>", "</s>", "<unk>")

Side = Literal["target", "source"]
_STEMS: dict[Side, str] = {"target": "tokenizer", "source": "source_tokenizer"}


class Tokenizer(ABC):
    """A vocabulary and the way to spell text with it."""

    pieces: list[str]
    """Every token's text, by id. Sentencepiece writes a word's beginning as U+2581."""

    def __len__(self) -> int:
        return len(self.pieces)

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids, without BOS and EOS. Unknown characters become UNK."""

    def sample(self, text: str, power: float, chance: np.random.Generator) -> list[int]:
        """Token ids of a segmentation drawn with its probability to this power (Kudo, 2018);
        those of `encode` where text has only one segmentation."""
        return self.encode(text)

    @abstractmethod
    def surfaces(self, text: str) -> list[str]:
        """The part of the text that each token of `encode` stands for."""

    def words(self, text: str) -> list[str]:
        """The whole word that each token of `encode` is a part of, a blank of the word after it; of
        Chinese and Japanese, the characters that the token stands for."""
        parts = [part.strip() for part in split_words(text)]
        part_of_letter = [index for index, part in enumerate(parts) for _ in part]
        words, place = [], 0
        for surface in self.surfaces(text):
            letters = sum(not letter.isspace() for letter in surface)
            touched = part_of_letter[place : place + max(1, letters)]
            words.append("".join(parts[touched[0] : touched[-1] + 1]) if touched else "")
            place += letters
        return words

    @abstractmethod
    def decode(self, ids: Sequence[int], unknowns: Sequence[str] = ()) -> str:
        """The text of token ids. Specials are skipped, but for UNK where `unknowns` says what to
        write, one after the other."""

    def reached(self, ids: Sequence[int]) -> list[int]:
        """Characters of `decode` that are written with each token. A blank between words counts
        to the token that writes it."""
        return [len(self.decode(ids[: i + 1])) for i in range(len(ids))]

    @abstractmethod
    def unknown_characters(self, text: str) -> set[str]:
        """Characters of `text` that no piece can spell; words, in a vocabulary of words or with a
        lexicon."""

    @abstractmethod
    def save(self, folder: str | Path, side: Side = "target") -> None:
        """Write the vocabulary into a model folder, in place of any that is there."""

    def _written(self, ids: Sequence[int], unknowns: Sequence[str]) -> list[str]:
        """Pieces of the ids that are written."""
        known = iter(unknowns)
        texts = (next(known, "") if i == UNK else self.pieces[i] for i in map(int, ids) if i >= UNK)
        return [text for text in texts if text]


class UnitTokenizer(Tokenizer):
    """One token per unit, the units in the order of their ids."""

    kind: str
    separator: str

    def __init__(self, units: Sequence[str]) -> None:
        self.pieces = [*SPECIALS, *units]
        self._ids = {unit: index for index, unit in enumerate(units, start=len(SPECIALS))}

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(unit, UNK) for unit in self.surfaces(text)]

    def decode(self, ids: Sequence[int], unknowns: Sequence[str] = ()) -> str:
        return self.separator.join(self._written(ids, unknowns))

    def unknown_characters(self, text: str) -> set[str]:
        return set(self.surfaces(text)) - self._ids.keys()

    def save(self, folder: str | Path, side: Side = "target") -> None:
        content = {"kind": self.kind, "units": self.pieces[len(SPECIALS) :]}
        text = json.dumps(content, ensure_ascii=False) + "\n"
        vocabulary_path(folder, side, "json").write_text(text, encoding="utf-8")
        vocabulary_path(folder, side, "model").unlink(missing_ok=True)


class CharacterTokenizer(UnitTokenizer):
    """One token per character; the space is one of them.

    Args:
        characters: the units. Repeats are dropped, and ids follow Unicode order, so the same
            text always gives the same vocabulary.
    """

    kind = "characters"
    separator = ""

    def __init__(self, characters: Iterable[str]) -> None:
        super().__init__(sorted(set(characters)))

    def surfaces(self, text: str) -> list[str]:
        return list(text)


class WordTokenizer(UnitTokenizer):
    """One token per word as blanks part them: words of tokenized text, or phonemes."""

    kind = "words"
    separator = " "

    def surfaces(self, text: str) -> list[str]:
        return text.split()

    def words(self, text: str) -> list[str]:
        return self.surfaces(text)


def vocabulary_path(folder: str | Path, side: Side, suffix: str) -> Path:
    """Where a model folder holds a vocabulary."""
    return Path(folder) / f"{_STEMS[side]}.{suffix}"
