"""Text to token ids and back, by character, by subword or by word.

All vocabularies begin with the same four specials, which the attention decoder and CTC share;
the units follow. Text is expected as its normaliser leaves it.
"""

import io
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import sentencepiece

from asr_s2s.config import SourceTextConfig, TextConfig
from asr_s2s.errors import ModelError, TextError
from asr_s2s.text.normalize import normalizer
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
_WORD_BEGINNING = "\u2581"
_SEGMENTATIONS = 16
"""Segmentations of a word that sampling draws from."""
_REMEMBERED_WORDS = 100_000
"""Words whose segmentations are kept: without blanks, as in Chinese, each sentence is a word."""
_LEAST_COVERAGE = 0.98  # what sentencepiece takes
_LONGEST_LINE = 1_000_000  # bytes; sentencepiece skips longer lines, from 4,192 unless told


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

    @abstractmethod
    def unknown_characters(self, text: str) -> set[str]:
        """Characters of `text` (words, in a vocabulary of words) that no piece can spell."""

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
        _path(folder, side, "json").write_text(text, encoding="utf-8")
        _path(folder, side, "model").unlink(missing_ok=True)


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
    """One token per word as blanks part them: words of tokenised text, or phonemes."""

    kind = "words"
    separator = " "

    def surfaces(self, text: str) -> list[str]:
        return text.split()

    def words(self, text: str) -> list[str]:
        return self.surfaces(text)


class SentencePieceTokenizer(Tokenizer):
    """Subwords of a sentencepiece model (Kudo and Richardson, 2018).

    Args:
        model: content of a sentencepiece model file whose first pieces are `SPECIALS`.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.pieces = [self._processor.id_to_piece(i) for i in range(len(self._processor))]
        letters = "".join(self.pieces[len(SPECIALS) :]).replace(_WORD_BEGINNING, " ")
        self._characters = set(letters) | {" "}
        self._segmentations: dict[str, tuple[list[list[int]], list[float]]] = {}

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._processor.encode(text)
        return ids

    def sample(self, text: str, power: float, chance: np.random.Generator) -> list[int]:
        # Pieces do not cross blanks, so words are segmented independently. Not sentencepiece's own
        # sampling: its source of chance cannot be set for each sentence.
        ids: list[int] = []
        words = text.split(" ")
        for word, place in zip(words, chance.random(len(words)), strict=True):
            if word not in self._segmentations:
                if len(self._segmentations) == _REMEMBERED_WORDS:
                    self._segmentations.clear()
                self._segmentations[word] = self._segment(word)
            segmentations, scores = self._segmentations[word]
            weights = np.exp(power * (np.array(scores) - max(scores)))
            cumulative = weights.cumsum()
            ids += segmentations[int(cumulative.searchsorted(place * cumulative[-1]))]
        return ids

    def _segment(self, word: str) -> tuple[list[list[int]], list[float]]:
        """The most probable segmentations of a word, and their log-probabilities."""
        found = self._processor.nbest_encode(word, nbest_size=_SEGMENTATIONS, out_type=int)
        return found, [sum(map(self._processor.get_score, ids)) for ids in found]

    def surfaces(self, text: str) -> list[str]:
        pieces = self._processor.encode(text, out_type=str)  # unknown characters as they are
        return [piece.removeprefix(_WORD_BEGINNING) for piece in pieces]

    def decode(self, ids: Sequence[int], unknowns: Sequence[str] = ()) -> str:
        if unknowns:
            return "".join(self._written(ids, unknowns)).replace(_WORD_BEGINNING, " ").strip()
        text: str = self._processor.decode([int(i) for i in ids if i >= len(SPECIALS)])
        return text

    def unknown_characters(self, text: str) -> set[str]:
        return set(text) - self._characters

    def save(self, folder: str | Path, side: Side = "target") -> None:
        _path(folder, side, "model").write_bytes(self._model)
        _path(folder, side, "json").unlink(missing_ok=True)


def train_tokenizer(
    config: TextConfig | SourceTextConfig, texts: Iterable[str], section: str = "text"
) -> Tokenizer:
    """Build the vocabulary of training texts; the texts are normalised here.

    Args:
        section: the configuration's section, to be named in errors.

    Raises:
        TextError: there is no text, or the vocabulary's size does not suit it.
    """
    normalize = normalizer(config.normalizer)
    lines = [line for line in map(normalize, texts) if line]
    if not lines:
        raise TextError(
            "data.train",
            "there is no text to build a vocabulary from",
            f"Check the texts, and whether {section}.normalizer {config.normalizer} suits them",
        )
    if config.tokenizer == "characters":
        return CharacterTokenizer(set().union(*lines))
    if config.tokenizer == "words":
        counts = Counter(word for line in lines for word in line.split())
        frequent = sorted(counts, key=lambda word: (-counts[word], word))
        return WordTokenizer(frequent[: max(1, config.vocabulary_size - len(SPECIALS))])
    return _train_sentencepiece(config, lines, section)


def _train_sentencepiece(
    config: TextConfig | SourceTextConfig, lines: list[str], section: str
) -> Tokenizer:
    size, key = config.vocabulary_size, f"{section}.vocabulary_size"
    if config.character_coverage < _LEAST_COVERAGE:
        raise TextError(
            f"{section}.character_coverage",
            f"expected a number from {_LEAST_COVERAGE} to 1, found {config.character_coverage}",
            "Use for example 0.9995",
        )
    characters = _covering(lines, config.character_coverage)
    # The word-boundary mark is a piece of its own, in place of the space.
    smallest = len(SPECIALS) + len(characters | {" "})
    if size < smallest:
        raise TextError(
            key,
            f"{size} is too small: the text has {len(characters)} different characters",
            f"Set it to {smallest} or more, or lower {section}.character_coverage",
        )
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=size,
        hard_vocab_limit=False,  # what the text can fill is named in our error, not guessed
        character_coverage=config.character_coverage,
        byte_fallback=False,
        normalization_rule_name="identity",  # our own normalisers did it
        pad_id=BLANK,
        bos_id=BOS,
        eos_id=EOS,
        unk_id=UNK,
        pad_piece=SPECIALS[BLANK],
        bos_piece=SPECIALS[BOS],
        eos_piece=SPECIALS[EOS],
        unk_piece=SPECIALS[UNK],
        max_sentence_length=_LONGEST_LINE,
        minloglevel=2,
    )
    tokenizer = SentencePieceTokenizer(model.getvalue())
    if len(tokenizer) < size:
        raise TextError(
            key,
            f"{size} is too large: the text yields {len(tokenizer)} pieces",
            f"Set it to {len(tokenizer)} or less, or set {section}.tokenizer to characters",
        )
    return tokenizer


def _covering(lines: list[str], coverage: float) -> set[str]:
    """The most frequent characters, as many as make up this part of the text."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(f" {line}")  # sentencepiece marks the beginning of a line as that of a word
    wanted, characters = coverage * counts.total(), set[str]()
    for character, times in counts.most_common():
        if wanted <= 0:
            break
        characters.add(character)
        wanted -= times
    return characters


