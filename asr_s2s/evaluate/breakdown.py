"""Parts of a set: error rates of each speaker, and of short and long references; and which
utterances have the same length, or the same value of a field of the manifest."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asr_s2s.evaluate.error_rate import Counts, ErrorRates, UtteranceErrors, total

LENGTHS = ((0, 0), (1, 5), (6, 10), (11, 20), (21, None))
"""Fewest and most words of the references that are counted together."""
DISTINCT = 10
"""Numbers of a field that may stand each for itself; of more, ranges are made."""
RANGES = 4
"""Ranges of numbers, each of about as many utterances."""
ABSENT = "(none)"
"""Where a field has no value."""


@dataclass(frozen=True)
class Part:
    """Some utterances of a set."""

    words: Counts
    utterances: int


@dataclass(frozen=True)
class SpeakerPart(Part):
    """The utterances of one speaker."""

    speaker: str | None
    """None for all utterances of no known speaker."""


@dataclass(frozen=True)
class LengthPart(Part):
    """The utterances with references of about the same length."""

    shortest: int
    """Fewest words."""
    longest: int | None
    """Most words; None where there is no limit."""

    @property
    def name(self) -> str:
        """As in "6-10" or "21+"."""
        return _length_name(self.shortest, self.longest)


def by_speaker(rates: ErrorRates) -> list[SpeakerPart]:
    """Each speaker's part, that of the highest word error rate first; none without speakers.

    What was said by no known speaker comes last.
    """
    spoken: dict[str | None, list[UtteranceErrors]] = {}
    for utterance in rates.utterances:
        spoken.setdefault(utterance.speaker, []).append(utterance)
    if not spoken.keys() - {None}:
        return []
    parts = [
        SpeakerPart(_words(utterances), len(utterances), speaker)
        for speaker, utterances in spoken.items()
    ]
    return sorted(
        parts,
        key=lambda p: (p.speaker is None, -p.words.rate, -p.words.errors, p.speaker or ""),
    )


def by_length(rates: ErrorRates) -> list[LengthPart]:
    """The parts of `LENGTHS` that hold an utterance, by the length of the normalized reference."""
    parts = []
    for shortest, longest in LENGTHS:
        utterances = [
            utterance
            for utterance in rates.utterances
            if shortest <= utterance.words.reference
            and (longest is None or utterance.words.reference <= longest)
        ]
        if utterances:
            parts.append(LengthPart(_words(utterances), len(utterances), shortest, longest))
    return parts


def _words(utterances: Iterable[UtteranceErrors]) -> Counts:
    return total(utterance.words for utterance in utterances)


def group_by_length(words: Sequence[int]) -> dict[str, list[int]]:
    """Which utterances are in each part of `LENGTHS`, by their numbers of reference words; parts
    that hold none are left out."""
    groups = {
        _length_name(shortest, longest): [
            index
            for index, count in enumerate(words)
            if shortest <= count and (longest is None or count <= longest)
        ]
        for shortest, longest in LENGTHS
    }
    return {name: indices for name, indices in groups.items() if indices}


def group_by_field(values: Sequence[Any]) -> dict[str, list[int]]:
    """Which utterances have which value, that of most first, those without any last.

    More than `DISTINCT` different numbers are put together in `RANGES` ranges, lowest first.
    Tables hold numbers as text.
    """
    numbers = [_number(value) for value in values]
    present = {number for number in numbers if number is not None}
    absent = [index for index, value in enumerate(values) if value in (None, "")]
    all_numbers = sum(number is not None for number in numbers) + len(absent) == len(values)
    groups: dict[str, list[int]] = {}
    if all_numbers and len(present) > DISTINCT:
        known = sorted(number for number in numbers if number is not None)
        edges = np.quantile(known, np.arange(1, RANGES) / RANGES)
        ranges: list[list[int]] = [[] for _ in range(RANGES)]
        for index, number in enumerate(numbers):
            if number is not None:
                ranges[int(np.searchsorted(edges, number))].append(index)
        for indices in filter(None, ranges):
            own = [number for index in indices if (number := numbers[index]) is not None]
            groups[f"{min(own):.4g} to {max(own):.4g}"] = indices
    else:
        for index, value in enumerate(values):
            if value not in (None, ""):
                name = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                groups.setdefault(name, []).append(index)
        groups = dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))
    return {**groups, ABSENT: absent} if absent else groups


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _length_name(shortest: int, longest: int | None) -> str:
    if longest is None:
        return f"{shortest}+"
    return str(shortest) if longest == shortest else f"{shortest}-{longest}"
