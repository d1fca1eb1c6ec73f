"""Vocabulary of one source for models that copy."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asr_s2s.text.tokenizer import UNK, Side, Tokenizer


class CopyingTokenizer(Tokenizer):
    """A vocabulary extended by the unknown words (or parts of words) of one source, which a model
    can then copy (See et al., 2017).

    The unknown words get the ids after those of the tokens and languages, in the order of the
    source.

    Args:
        tokenizer: vocabulary of source and output.
        languages: output languages of the model.
        source: normalized source text.
    """

    def __init__(self, tokenizer: Tokenizer, languages: Sequence[str], source: str) -> None:
        self.tokenizer = tokenizer
        self.languages = languages
        self.first = len(tokenizer) + len(languages)
        """Id of the first unknown word."""
        self.unknown = list(dict.fromkeys(self._unknown(source)))
        """Unknown words in the order of their ids."""

    @property
    def pieces(self) -> list[str]:  # type: ignore[override]  # a list per source would be large
        """Text of every token, by id; includes languages."""
        languages = [f"<{language}>" for language in self.languages]
        return [*self.tokenizer.pieces, *languages, *self.unknown]

    def __len__(self) -> int:
        return self.first + len(self.unknown)

    def encode(self, text: str) -> list[int]:
        return self._number(self.tokenizer.encode(text), text)

    def sample(self, text: str, power: float, rng: np.random.Generator) -> list[int]:
        return self._number(self.tokenizer.sample(text, power, rng), text)

    def surfaces(self, text: str) -> list[str]:
        return self.tokenizer.surfaces(text)

    def words(self, text: str) -> list[str]:
        return self.tokenizer.words(text)

    def decode(self, ids: Sequence[int], unknowns: Sequence[str] = ()) -> str:
        rest = iter(unknowns)
        texts = [
            self.unknown[i - self.first] if i >= self.first else next(rest, "")
            for i in ids
            if i == UNK or i >= self.first
        ]
        return self.tokenizer.decode([i if i < self.first else UNK for i in ids], texts)

    def unknown_characters(self, text: str) -> set[str]:
        return self.tokenizer.unknown_characters(text)

    def save(self, folder: str | Path, side: Side = "target") -> None:
        self.tokenizer.save(folder, side)

    def _unknown(self, text: str) -> list[str]:
        """Return the text of each unknown token."""
        ids = self.tokenizer.encode(text)
        if UNK not in ids:
            return []
        surfaces = self.tokenizer.surfaces(text)
        return [surface for surface, i in zip(surfaces, ids, strict=True) if i == UNK]

    def _number(self, ids: list[int], text: str) -> list[int]:
        """Replace unknown tokens by the ids of the source's unknown words, where it has them."""
        if UNK not in ids or not self.unknown:
            return ids
        texts = self._unknown(text)
        if len(texts) != ids.count(UNK):  # a sampled segmentation with other unknown parts
            return ids
        numbers = {word: self.first + index for index, word in enumerate(self.unknown)}
        rest = iter(texts)
        return [numbers.get(next(rest), UNK) if i == UNK else i for i in ids]
