"""Phoneme tokenizer: text as the pronunciations of its words.

English spelling reflects pronunciation poorly, so a recognizer with characters needs many hours of
speech to learn what a dictionary contains. One with phonemes learns from few hours. A lexicon maps
phonemes to words (as in Miao et al., 2015), and a word n-gram model (`lm/word_ngram.py`)
restricts beam search to pronunciations of the lexicon and chooses among homophones.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path

from asr_s2s.errors import ManifestError, TextError
from asr_s2s.text.tokenizer import SPECIALS, UNK, Side, UnitTokenizer, vocabulary_path
from asr_s2s.text_files import read_lines

SPACE = " "
"""Unit between words."""
HomophoneChoice = Callable[[Sequence[Sequence[str]]], list[str]]
"""Function that picks one word per position of a sentence among its homophones."""
_LETTERS = {
    "aa": "o", "ae": "a", "ah": "u", "ao": "aw", "aw": "ow", "ax": "a", "ay": "i", "dh": "th",
    "eh": "e", "er": "er", "ey": "ay", "hh": "h", "ih": "i", "iy": "ee", "jh": "j", "ow": "o",
    "oy": "oy", "uh": "oo", "uw": "oo", "zh": "zh",
}  # fmt: skip
"""Spelling of English phonemes (ARPAbet) in words that are not in the lexicon."""


class PhonemeTokenizer(UnitTokenizer):
    """One token per phoneme, and one between words.

    Args:
        units: phonemes and SPACE, in the order of their ids.
        lexicon: pronunciations of each word, as phonemes with SPACE between them; the first one is
            used for training. The most common of several homophones stands first.

    Phonemes of several homophones decode to the first of them, unless `with_choice` is used.
    """

    kind = "phonemes"
    lacks_rare_units = True

    def __init__(self, units: Sequence[str], lexicon: Mapping[str, Sequence[str]]) -> None:
        super().__init__(units)
        self.lexicon = lexicon
        self.choose: HomophoneChoice | None = None

    @cached_property
    def _homophones(self) -> dict[str, list[str]]:
        """Words of each pronunciation. Built when first needed, as most commands start without."""
        homophones: dict[str, list[str]] = {}
        for word, variants in self.lexicon.items():
            for variant in variants:
                words = homophones.setdefault(variant, [])
                if word not in words:
                    words.append(word)
        return homophones

    @cached_property
    def checksum(self) -> int:
        """Checksum of the lexicon."""
        lines = (f"{word}\t{variant}" for word, vs in self.lexicon.items() for variant in vs)
        return zlib.crc32("\n".join(lines).encode())

    def with_choice(self, choose: HomophoneChoice) -> "PhonemeTokenizer":
        """Copy of this tokenizer that chooses among homophones with `choose`."""
        chosen = copy(self)
        chosen.choose = choose
        return chosen

    def pronunciations(self, word: str) -> list[tuple[int, ...]]:
        """Token ids of each pronunciation of a word; empty for unknown words."""
        return [self._token_ids(variant) for variant in self.lexicon.get(word, ())]

    def encode(self, text: str) -> list[int]:
        """Token ids of each word's first pronunciation; an unknown word becomes one UNK."""
        ids: list[int] = []
        for word in text.split():
            ids += [self._ids[SPACE]] if ids else []
            ids += self._token_ids(self.lexicon[word][0]) if word in self.lexicon else [UNK]
        return ids

    def surfaces(self, text: str) -> list[str]:
        """Each word's letters, distributed evenly over its phonemes."""
        parts: list[str] = []
        for word in text.split():
            parts += [SPACE] if parts else []
            count = self._count(word)
            bounds = [len(word) * i // count for i in range(count + 1)]
            parts += [word[a:b] for a, b in pairwise(bounds)]
        return parts

    def words(self, text: str) -> list[str]:
        words: list[str] = []
        for word in text.split():
            count = self._count(word)
            words += [word] * (count + bool(words))
        return words

    def decode(self, ids: Sequence[int], unknowns: Sequence[str] = ()) -> str:
        return SPACE.join(self._choose(self._split_words(ids)))

    def offsets(self, ids: Sequence[int]) -> list[int]:
        """End offset of each token, with a word's letters distributed evenly over its phonemes."""
        words = iter(self._choose(self._split_words(ids)))
        space = self._ids[SPACE]
        offsets, end = [], 0
        for is_space, group in groupby(map(int, ids), lambda i: i == space):
            count = len(list(group))
            if is_space:
                length = int(end > 0)  # consecutive spaces count as one
                offsets += [end + length] * count
            else:
                length = len(next(words))
                offsets += [end + length * i // count for i in range(1, count + 1)]
            end += length
        return offsets

    def unknown_characters(self, text: str) -> set[str]:
        return set(text.split()) - self.lexicon.keys()

    def save(self, folder: str | Path, side: Side = "target") -> None:
        lexicon = {word: list(variants) for word, variants in self.lexicon.items()}
        content = {"kind": self.kind, "units": self.pieces[len(SPECIALS) :], "lexicon": lexicon}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"
        vocabulary_path(folder, side, "json").write_text(text, encoding="utf-8")
        vocabulary_path(folder, side, "model").unlink(missing_ok=True)

    def extended(self, units: Sequence[str]) -> "PhonemeTokenizer":
        raise TextError(
            "train.missing_units",
            "words are added to a vocabulary of phonemes by its lexicon only",
            "Set it to unknown, or train a model with another lexicon",
        )

    def is_known(self, ids: Sequence[int]) -> bool:
        return all(word in self._homophones for word in self._split_words(ids))

    def _token_ids(self, pronunciation: str) -> tuple[int, ...]:
        return tuple(self._ids[phoneme] for phoneme in pronunciation.split())

    def _count(self, word: str) -> int:
        """Number of tokens of a word."""
        return len(self.lexicon[word][0].split()) if word in self.lexicon else 1

    def _split_words(self, ids: Sequence[int]) -> list[str]:
        """Pronunciation of each word, without special tokens."""
        phonemes = [self.pieces[i] for i in map(int, ids) if i >= UNK]
        grouped = groupby(phonemes, lambda phoneme: phoneme == SPACE)
        return [SPACE.join(group) for is_space, group in grouped if not is_space]

    def _choose(self, pronunciations: list[str]) -> list[str]:
        """One word for each pronunciation."""
        alternatives = [self._homophones.get(p) or [_spell(p)] for p in pronunciations]
        if self.choose is None or all(len(words) == 1 for words in alternatives):
            return [words[0] for words in alternatives]
        return self.choose(alternatives)


def _spell(pronunciation: str) -> str:
    """Spelling for a pronunciation that is not in the lexicon."""
    return "".join(_LETTERS.get(phoneme, phoneme) for phoneme in pronunciation.split())


def read_lexicon(path: Path) -> dict[str, list[str]]:
    """Read pronunciations from a file whose lines are a word, a tab, and its phonemes. A word may
    have several lines. Phonemes of the result have SPACE between them.

    Raises:
        TextError: the file cannot be read, a line is malformed, or there are no lines.
    """
    try:
        lines = read_lines(path, "lexicon")
    except ManifestError as error:
        raise TextError(
            path, "this lexicon cannot be read", "Set text.lexicon to a UTF-8 file"
        ) from error
    lexicon: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        word, tab, phonemes = line.partition("\t")
        if not tab or not word.strip() or SPACE in word or not phonemes.split():
            raise TextError(
                f"{path}:{number}",
                f"expected a word, a tab and its phonemes, found {line!r}",
                "Write for example: cat, tab, k ae t",
            )
        lexicon.setdefault(word, []).append(SPACE.join(phonemes.split()))
    if not lexicon:
        raise TextError(path, "the lexicon is empty", "Write one word per line")
    return lexicon
