"""Subword tokenizer based on sentencepiece."""

import io
import itertools
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from asr_s2s.config import SourceTextConfig, TextConfig
from asr_s2s.errors import TextError
from asr_s2s.text.case_marks import CASE_MARKS, apply_marks, mark_case, remove_marks
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
_BYTES = 256
_INVALID_BYTES = "\ufffd"
"""Sentencepiece's text for bytes that are not UTF-8, such as those of an unfinished character."""
_MIN_COVERAGE = 0.98  # minimum that sentencepiece accepts
_MAX_LINE_BYTES = 1_000_000  # sentencepiece skips longer lines; its default is 4,192


class SentencePieceTokenizer(Tokenizer):
    """Subwords of a sentencepiece model (Kudo and Richardson, 2018).

    A model with the case marks as its first pieces reads and writes text with marked capitals
    (`case_marks.py`). In a model with byte pieces, unknown characters become their UTF-8 bytes.

    Args:
        model: content of a sentencepiece model file whose first pieces are `SPECIALS`.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.pieces = [self._processor.id_to_piece(i) for i in range(len(self._processor))]
        self._bytes = {
            i: int(piece[1:-1], 16)
            for i, piece in enumerate(self.pieces)
            if self._processor.is_byte(i)
        }
        self.spells_all_text = len(self._bytes) == _BYTES
        self._marks_case = tuple(self.pieces[len(SPECIALS) :][: len(CASE_MARKS)]) == CASE_MARKS
        texts = [piece for i, piece in enumerate(self.pieces) if i not in self._bytes]
        letters = "".join(texts[len(SPECIALS) :]).replace(_WORD_BEGINNING, " ")
        self._characters = set(letters) | {" "}
        self._segmentations: dict[str, tuple[list[list[int]], list[float]]] = {}

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._processor.encode(self._marked(text))
        return ids

    def _marked(self, text: str) -> str:
        """Mark the capitals of a text or word, if the model has case marks. The space that begins a
        text is then added here, as sentencepiece would add it before the first mark."""
        return mark_case(f" {text}") if self._marks_case and text else text

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
        marked = self._marked(word)
        found = self._processor.nbest_encode(marked, nbest_size=_SEGMENTATIONS, out_type=int)
        return found, [sum(map(self._processor.get_score, ids)) for ids in found]

    def surfaces(self, text: str) -> list[str]:
        text = remove_marks(text) if self._marks_case else text
        marked, surfaces, started = self._marked(text), list[str](), bytearray()
        pieces = self._processor.encode(marked, out_type=str)  # keeps unknown characters
        for index, piece in zip(self._processor.encode(marked), pieces, strict=True):
            if index in self._bytes:  # the last byte represents the character
                started.append(self._bytes[index])
                piece = _decoded(started)
                if piece:
                    started.clear()
            surfaces.append(remove_marks(piece) if self._marks_case else piece)
        if self._marks_case:
            ends = [0, *itertools.accumulate(map(len, surfaces))]
            surfaces = [f" {text}"[begin:end] for begin, end in itertools.pairwise(ends)]
        return [surface.removeprefix(_WORD_BEGINNING).removeprefix(" ") for surface in surfaces]

    def decode(self, ids: Sequence[int], unknowns: Sequence[str] = ()) -> str:
        if unknowns:
            text = "".join(self._texts(ids, unknowns)).replace(_WORD_BEGINNING, " ").strip()
        else:
            text = self._processor.decode([int(i) for i in ids if i >= len(SPECIALS)])
        if self._bytes:
            text = text.replace(_INVALID_BYTES, "")
        return apply_marks(text).removeprefix(" ") if self._marks_case else text

    def labels(self, ids: Sequence[int]) -> list[str]:
        if not self._marks_case and not self._bytes:
            return super().labels(ids)
        # Capitals instead of their marks, and characters instead of their last byte.
        text, ends = self.decode(ids), [0, *self.offsets(ids)]
        return [
            self.pieces[index] if index < len(SPECIALS) else self._label(index, text[begin:end])
            for index, (begin, end) in zip(ids, itertools.pairwise(ends), strict=True)
        ]

    def _label(self, index: int, surface: str) -> str:
        begins = self.pieces[index].startswith(_WORD_BEGINNING)
        return (_WORD_BEGINNING if begins else "") + surface.removeprefix(" ")

    def unknown_characters(self, text: str) -> set[str]:
        if self.spells_all_text:
            return set()
        return {letter for letter in set(text) if not set(self._marked(letter)) <= self._characters}

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
    symbols = CASE_MARKS if config.case_marks else ()
    if config.case_marks:
        lines = [mark_case(f" {line}") for line in lines]
    characters = _covering(lines, config.character_coverage) - {*symbols}
    # The word-boundary mark is a separate piece that replaces the space.
    smallest = len(SPECIALS) + len(symbols) + len(characters | {" "})
    smallest += _BYTES if config.byte_fallback else 0
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
        byte_fallback=config.byte_fallback,
        split_digits=config.split_digits,
        user_defined_symbols=[*symbols],
        add_dummy_prefix=not config.case_marks,  # which is the space that marked lines begin with
        remove_extra_whitespaces=not config.case_marks,
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


def _decoded(content: bytearray) -> str:
    """Return the character that UTF-8 bytes stand for, or nothing if they are not complete."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return ""


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
