"""Breakdowns of a test set by speaker, reference length and fields of the manifest."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asr_s2s.errors import UserError
from asr_s2s.metrics.error_rate import Counts, ErrorRates, Utterance, UtteranceErrors, total

LENGTHS = ((0, 0), (1, 5), (6, 10), (11, 20), (21, None))
"""Bins of reference lengths: minimum and maximum number of words."""
DISTINCT = 10
"""Maximum number of distinct numbers of a field that form separate groups; more are binned."""
RANGES = 4
"""Number of bins for numeric fields, with about equally many utterances in each."""
ABSENT = "(none)"
"""Name of the group of utterances without a value."""

ALWAYS = ("language", "corpus")
"""Fields that scores are always broken down by if they have several values."""


@dataclass(frozen=True)
class Part:
    """Word errors of a subset of utterances."""

    words: Counts
    utterances: int
    """Number of utterances."""


@dataclass(frozen=True)
class SpeakerPart(Part):
    """Word errors of one speaker."""

    speaker: str | None
    """Name of the speaker; None for all utterances of unknown speakers."""


@dataclass(frozen=True)
class LengthPart(Part):
    """Word errors of utterances with references of similar length."""

    shortest: int
    """Minimum number of words."""
    longest: int | None
    """Maximum number of words; None if unlimited."""

    @property
    def name(self) -> str:
        """Name of the bin, such as "6-10" or "21+"."""
        return _length_name(self.shortest, self.longest)


@dataclass(frozen=True)
class ScorePart:
    """Scores of a subset of utterances."""

    name: str
    """Value of the field that its utterances have in common."""
    utterances: int
    """Number of utterances."""
    values: tuple[float, ...]
    """Values of the metrics."""


@dataclass(frozen=True)
class ScoreParts:
    """Scores of all parts of a breakdown."""

    parts: tuple[ScorePart, ...]

    @property
    def means(self) -> tuple[float, ...]:
        """Macro averages: mean of each metric over the parts, which count equally."""
        columns = zip(*(part.values for part in self.parts), strict=True)
        return tuple(math.fsum(column) / len(column) for column in columns)


def score_parts(
    utterances: Sequence[Utterance],
    fields: Sequence[str],
    measure: Callable[[Sequence[Utterance]], Sequence[float]],
) -> dict[str, ScoreParts]:
    """Break scores down by fields of the utterances, and by those in `ALWAYS`.

    Args:
        utterances: outputs with their references.
        fields: further fields.
        measure: computes the values of the metrics for some of the utterances.

    Raises:
        UserError: a field does not exist.
    """
    check_fields(utterances, fields)
    found = {}
    for name in dict.fromkeys((*ALWAYS, *fields)):
        groups = group_by_field([utterance.fields.get(name) for utterance in utterances])
        if len(groups) > 1 or name in fields:
            found[name] = ScoreParts(
                tuple(
                    ScorePart(value, len(rows), tuple(measure([utterances[i] for i in rows])))
                    for value, rows in groups.items()
                )
            )
    return found


def check_fields(
    utterances: Sequence[Utterance], fields: Sequence[str], computed: Sequence[str] = ()
) -> None:
    """Refuse fields that no utterance has.

    Args:
        utterances: outputs with their references.
        fields: fields to break scores down by.
        computed: names that are no fields of the references, but accepted.

    Raises:
        UserError: a field does not exist.
    """
    named = dict.fromkeys(name for u in utterances for name in u.fields)
    for name in fields:
        if name not in named and name not in computed:
            known = ", ".join(named) or "none"
            raise UserError(
                f"--by {name}",
                f"the references have no such field, only {known}",
                "Name one of them",
            )


def by_speaker(rates: ErrorRates) -> list[SpeakerPart]:
    """Break error rates down by speaker.

    Returns:
        Speakers by descending word error rate, unknown speakers last; empty if no speaker is known.
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
    """Break error rates down by the length of the normalized reference; empty bins are omitted."""
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
    """Group utterances by their numbers of reference words.

    Returns:
        Indices of the utterances in each bin of `LENGTHS`, by its name; empty bins are omitted.
    """
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
    """Group utterances by their values of a field.

    More than `DISTINCT` distinct numbers are binned in `RANGES` ranges, lowest first. Numbers may
    be given as text, as read from tables.

    Returns:
        Indices of the utterances with each value, most frequent value first, `ABSENT` last.
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
