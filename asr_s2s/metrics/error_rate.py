"""Word, character and sentence error rates with their alignments.

Rates are computed over a whole test set: all errors divided by all reference words or characters,
not the mean over utterances. Characters include the spaces between words. Alignments are jiwer's
(Levenshtein distance, all errors of equal cost).

An utterance may have several references, such as the pronunciations of a word; the closest counts.
With phonemes as words, the word error rate is the phoneme error rate, and the sentence error rate
is the share of wrong words.
"""

import itertools
import math
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jiwer
from rich.cells import cell_len

from asr_s2s import __version__
from asr_s2s.text.normalize import normalizer as find_normalizer

Operation = Literal["equal", "substitute", "delete", "insert"]
Pair = tuple[Operation, str, str]
"""Operation, reference word (empty for insertions), hypothesis word (empty for deletions)."""


@dataclass(frozen=True)
class Utterance:
    """Reference and hypothesis of an utterance or sentence."""

    id: str
    reference: str
    hypothesis: str
    alternatives: tuple[str, ...] = ()
    """Further references that are equally correct."""
    source: str | None = None
    """Source text of a translation, if known."""
    speaker: str | None = None
    """Name of the speaker, if known."""
    recording: Path | None = None
    """Audio file, if known."""
    start: float = 0.0
    """Start within the recording in seconds."""
    duration: float | None = None
    """Duration in seconds; None for the rest of the recording."""
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further fields of the reference file by name."""
    log_prob: float | None = None
    """Natural log-probability of the reference by the model, if known."""
    tokens: int = 0
    """Tokens of the reference that `log_prob` is the sum over, including the end token."""


@dataclass(frozen=True)
class Counts:
    """Counts of alignment operations, in words or in characters."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def reference(self) -> int:
        """Length of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        """Total number of errors."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors divided by the length of the reference; may exceed 1.

        For an empty reference, 0 without insertions, otherwise infinite.
        """
        if self.reference:
            return self.errors / self.reference
        return math.inf if self.errors else 0.0


@dataclass(frozen=True)
class UtteranceErrors:
    """Errors of one utterance."""

    id: str
    reference: str
    """Normalized reference; the closest of several."""
    hypothesis: str
    """Normalized hypothesis."""
    words: Counts
    characters: Counts
    pairs: tuple[Pair, ...]
    """Word alignment."""
    speaker: str | None = None

    def alignment(self, width: int = 100) -> str:
        """Format the alignment: reference, hypothesis, and S, D or I under each error.

        Args:
            width: maximum number of terminal columns; longer alignments continue in further blocks.
        """
        blocks: list[tuple[str, str, str]] = [("REF:", "HYP:", "    ")]
        for operation, reference, hypothesis in self.pairs:
            size = max(cell_len(reference), cell_len(hypothesis))
            reference = _pad(reference or "*" * size, size)
            hypothesis = _pad(hypothesis or "*" * size, size)
            if cell_len(blocks[-1][0]) + 1 + size > width and blocks[-1][0] != "REF:":
                blocks.append(("REF:", "HYP:", "    "))
            above, below, under = blocks[-1]
            blocks[-1] = (
                f"{above} {reference}",
                f"{below} {hypothesis}",
                f"{under} {_MARKS[operation]:<{size}}",
            )
        return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks)


@dataclass(frozen=True)
class ErrorRates:
    """Error rates of a set of utterances."""

    words: Counts
    characters: Counts
    utterances: tuple[UtteranceErrors, ...]
    normalizer: str
    several_references: bool = False
    """Whether any utterance has several references."""

    @property
    def word_error_rate(self) -> float:
        """Word error rate as a fraction (1.0 is 100 %)."""
        return self.words.rate

    @property
    def character_error_rate(self) -> float:
        """Character error rate as a fraction (1.0 is 100 %)."""
        return self.characters.rate

    @property
    def sentence_error_rate(self) -> float:
        """Fraction of utterances with at least one word error."""
        if not self.utterances:
            return 0.0
        return sum(u.words.errors > 0 for u in self.utterances) / len(self.utterances)

    @property
    def signature(self) -> str:
        """Everything needed to reproduce the score, in the format of sacrebleu's signatures.

        `case` and `punctuation` describe the normalizer: `case:mixed` and `punctuation:kept` leave
        texts unchanged; `punctuation:apostrophes` removes all other punctuation.
        """
        normalize = find_normalizer(self.normalizer)
        fields = {
            "normalizer": self.normalizer,
            "case": _case(normalize),
            "punctuation": _punctuation(normalize),
            **({"references": "closest"} if self.several_references else {}),
            "jiwer": version("jiwer"),
            "asr-s2s": __version__,
        }
        return "|".join(f"{name}:{value}" for name, value in fields.items())

    def worst(self, count: int) -> list[UtteranceErrors]:
        """Utterances with the most word errors; ties are ordered by descending error rate."""
        wrong = [utterance for utterance in self.utterances if utterance.words.errors]
        return sorted(wrong, key=lambda u: (-u.words.errors, -u.words.rate))[:count]

    @cached_property
    def _pairs(self) -> Counter[Pair]:
        return Counter(pair for utterance in self.utterances for pair in utterance.pairs)

    def most_frequent(
        self, operation: Literal["substitute", "delete", "insert"], count: int | None = None
    ) -> list[tuple[str, str, int]]:
        """Errors of one kind, most frequent first.

        Args:
            operation: kind of error.
            count: maximum number of errors; None for all.

        Returns:
            `(reference word, hypothesis word, frequency)`. The hypothesis word of a deletion and
            the reference word of an insertion are empty.
        """
        found = [
            (reference, hypothesis, times)
            for (kind, reference, hypothesis), times in self._pairs.items()
            if kind == operation
        ]
        return sorted(found, key=lambda row: (-row[2], row[0], row[1]))[:count]


def score(pairs: Sequence[Utterance], normalizer: str = "verbatim") -> ErrorRates:
    """Error rates of hypotheses against their references.

    Of several references, the one with the fewest word errors counts, for words and for
    characters. Ties are resolved by the larger number of words (the lower rate), then by order.

    Args:
        pairs: utterances; with an empty reference, every hypothesis word is an insertion.
        normalizer: name of the normalizer (`asr_s2s.text.normalize`) applied to both sides.

    Raises:
        TextError: the normalizer does not exist.
    """
    normalize = find_normalizer(normalizer)
    if not pairs:
        return ErrorRates(Counts(), Counts(), (), normalizer)
    hypotheses = [_single_spaced(normalize(pair.hypothesis)) for pair in pairs]
    accepted = [
        [_single_spaced(normalize(text)) for text in (pair.reference, *pair.alternatives)]
        for pair in pairs
    ]
    references, word_alignments = _closest(accepted, hypotheses)
    characters = jiwer.process_characters(references, hypotheses)
    utterances = tuple(
        UtteranceErrors(
            id=pair.id,
            reference=reference,
            hypothesis=hypothesis,
            words=_count(word_chunks),
            characters=_count(character_chunks),
            pairs=tuple(_align(reference.split(), hypothesis.split(), word_chunks)),
            speaker=pair.speaker,
        )
        for pair, reference, hypothesis, word_chunks, character_chunks in zip(
            pairs, references, hypotheses, word_alignments, characters.alignments, strict=True
        )
    )
    return ErrorRates(
        words=total(utterance.words for utterance in utterances),
        characters=total(utterance.characters for utterance in utterances),
        utterances=utterances,
        normalizer=normalizer,
        several_references=any(pair.alternatives for pair in pairs),
    )


def total(counts: Iterable[Counts]) -> Counts:
    """Sum of counts."""
    counts = list(counts)
    return Counts(
        hits=sum(c.hits for c in counts),
        substitutions=sum(c.substitutions for c in counts),
        deletions=sum(c.deletions for c in counts),
        insertions=sum(c.insertions for c in counts),
    )


_MARKS: dict[Operation, str] = {"equal": "", "substitute": "S", "delete": "D", "insert": "I"}


def _closest(
    accepted: Sequence[Sequence[str]], hypotheses: Sequence[str]
) -> tuple[list[str], list[Sequence[jiwer.AlignmentChunk]]]:
    """The closest reference of each hypothesis, and their word alignment."""
    aligned = jiwer.process_words(
        [reference for several in accepted for reference in several],
        [text for text, several in zip(hypotheses, accepted, strict=True) for _ in several],
    )
    alignments = iter(aligned.alignments)

    def rank(candidate: tuple[str, Sequence[jiwer.AlignmentChunk]]) -> tuple[int, int]:
        counts = _count(candidate[1])
        return counts.errors, -counts.reference

    # `min` returns the first of equal candidates.
    chosen = [
        min(zip(several, itertools.islice(alignments, len(several)), strict=True), key=rank)
        for several in accepted
    ]
    return [reference for reference, _ in chosen], [chunks for _, chunks in chosen]


def _count(chunks: Sequence[jiwer.AlignmentChunk]) -> Counts:
    lengths: Counter[str] = Counter()
    for chunk in chunks:
        lengths[chunk.type] += max(
            chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
        )
    return Counts(lengths["equal"], lengths["substitute"], lengths["delete"], lengths["insert"])


def _align(
    reference: list[str], hypothesis: list[str], chunks: Sequence[jiwer.AlignmentChunk]
) -> Iterable[Pair]:
    for chunk in chunks:
        expected = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        found = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        # A deletion has no hypothesis words and an insertion no reference words.
        length = max(len(expected), len(found))
        expected += [""] * (length - len(expected))
        found += [""] * (length - len(found))
        for pair in zip(expected, found, strict=True):
            yield (chunk.type, *pair)


# Normalizers are probed, so that the signature stays correct when one of them changes.


def _case(normalize: Callable[[str], str]) -> str:
    text = normalize("Aa")
    return "lower" if text == text.lower() else "upper" if text == text.upper() else "mixed"


def _punctuation(normalize: Callable[[str], str]) -> str:
    kept = "".join(mark for mark in string.punctuation if mark in normalize(f"a{mark}a"))
    names = {string.punctuation: "kept", "": "removed", "'": "apostrophes"}
    return names.get(kept, f"only {kept}")


def _single_spaced(text: str) -> str:
    return " ".join(text.split())


def _pad(text: str, size: int) -> str:
    return text + " " * (size - cell_len(text))