def load_tokenizer(folder: str | Path, side: Side = "target") -> Tokenizer:
    """The vocabulary that `save` wrote into a model folder.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    units, subwords = _path(folder, side, "json"), _path(folder, side, "model")
    if units.is_file():
        try:
            content = json.loads(units.read_text(encoding="utf-8"))
            if content["kind"] == "words" and all(isinstance(u, str) for u in content["units"]):
                return WordTokenizer(content["units"])
            if content["kind"] == "characters" and all(len(u) == 1 for u in content["units"]):
                return CharacterTokenizer(content["units"])
        except (ValueError, KeyError, TypeError):
            pass
        raise _damaged(units)
    if subwords.is_file():
        try:
            tokenizer = SentencePieceTokenizer(subwords.read_bytes())
        except RuntimeError as error:
            raise _damaged(subwords) from error
        if tuple(tokenizer.pieces[: len(SPECIALS)]) != SPECIALS:
            raise _damaged(subwords)
        return tokenizer
    raise ModelError(
        folder,
        f"there is no {units.name} or {subwords.name} in it",
        "Name a model folder that asr-s2s train wrote",
    )


def _path(folder: str | Path, side: Side, suffix: str) -> Path:
    return Path(folder) / f"{_STEMS[side]}.{suffix}"


def _damaged(path: Path) -> ModelError:
    return ModelError(path, "this is not a vocabulary of asr_s2s", "Copy the model folder again")
