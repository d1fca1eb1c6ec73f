"""Error rates of parts of a set: of each speaker, and of short and long references."""

from collections.abc import Iterable
from dataclasses import dataclass

from asr_s2s.evaluate.error_rate import Counts, ErrorRates, UtteranceErrors, total

LENGTHS = ((0, 0), (1, 5), (6, 10), (11, 20), (21, None))
"""Fewest and most words of the references that are counted together."""


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
        if self.longest is None:
            return f"{self.shortest}+"
        if self.longest == self.shortest:
            return str(self.shortest)
        return f"{self.shortest}-{self.longest}"


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
    """The parts of `LENGTHS` that hold an utterance, by the length of the normalised reference."""
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
