"""Phonemes: text by how its words are pronounced.

English letters say little about sounds, so a recognizer that writes letters needs many hours of
speech to learn what a dictionary holds. One that writes phonemes learns from few; a lexicon spells
its words (as in Miao et al., 2015), and an n-gram model of words (`model/word_ngram.py`) lets the
search go along pronunciations of the lexicon, and chooses among words that sound alike.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from itertools import groupby, pairwise
from pathlib import Path

from asr_s2s.errors import TextError
from asr_s2s.text.tokenizer import SPECIALS, UNK, Side, UnitTokenizer, vocabulary_path

SPACE = " "
"""Unit between words."""
Choice = Callable[[Sequence[Sequence[str]]], list[str]]
"""Of the words that each place of a sentence may have, the best."""
_LETTERS = {
    "aa": "o", "ae": "a", "ah": "u", "ao": "aw", "aw": "ow", "ax": "a", "ay": "i", "dh": "th",
    "eh": "e", "er": "er", "ey": "ay", "hh": "h", "ih": "i", "iy": "ee", "jh": "j", "ow": "o",
    "oy": "oy", "uh": "oo", "uw": "oo", "zh": "zh",
}  # fmt: skip
"""How phonemes of English (ARPAbet) are written in a word that the lexicon does not hold."""


class PhonemeTokenizer(UnitTokenizer):
    """One token per phoneme, and one between words.

    Args:
        units: phonemes and SPACE, in the order of their ids.
        lexicon: pronunciations of each word, each a tuple of phonemes; the first is the one to
            train on. Of words that sound alike the one that comes first is the usual one.

    Words that sound alike are written as the first of them, unless `chosen_by` says otherwise.
    """

    kind = "phonemes"

    def __init__(
        self, units: Sequence[str], lexicon: Mapping[str, Sequence[tuple[str, ...]]]
    ) -> None:
        super().__init__(units)
        self.lexicon = lexicon
        self.choose: Choice | None = None
        self._tokens = {word: [self._of(way) for way in ways] for word, ways in lexicon.items()}
        self._words: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
        for word, ways in self._tokens.items():
            for way in ways:
                if word not in self._words[way]:
                    self._words[way].append(word)

    def chosen_by(self, choose: Choice) -> "PhonemeTokenizer":
        """The same vocabulary, which chooses otherwise among words that sound alike."""
        chosen = copy(self)
        chosen.choose = choose
        return chosen

    def pronunciations(self, word: str) -> list[tuple[int, ...]]:
        """Token ids of each way to say a word; none for unknown words."""
        return self._tokens.get(word, [])

    def encode(self, text: str) -> list[int]:
        """Token ids of each word's first pronunciation; an unknown word is one UNK."""
        ids: list[int] = []
        for word in text.split():
            ids += [self._ids[SPACE]] if ids else []
            ids += self._tokens[word][0] if word in self._tokens else [UNK]
        return ids

    def surfaces(self, text: str) -> list[str]:
        """Each word's letters, shared out evenly among its phonemes."""
        parts: list[str] = []
        for word in text.split():
            parts += [SPACE] if parts else []
            count = len(self._tokens[word][0]) if word in self._tokens else 1
            bounds = [len(word) * i // count for i in range(count + 1)]
            parts += [word[a:b] for a, b in pairwise(bounds)]
        return parts

    def words(self, text: str) -> list[str]:
        words: list[str] = []
        for word in text.split():
            count = len(self._tokens[word][0]) if word in self._tokens else 1
            words += [word] * (count + bool(words))
        return words

    def decode(self, ids: Sequence[int], unknowns: Sequence[str] = ()) -> str:
        return SPACE.join(self._choose(self._spoken(ids)))

    def reached(self, ids: Sequence[int]) -> list[int]:
        """A word's letters are shared out evenly among its phonemes."""
        words = iter(self._choose(self._spoken(ids)))
        space = self._ids[SPACE]
        reached, end = [], 0
        for blank, group in groupby(map(int, ids), lambda i: i == space):
            count = len(list(group))
            if blank:
                length = int(end > 0)  # several in a row are one
                reached += [end + length] * count
            else:
                length = len(next(words))
                reached += [end + length * i // count for i in range(1, count + 1)]
            end += length
        return reached

    def unknown_characters(self, text: str) -> set[str]:
        return set(text.split()) - self._tokens.keys()

    def save(self, folder: str | Path, side: Side = "target") -> None:
        lexicon = {word: [SPACE.join(way) for way in ways] for word, ways in self.lexicon.items()}
        content = {"kind": self.kind, "units": self.pieces[len(SPECIALS) :], "lexicon": lexicon}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"
        vocabulary_path(folder, side, "json").write_text(text, encoding="utf-8")
        vocabulary_path(folder, side, "model").unlink(missing_ok=True)

    def _of(self, way: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(self._ids[phoneme] for phoneme in way)

    def _spoken(self, ids: Sequence[int]) -> list[tuple[int, ...]]:
        """The phonemes of each word."""
        written = [i for i in map(int, ids) if i >= UNK]
        space = self._ids[SPACE]
        return [tuple(g) for blank, g in groupby(written, lambda i: i == space) if not blank]

    def _choose(self, spoken: list[tuple[int, ...]]) -> list[str]:
        alternatives = [self._words.get(way) or [self._by_sound(way)] for way in spoken]
        if self.choose is None or all(len(words) == 1 for words in alternatives):
            return [words[0] for words in alternatives]
        return self.choose(alternatives)

    def _by_sound(self, way: tuple[int, ...]) -> str:
        return "".join(_LETTERS.get(self.pieces[i], self.pieces[i]) for i in way)


def read_lexicon(path: Path) -> dict[str, list[tuple[str, ...]]]:
    """Pronunciations from a file whose lines are a word, a tab, and its phonemes. A word may have
    several lines.

    Raises:
        TextError: the file cannot be read, a line is no such thing, or there is none.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(
            path, "this lexicon cannot be read", "Name a UTF-8 file as text.lexicon"
        ) from error
    lexicon: dict[str, list[tuple[str, ...]]] = {}
    for number, line in enumerate(lines, start=1):
        word, tab, phonemes = line.partition("\t")
        if not tab or not word.strip() or SPACE in word or not phonemes.split():
            raise TextError(
                f"{path}:{number}",
                f"expected a word, a tab and its phonemes, found {line!r}",
                "Write for example: cat, tab, k ae t",
            )
        lexicon.setdefault(word, []).append(tuple(phonemes.split()))
    if not lexicon:
        raise TextError(path, "it holds no word", "Give a word a line")
    return lexicon
