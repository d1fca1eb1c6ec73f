"""Tokenizer interface, and tokenizers for characters and words.

Subwords are in `subwords.py` and phonemes in `phonemes.py`; `vocabulary.py` trains and loads all
kinds. All vocabularies begin with the same four special tokens, which the attention decoder and CTC
share, followed by the units. Tokenizers expect normalized text.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from asr_s2s.errors import TextError
from asr_s2s.text.words import split_words

BLANK = 0
"""Blank of CTC; padding elsewhere."""
BOS = 1
"""First token of the decoder's input."""
EOS = 2
"""Last token of an output."""
UNK = 3
"""Unknown token: a unit that is not in the vocabulary."""
SPECIALS = ("<blank>", "<s>", "</s>", "<unk>")

Side = Literal["target", "source"]
_STEMS: dict[Side, str] = {"target": "tokenizer", "source": "source_tokenizer"}


class Tokenizer(ABC):
    """Vocabulary, with conversion of text to token ids and back."""

    pieces: list[str]
    """Text of every token, by id. Sentencepiece marks the beginning of a word with U+2581."""
    lacks_rare_units: ClassVar[bool] = False
    """Whether training texts usually have units that the vocabulary lacks, such as rare words."""
    spells_all_text: bool = False
    """Whether the vocabulary spells every text, so that no unit is unknown."""

    def __len__(self) -> int:
        return len(self.pieces)

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Convert text to token ids, without BOS and EOS. Unknown units become UNK."""

    def sample(self, text: str, power: float, rng: np.random.Generator) -> list[int]:
        """Convert text to token ids of a random segmentation, drawn in proportion to its
        probability raised to `power` (Kudo, 2018). Same as `encode` for units with a single
        segmentation."""
        return self.encode(text)

    @abstractmethod
    def surfaces(self, text: str) -> list[str]:
        """Part of the text that each token of `encode` represents."""

    def words(self, text: str) -> list[str]:
        """Whole word that each token of `encode` belongs to; a space belongs to the word after it.
        For Chinese and Japanese, the characters that the token represents."""
        parts = [part.strip() for part in split_words(text)]
        part_of_letter = [index for index, part in enumerate(parts) for _ in part]
        words, position = [], 0
        for surface in self.surfaces(text):
            letters = sum(not letter.isspace() for letter in surface)
            touched = part_of_letter[position : position + max(1, letters)]
            words.append("".join(parts[touched[0] : touched[-1] + 1]) if touched else "")
            position += letters
        return words

    @abstractmethod
    def decode(self, ids: Sequence[int], unknowns: Sequence[str] = ()) -> str:
        """Convert token ids to text. Special tokens are skipped, except that `unknowns` replace
        successive UNK tokens."""

    def offsets(self, ids: Sequence[int]) -> list[int]:
        """End offset of each token in the text of `decode`. A space between words belongs to the
        token that adds it."""
        return [len(self.decode(ids[: i + 1])) for i in range(len(ids))]

    def labels(self, ids: Sequence[int]) -> list[str]:
        """Text of each token as pictures show it, special tokens included."""
        return [self.pieces[i] for i in ids]

    def is_known(self, ids: Sequence[int]) -> bool:
        """Whether the token ids of a word spell a word of the lexicon; always true without one."""
        return True

    @abstractmethod
    def unknown_characters(self, text: str) -> set[str]:
        """Characters of `text` that are not in the vocabulary; words for the words and phonemes
        tokenizers."""

    def extended(self, units: Sequence[str]) -> "Tokenizer":
        """Return the vocabulary with more units, which get the ids after the existing ones.

        Args:
            units: units that `unknown_characters` found to be missing.

        Raises:
            TextError: a vocabulary of this kind cannot be extended.
        """
        raise TextError(
            "train.missing_units",
            "units cannot be added to a vocabulary of this kind",
            "Set it to unknown",
        )

    @abstractmethod
    def save(self, folder: str | Path, side: Side = "target") -> None:
        """Write the vocabulary to a model folder, replacing an existing one."""

    def _texts(self, ids: Sequence[int], unknowns: Sequence[str]) -> list[str]:
        """Text of each id, without special tokens and with UNK replaced."""
        rest = iter(unknowns)
        texts = (next(rest, "") if i == UNK else self.pieces[i] for i in map(int, ids) if i >= UNK)
        return [text for text in texts if text]


class UnitTokenizer(Tokenizer):
    """Tokenizer with one token per unit.

    Args:
        units: units in the order of their ids.
    """

    kind: str
    """Name of the kind in the saved file."""
    separator: str
    """Text between two units."""

    def __init__(self, units: Sequence[str]) -> None:
        self.pieces = [*SPECIALS, *units]
        self._ids = {unit: index for index, unit in enumerate(units, start=len(SPECIALS))}

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(unit, UNK) for unit in self.surfaces(text)]

    def decode(self, ids: Sequence[int], unknowns: Sequence[str] = ()) -> str:
        return self.separator.join(self._texts(ids, unknowns))

    def unknown_characters(self, text: str) -> set[str]:
        return set(self.surfaces(text)) - self._ids.keys()

    def extended(self, units: Sequence[str]) -> "UnitTokenizer":
        extended = copy(self)
        UnitTokenizer.__init__(extended, [*self.pieces[len(SPECIALS) :], *units])
        return extended

    def save(self, folder: str | Path, side: Side = "target") -> None:
        content = {"kind": self.kind, "units": self.pieces[len(SPECIALS) :]}
        text = json.dumps(content, ensure_ascii=False) + "\n"
        vocabulary_path(folder, side, "json").write_text(text, encoding="utf-8")
        vocabulary_path(folder, side, "model").unlink(missing_ok=True)


class CharacterTokenizer(UnitTokenizer):
    """Tokenizer with one token per character, including the space.

    Args:
        characters: characters of the vocabulary. Duplicates are dropped, and ids follow Unicode
            order, so that the same text always gives the same vocabulary.
    """

    kind = "characters"
    separator = ""

    def __init__(self, characters: Iterable[str]) -> None:
        super().__init__(sorted(set(characters)))

    def surfaces(self, text: str) -> list[str]:
        return list(text)


class WordTokenizer(UnitTokenizer):
    """Tokenizer with one token per whitespace-separated word (of tokenized text, or phonemes)."""

    kind = "words"
    separator = " "
    lacks_rare_units = True

    def surfaces(self, text: str) -> list[str]:
        return text.split()

    def words(self, text: str) -> list[str]:
        return self.surfaces(text)


def vocabulary_path(folder: str | Path, side: Side, suffix: str) -> Path:
    """Path of a vocabulary in a model folder."""
    return Path(folder) / f"{_STEMS[side]}.{suffix}"
