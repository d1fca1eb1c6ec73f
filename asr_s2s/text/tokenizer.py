"""Text to token ids and back, by character or by subword.

All vocabularies begin with the same four specials, which the attention decoder and CTC share;
the units follow. Text is expected as its normaliser leaves it.
"""

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from asr_s2s.config import TextConfig
from asr_s2s.errors import ModelError, TextError
from asr_s2s.text.normalize import normalizer

BLANK = 0
"""CTC's blank; elsewhere padding."""
BOS = 1
"""Begins the decoder's input."""
EOS = 2
"""Ends an output."""
UNK = 3
"""A character that training did not see."""
SPECIALS = ("<blank>", "<s>", "</s>", "<unk>")

_CHARACTERS_FILE = "tokenizer.json"
_SENTENCEPIECE_FILE = "tokenizer.model"
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

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids. Specials are skipped."""

    @abstractmethod
    def unknown_characters(self, text: str) -> set[str]:
        """Characters of `text` that no piece can spell."""

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write the vocabulary into a model folder, in place of any that is there."""


class CharacterTokenizer(Tokenizer):
    """One token per character; the space is one of them.

    Args:
        characters: the units. Repeats are dropped, and ids follow Unicode order, so the same
            text always gives the same vocabulary.
    """

    def __init__(self, characters: Iterable[str]) -> None:
        units = sorted(set(characters))
        self.pieces = [*SPECIALS, *units]
        self._ids = {unit: index for index, unit in enumerate(units, start=len(SPECIALS))}

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(character, UNK) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.pieces[i] for i in ids if i >= len(SPECIALS))

    def unknown_characters(self, text: str) -> set[str]:
        return set(text) - self._ids.keys()

    def save(self, folder: str | Path) -> None:
        content = {"kind": "characters", "units": self.pieces[len(SPECIALS) :]}
        text = json.dumps(content, ensure_ascii=False) + "\n"
        (Path(folder) / _CHARACTERS_FILE).write_text(text, encoding="utf-8")
        (Path(folder) / _SENTENCEPIECE_FILE).unlink(missing_ok=True)


class SentencePieceTokenizer(Tokenizer):
    """Subwords of a sentencepiece model (Kudo and Richardson, 2018).

    Args:
        model: content of a sentencepiece model file whose first pieces are `SPECIALS`.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.pieces = [self._processor.id_to_piece(i) for i in range(len(self._processor))]
        self._characters = set("".join(self.pieces[len(SPECIALS) :]).replace("\u2581", " ")) | {" "}

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._processor.encode(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._processor.decode([int(i) for i in ids if i >= len(SPECIALS)])
        return text

    def unknown_characters(self, text: str) -> set[str]:
        return set(text) - self._characters

    def save(self, folder: str | Path) -> None:
        (Path(folder) / _SENTENCEPIECE_FILE).write_bytes(self._model)
        (Path(folder) / _CHARACTERS_FILE).unlink(missing_ok=True)


def train_tokenizer(config: TextConfig, texts: Iterable[str]) -> Tokenizer:
    """Build the vocabulary of training texts; the texts are normalised here.

    Raises:
        TextError: there is no text, or `text.vocabulary_size` does not suit it.
    """
    normalize = normalizer(config.normalizer)
    lines = [line for line in map(normalize, texts) if line]
    if not lines:
        raise TextError(
            "data.train",
            "there is no text to build a vocabulary from",
            f"Check the transcripts, and whether text.normalizer {config.normalizer} suits them",
        )
    characters = set().union(*lines)
    if config.tokenizer == "characters":
        return CharacterTokenizer(characters)
    return _train_sentencepiece(config.vocabulary_size, lines, characters)


def _train_sentencepiece(size: int, lines: list[str], characters: set[str]) -> Tokenizer:
    # The word-boundary mark is a piece of its own, in place of the space.
    smallest = len(SPECIALS) + len(characters | {" "})
    if size < smallest:
        raise TextError(
            "text.vocabulary_size",
            f"{size} is too small: the text has {len(characters)} different characters",
            f"Set it to {smallest} or more",
        )
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=size,
        hard_vocab_limit=False,  # what the text can fill is named in our error, not guessed
        character_coverage=1.0,
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
            "text.vocabulary_size",
            f"{size} is too large: the text yields {len(tokenizer)} pieces",
            f"Set it to {len(tokenizer)} or less, or set text.tokenizer to characters",
        )
    return tokenizer


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The vocabulary that `save` wrote into a model folder.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    characters, subwords = Path(folder) / _CHARACTERS_FILE, Path(folder) / _SENTENCEPIECE_FILE
    if characters.is_file():
        try:
            units = json.loads(characters.read_text(encoding="utf-8"))["units"]
            if all(len(unit) == 1 for unit in units):
                return CharacterTokenizer(units)
        except (ValueError, KeyError, TypeError):
            pass
        raise _damaged(characters)
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
        f"there is no {_CHARACTERS_FILE} or {_SENTENCEPIECE_FILE} in it",
        "Name a model folder that asr-s2s train wrote",
    )


def _damaged(path: Path) -> ModelError:
    return ModelError(path, "this is not a vocabulary of asr_s2s", "Copy the model folder again")
