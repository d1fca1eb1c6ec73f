"""How far error rates may be trusted: confidence intervals, and two systems compared.

The bootstrap of Bisani and Ney (2004): sets of utterances as large as the real one are drawn from
it with replacement, and an interval holds the rates of 95 % of them. Two systems are compared on
the same drawn sets, so that what is hard for both cancels out; the probability of improvement is
the share of the sets on which the system has the lower rate. The p-value asks how often chance
alone makes such a difference: the drawn differences, moved so that their mean is 0, are what two
systems that are equally good would show (Noreen, 1989).

Utterances of one speaker are alike, and drawn one by one they would make intervals too narrow.
Where at least two speakers are known, speakers are drawn instead, each with all of their
utterances (Liu and Peng, 2020, blockwise bootstrap); an utterance of no known speaker is drawn on
its own.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr_s2s.errors import UserError
from asr_s2s.evaluate.error_rate import ErrorRates

SAMPLES = 10_000
"""Sets drawn, as Bisani and Ney do."""
SEED = 12345
"""Of the draw; sacrebleu's."""
LEVEL = 0.95
"""Part of the drawn sets whose rates an interval holds."""
FEW = 20
"""With fewer speakers or utterances, intervals are clearly too narrow."""
CELLS = 2**20
"""Draws held in memory at once."""


class Interval(NamedTuple):
    """Where a rate, or a difference of rates, lies."""

    low: float
    high: float


@dataclass(frozen=True)
class Resampling:
    """What was drawn, and how often."""

    samples: int
    """Sets."""
    seed: int
    speakers: int
    """Drawn with all of their utterances."""
    utterances: int
    """Drawn on their own: all of them where fewer than two speakers are known."""

    @property
    def few(self) -> bool:
        """Whether too little was there to draw from for intervals that are wide enough."""
        return self.speakers + self.utterances < FEW


@dataclass(frozen=True)
class Confidence:
    """95 % confidence intervals of error rates (1.0 is 100 %).

    None where there was no error: drawing again cannot tell of errors that were never seen.
    """

    words: Interval | None
    characters: Interval | None
    sentences: Interval | None
    resampling: Resampling


