"""Subword tokenizer based on sentencepiece."""

import io
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from asr_s2s.config import SourceTextConfig, TextConfig
from asr_s2s.errors import TextError
from asr_s2s.text.tokenizer import (
    BLANK,
    BOS,
    EOS,
    SPECIALS,
    UNK,
    Side,
    Tokenizer,
    vocabulary_path,
)

_WORD_BEGINNING = "\u2581"
_SEGMENTATIONS = 16
"""Number of segmentations of a word that sampling draws from."""
_CACHED_WORDS = 100_000
"""Maximum number of words whose segmentations are cached. Without spaces, as in Chinese, each
sentence counts as a word."""
_MIN_COVERAGE = 0.98  # minimum that sentencepiece accepts
_MAX_LINE_BYTES = 1_000_000  # sentencepiece skips longer lines; its default is 4,192


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

    def sample(self, text: str, power: float, rng: np.random.Generator) -> list[int]:
        # Pieces do not cross spaces, so words are segmented independently. The sampling of
        # sentencepiece itself is not used because its random state cannot be set per sentence.
        ids: list[int] = []
        words = text.split(" ")
        for word, draw in zip(words, rng.random(len(words)), strict=True):
            if word not in self._segmentations:
                if len(self._segmentations) == _CACHED_WORDS:
                    self._segmentations.clear()
                self._segmentations[word] = self._segment(word)
            segmentations, scores = self._segmentations[word]
            weights = np.exp(power * (np.array(scores) - max(scores)))
            cumulative = weights.cumsum()
            ids += segmentations[int(cumulative.searchsorted(draw * cumulative[-1]))]
        return ids

    def _segment(self, word: str) -> tuple[list[list[int]], list[float]]:
        """Return the most probable segmentations of a word and their log-probabilities."""
        found = self._processor.nbest_encode(word, nbest_size=_SEGMENTATIONS, out_type=int)
        return found, [sum(map(self._processor.get_score, ids)) for ids in found]

    def surfaces(self, text: str) -> list[str]:
        pieces = self._processor.encode(text, out_type=str)  # keeps unknown characters
        return [piece.removeprefix(_WORD_BEGINNING) for piece in pieces]

    def decode(self, ids: Sequence[int], unknowns: Sequence[str] = ()) -> str:
        if unknowns:
            return "".join(self._texts(ids, unknowns)).replace(_WORD_BEGINNING, " ").strip()
        text: str = self._processor.decode([int(i) for i in ids if i >= len(SPECIALS)])
        return text

    def unknown_characters(self, text: str) -> set[str]:
        return set(text) - self._characters

    def extended(self, units: Sequence[str]) -> "SentencePieceTokenizer":
        """Return the vocabulary with more characters, each a piece of its own."""
        lowest = min(self._processor.get_score(i) for i in range(len(SPECIALS), len(self)))
        return SentencePieceTokenizer(
            self._model + b"".join(_serialize_piece(unit, lowest) for unit in units)
        )

    def save(self, folder: str | Path, side: Side = "target") -> None:
        vocabulary_path(folder, side, "model").write_bytes(self._model)
        vocabulary_path(folder, side, "json").unlink(missing_ok=True)


def _serialize_piece(text: str, score: float) -> bytes:
    """Serialize a piece as an element of `pieces`, field 1 of sentencepiece's ModelProto. Protocol
    buffers append the elements of a repeated field if serialized messages are joined.

    Args:
        text: one character, so that lengths fit one byte.
        score: log-probability.
    """
    encoded = text.encode()
    fields = b"\x0a" + bytes([len(encoded)]) + encoded + b"\x15" + struct.pack("<f", score)
    return b"\x0a" + bytes([len(fields)]) + fields


def train_sentencepiece(
    config: TextConfig | SourceTextConfig, lines: list[str], section: str
) -> Tokenizer:
    """Train a sentencepiece vocabulary on normalized lines.

    Args:
        config: settings of the vocabulary.
        lines: normalized training text.
        section: section of the configuration that errors name.

    Raises:
        TextError: the vocabulary size does not fit the text, or the coverage is too low.
    """
    size, key = config.vocabulary_size, f"{section}.vocabulary_size"
    if config.character_coverage < _MIN_COVERAGE:
        raise TextError(
            f"{section}.character_coverage",
            f"expected a number from {_MIN_COVERAGE} to 1, found {config.character_coverage}",
            "Use for example 0.9995",
        )
    characters = _covering(lines, config.character_coverage)
    # The word-boundary mark is a separate piece that replaces the space.
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
        hard_vocab_limit=False,  # so that our error can state the maximum size
        character_coverage=config.character_coverage,
        byte_fallback=False,
        normalization_rule_name="identity",  # the lines are normalized already
        pad_id=BLANK,
        bos_id=BOS,
        eos_id=EOS,
        unk_id=UNK,
        pad_piece=SPECIALS[BLANK],
        bos_piece=SPECIALS[BOS],
        eos_piece=SPECIALS[EOS],
        unk_piece=SPECIALS[UNK],
        max_sentence_length=_MAX_LINE_BYTES,
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
    """Return the most frequent characters that make up this fraction of the text."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(f" {line}")  # sentencepiece adds a word boundary at the start of a line
    remaining, characters = coverage * counts.total(), set[str]()
    for character, count in counts.most_common():
        if remaining <= 0:
            break
        characters.add(character)
        remaining -= count
    return characters
