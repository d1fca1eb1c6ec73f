"""Confidence intervals of error rates, and significance tests of the difference of two systems.

Intervals use the bootstrap of Bisani and Ney (2004): samples as large as the test set are drawn
from it with replacement, and an interval contains the rates of 95 % of them. Two systems are
compared on the same samples (paired bootstrap), so that the difficulty of utterances cancels out;
the probability of improvement is the share of samples in which the system has the lower rate. For
the p-value, the sampled differences are shifted to a mean of 0, which gives their distribution
for two equally good systems (Noreen, 1989).

Utterances of one speaker are correlated; drawing them independently would make intervals too
narrow. With at least two known speakers, speakers are drawn instead, each with all of their
utterances (blockwise bootstrap, Liu and Peng, 2020); utterances of unknown speakers are drawn
individually.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr_s2s.errors import UserError
from asr_s2s.metrics.error_rate import ErrorRates

SAMPLES = 10_000
"""Number of bootstrap samples, as in Bisani and Ney."""
EXCHANGES = 1000
"""Number of random exchanges of outputs."""
SEED = 12345
"""Random seed; the default of sacrebleu."""
LEVEL = 0.95
"""Confidence level of intervals."""
FEW = 20
"""Number of speakers or utterances below which intervals are clearly too narrow."""
CELLS = 2**20
"""Maximum number of draws held in memory at once."""


class Interval(NamedTuple):
    """Confidence interval of a rate or of a difference of rates."""

    low: float
    high: float


@dataclass(frozen=True)
class Resampling:
    """Units and samples of a bootstrap."""

    samples: int
    """Number of bootstrap samples."""
    seed: int
    """Random seed."""
    speakers: int
    """Number of speakers, drawn with all of their utterances; 0 if fewer than two are known."""
    utterances: int
    """Number of utterances that are drawn individually."""

    @property
    def few(self) -> bool:
        """Whether there are fewer than `FEW` units, which makes intervals too narrow."""
        return self.speakers + self.utterances < FEW


@dataclass(frozen=True)
class Confidence:
    """95 % confidence intervals of error rates (1.0 is 100 %).

    None if there are no errors, as resampling cannot estimate the probability of unseen errors.
    """

    words: Interval | None
    characters: Interval | None
    sentences: Interval | None
    resampling: Resampling


@dataclass(frozen=True)
class Difference:
    """Difference of two systems in one rate (1.0 is 100 %)."""

    system: float
    """Error rate of the system."""
    baseline: float
    """Error rate of the baseline."""
    interval: Interval
    """95 % confidence interval of the difference."""
    improvement: float
    """Probability of improvement: share of samples with a lower rate than the baseline."""
    worsening: float
    """Share of samples with a higher rate; in the rest, both rates are equal."""
    p_value: float
    """Two-sided p-value: probability of at least this difference between equally good systems."""

    @property
    def difference(self) -> float:
        """Rate of the system minus rate of the baseline; negative if the system is better."""
        return 0.0 if self.system == self.baseline else self.system - self.baseline


@dataclass(frozen=True)
class Comparison:
    """Differences of a system from a baseline on the same references."""

    words: Difference
    characters: Difference
    sentences: Difference
    resampling: Resampling


def confidence(rates: ErrorRates, *, samples: int = SAMPLES, seed: int = SEED) -> Confidence | None:
    """Confidence intervals of error rates.

    Args:
        rates: error rates of a test set.
        samples: number of bootstrap samples.
        seed: random seed.

    Returns:
        The intervals, or None if there are fewer than two utterances.
    """
    if len(rates.utterances) < 2:
        return None
    units, resampling = _units(rates, samples, seed)
    measured = _rates_of_samples(_totals(rates, units), resampling)
    words, characters, sentences = (
        interval(drawn) if errors else None
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
    """Compare a system with a baseline by the paired bootstrap.

    Args:
        rates: error rates of the system; its utterances provide the speakers.
        baseline: error rates of the baseline on the same utterances in the same order.
        samples: number of bootstrap samples.
        seed: random seed.

    Raises:
        UserError: there are fewer than two utterances.
    """
    ids = [[utterance.id for utterance in one.utterances] for one in (rates, baseline)]
    if ids[0] != ids[1]:
        raise ValueError("expected a system and a baseline on the same utterances")
    if len(rates.utterances) < 2:
        raise UserError(
            "the evaluated data",
            f"a comparison needs at least two utterances, found {len(rates.utterances)}",
            "Compare more utterances",
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


def sample_ratios(
    parts: Sequence[NDArray[np.float64]], *, samples: int = SAMPLES, seed: int = SEED
) -> list[NDArray[np.float64]]:
    """Compute ratios of sums over the outputs in bootstrap samples.

    Args:
        parts: numerator and denominator of each output, `(outputs, 2)`; several arrays about the
            same outputs are computed on the same samples.
        samples: number of bootstrap samples.
        seed: random seed.

    Returns:
        An array `(samples,)` for each of `parts`.
    """
    return _rates_of_samples(np.hstack(parts), Resampling(samples, seed, 0, len(parts[0])))


def exchange_p_value(
    baseline: Sequence[Sequence[Hashable]],
    system: Sequence[Sequence[Hashable]],
    *,
    samples: int = EXCHANGES,
    seed: int = SEED,
) -> float:
    """Test the difference of two systems in the share of distinct units, such as words.

    Outputs of the two systems are exchanged at random (approximate randomization; Noreen, 1989).
    The bootstrap does not apply, because an output that is drawn twice adds no distinct units.

    Args:
        baseline: units of each output of the baseline.
        system: units of each output of the system.
        samples: number of random exchanges.
        seed: random seed.

    Returns:
        Two-sided p-value: probability of at least this difference between equally good systems.
    """
    numbers: dict[Hashable, int] = {}
    sides = []
    for outputs in (baseline, system):
        units = [numbers.setdefault(unit, len(numbers)) for units in outputs for unit in units]
        owners = np.repeat(np.arange(len(outputs)), [len(units) for units in outputs])
        sides.append((np.array(units, np.int64), owners))

    def difference(exchanged: NDArray[np.bool_]) -> float:
        shares = []
        for flip in (exchanged, ~exchanged):
            chosen = [units[flip[owners] == bool(i)] for i, (units, owners) in enumerate(sides)]
            drawn = np.concatenate(chosen)
            shares.append(np.count_nonzero(np.bincount(drawn)) / max(1, len(drawn)))
        return shares[0] - shares[1]

    random = np.random.default_rng(seed)
    real = abs(difference(np.zeros(len(system), bool)))
    chance = [abs(difference(random.random(len(system)) < 0.5)) for _ in range(samples)]
    # The test set itself counts as a sample, so that no p-value is 0.
    return (sum(one >= real - 1e-12 for one in chance) + 1) / (samples + 1)


def _units(rates: ErrorRates, samples: int, seed: int) -> tuple[NDArray[np.intp], Resampling]:
    """Index of the unit that each utterance is drawn with: its speaker, or itself."""
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
    """Errors and lengths of each unit `(units, 6)`, for words, characters and sentences."""
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
    """Error rates of each bootstrap sample.

    Args:
        totals: errors and lengths in alternating columns, `(units, 2 * rates)`.
        resampling: number of samples and seed.

    Returns:
        An array `(samples,)` for each rate.
    """
    random = np.random.default_rng(resampling.seed)
    units, columns = totals.shape
    sums = np.empty((resampling.samples, columns))
    step = max(1, CELLS // units)
    for start in range(0, resampling.samples, step):
        rows = min(step, resampling.samples - start)
        drawn = random.integers(units, size=(rows, units))
        drawn += units * np.arange(rows)[:, None]  # separate counters for each sample
        times = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        sums[start : start + rows] = times @ totals
    rates = []
    for errors, lengths in zip(sums.T[::2], sums.T[1::2], strict=True):
        # As `Counts.rate`: a sample may have no reference words.
        empty = np.where(errors > 0, np.inf, 0.0)
        rates.append(np.divide(errors, lengths, out=empty, where=lengths > 0))
    return rates


def _difference(
    system: float,
    baseline: float,
    drawn_system: NDArray[np.float64],
    drawn_baseline: NDArray[np.float64],
) -> Difference:
    """Difference from the rates on the test set and on the samples, `(samples,)`."""
    differences = _differences(drawn_system, drawn_baseline)
    return Difference(
        system=system,
        baseline=baseline,
        interval=interval(differences),
        improvement=float(np.mean(drawn_system < drawn_baseline)),
        worsening=float(np.mean(drawn_system > drawn_baseline)),
        p_value=1.0 if system == baseline else p_value(system - baseline, differences),
    )


def p_value(real: float, differences: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of a difference, given those in bootstrap samples, `(samples,)`:
    the probability of at least this difference between equally good systems."""
    finite = differences[np.isfinite(differences)]
    chance = np.abs(differences - (finite.mean() if finite.size else 0.0))
    # The test set itself counts as a sample, so that no p-value is 0 (as in sacrebleu).
    return float((np.sum(chance >= abs(real)) + 1) / (len(differences) + 1))


def _differences(system: NDArray[np.float64], baseline: NDArray[np.float64]) -> NDArray[np.float64]:
    # The difference of two infinite rates is 0.
    return np.subtract(system, baseline, out=np.zeros_like(system), where=system != baseline)


def interval(values: NDArray[np.float64]) -> Interval:
    """Return the 95 % interval of the values in bootstrap samples, `(samples,)`."""
    # Quantiles without interpolation, as values may be infinite.
    ordered = np.sort(values)
    left_out = int(len(ordered) * (1 - LEVEL) / 2 + 1e-9)
    return Interval(float(ordered[left_out]), float(ordered[-1 - left_out]))