@dataclass(frozen=True)
class Difference:
    """Two systems compared by one rate (1.0 is 100 %)."""

    system: float
    baseline: float
    interval: Interval
    """95 % confidence interval of the difference."""
    improvement: float
    """Probability of improvement: share of the drawn sets with fewer errors than the baseline's."""
    worsening: float
    """Share with more; on the rest, both are equally good."""
    p_value: float
    """Chance of at least this difference, of either sign, between systems that are equally good."""

    @property
    def difference(self) -> float:
        """By how much the system's rate is above the baseline's: below 0, it is better."""
        return 0.0 if self.system == self.baseline else self.system - self.baseline


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline on the same references."""

    words: Difference
    characters: Difference
    sentences: Difference
    resampling: Resampling


def confidence(rates: ErrorRates, *, samples: int = SAMPLES, seed: int = SEED) -> Confidence | None:
    """How far the rates may be from those of the same kind of speech without end.

    Returns:
        None for fewer than two utterances, which have nothing to tell of others.
    """
    if len(rates.utterances) < 2:
        return None
    units, resampling = _units(rates, samples, seed)
    measured = _rates_of_samples(_totals(rates, units), resampling)
    words, characters, sentences = (
        _interval(drawn) if errors else None
        for drawn, errors in zip(
            measured,
            (rates.words.errors, rates.characters.errors, rates.words.errors),
            strict=True,
        )
    )
    return Confidence(words, characters, sentences, resampling)


def compare_error_rates(
    rates: ErrorRates, baseline: ErrorRates, *, samples: int = SAMPLES, seed: int = SEED
) -> Comparison:
    """The paired bootstrap of a system against a baseline.

    Args:
        rates: of the system; its utterances say who spoke.
        baseline: of the other system, on the same utterances in the same order.

    Raises:
        UserError: there are fewer than two utterances.
    """
    ids = [[utterance.id for utterance in one.utterances] for one in (rates, baseline)]
    if ids[0] != ids[1]:
        raise ValueError("expected a system and a baseline on the same utterances")
    if len(rates.utterances) < 2:
        raise UserError(
            "the evaluated data",
            f"a comparison needs two utterances at least, found {len(rates.utterances)}",
            "Compare more",
        )
    units, resampling = _units(rates, samples, seed)
    totals = np.hstack([_totals(rates, units), _totals(baseline, units)])
    drawn = _rates_of_samples(totals, resampling)
    real = [
        (one.word_error_rate, one.character_error_rate, one.sentence_error_rate)
        for one in (rates, baseline)
    ]
    words, characters, sentences = (
        _difference(real[0][i], real[1][i], drawn[i], drawn[3 + i]) for i in range(3)
    )
    return Comparison(words, characters, sentences, resampling)


def _units(rates: ErrorRates, samples: int, seed: int) -> tuple[NDArray[np.intp], Resampling]:
    """For each utterance the number of what it is drawn with: its speaker, or itself."""
    speakers = [utterance.speaker for utterance in rates.utterances]
    by_speaker = len(set(speakers) - {None}) > 1
    numbers: dict[Hashable, int] = {}
    alone = 0
    units = []
    for i, speaker in enumerate(speakers):
        if by_speaker and speaker is not None:
            units.append(numbers.setdefault(speaker, len(numbers)))
        else:
            units.append(numbers.setdefault(i, len(numbers)))
            alone += 1
    return np.array(units), Resampling(samples, seed, len(numbers) - alone, alone)


def _totals(rates: ErrorRates, units: NDArray[np.intp]) -> NDArray[np.float64]:
    """Errors and lengths of each unit: (units, 6), for words, characters and sentences."""
    columns = np.array(
        [
            [
                *(u.words.errors, u.words.reference),
                *(u.characters.errors, u.characters.reference),
                *(u.words.errors > 0, 1),
            ]
            for u in rates.utterances
        ],
        np.float64,
    )
    totals = np.zeros((units.max() + 1, columns.shape[1]))
    np.add.at(totals, units, columns)
    return totals


def _rates_of_samples(
    totals: NDArray[np.float64], resampling: Resampling
) -> list[NDArray[np.float64]]:
    """The error rates of each drawn set.

    Args:
        totals: (units, 2 x rates), errors and length in turn.

    Returns:
        An array (samples,) for each rate.
    """
    random = np.random.default_rng(resampling.seed)
    units, columns = totals.shape
    sums = np.empty((resampling.samples, columns))
    step = max(1, CELLS // units)
    for start in range(0, resampling.samples, step):
        rows = min(step, resampling.samples - start)
        drawn = random.integers(units, size=(rows, units))
        drawn += units * np.arange(rows)[:, None]  # each set counts in cells of its own
        times = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        sums[start : start + rows] = times @ totals
    rates = []
    for errors, lengths in zip(sums.T[::2], sums.T[1::2], strict=True):
        # As `Counts.rate`: a set may be without a reference word.
        empty = np.where(errors > 0, np.inf, 0.0)
        rates.append(np.divide(errors, lengths, out=empty, where=lengths > 0))
    return rates


def _difference(
    system: float,
    baseline: float,
    drawn_system: NDArray[np.float64],
    drawn_baseline: NDArray[np.float64],
) -> Difference:
    """From the real rates and those of the drawn sets, `(samples,)`."""
    differences = _differences(drawn_system, drawn_baseline)
    return Difference(
        system=system,
        baseline=baseline,
        interval=_interval(differences),
        improvement=float(np.mean(drawn_system < drawn_baseline)),
        worsening=float(np.mean(drawn_system > drawn_baseline)),
        p_value=1.0 if system == baseline else _p_value(system - baseline, differences),
    )


def _p_value(real: float, differences: NDArray[np.float64]) -> float:
    finite = differences[np.isfinite(differences)]
    chance = np.abs(differences - (finite.mean() if finite.size else 0.0))
    # The real set is one of those that may be drawn: no p-value is 0 (as in sacrebleu).
    return float((np.sum(chance >= abs(real)) + 1) / (len(differences) + 1))


def _differences(system: NDArray[np.float64], baseline: NDArray[np.float64]) -> NDArray[np.float64]:
    # Two infinite rates do not differ.
    return np.subtract(system, baseline, out=np.zeros_like(system), where=system != baseline)


def _interval(values: NDArray[np.float64]) -> Interval:
    # Values as they came, not between two of them: one may be infinite.
    ordered = np.sort(values)
    left_out = int(len(ordered) * (1 - LEVEL) / 2 + 1e-9)
    return Interval(float(ordered[left_out]), float(ordered[-1 - left_out]))
