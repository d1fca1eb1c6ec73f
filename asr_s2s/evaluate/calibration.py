"""Calibration: fits word confidences to the probability of being correct."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from asr_s2s.errors import UserError
from asr_s2s.search.confidence import Evidence, confidence

BINS = 10
"""Number of bins of equal width in which confidence is compared with the share of right words."""
FEWEST = 5
"""Minimum number of right words, and of wrong words, for a fit."""


class JudgedWord(NamedTuple):
    """A recognized word, and whether it is right."""

    evidence: Evidence
    confidence: float
    """Confidence before calibration."""
    right: bool
    group: str
    """Speaker or recording. Words of one group are correlated, and stay together in
    cross-validation."""


def fit_confidence(words: Sequence[JudgedWord], where: str) -> tuple[float, ...]:
    """Fit the weights of `confidence` by maximum likelihood.

    Logistic regression on standardized evidence with a unit L2 penalty on the slopes, which avoids
    overconfidence if there are few errors.

    Args:
        words: words of development data.
        where: origin of the words, for error messages.

    Raises:
        UserError: fewer than `FEWEST` words are right, or wrong.
    """
    outcomes = np.array([word.right for word in words], np.float64)
    smaller = int(min(outcomes.sum(), len(outcomes) - outcomes.sum()))
    if smaller < FEWEST:
        raise UserError(
            where,
            f"of {len(outcomes)} words, {smaller} are "
            + ("wrong" if outcomes.mean() > 0.5 else "right")
            + f"; calibration needs at least {FEWEST}",
            "Use more, or more difficult, recordings",
        )
    scaler = StandardScaler()
    values = scaler.fit_transform(np.array([word.evidence for word in words], np.float64))
    fitted = LogisticRegression().fit(values, outcomes)
    slopes = fitted.coef_[0] / scaler.scale_
    return (float(fitted.intercept_[0] - slopes @ scaler.mean_), *map(float, slopes))


def cross_validated(words: Sequence[JudgedWord], where: str) -> list[float]:
    """Confidence of each word under a fit on the other half of the groups.

    Raises:
        UserError: as `fit_confidence`, for either half.
    """
    groups = sorted({word.group for word in words})
    half = set(groups[::2])
    fits = {
        side: fit_confidence([w for w in words if (w.group in half) != side], f"half of {where}")
        for side in (True, False)
    }
    return [confidence(word.evidence, fits[word.group in half]) for word in words]


def calibration_error(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error (Naeini et al., 2015): absolute difference between the mean
    confidence and the share of right words in a bin, averaged over words."""
    values, outcomes = np.array(confidences, np.float64), np.array(right, np.float64)
    if not len(values):
        return 0.0
    bins = np.minimum((values * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, values - outcomes, minlength=BINS)
    return float(np.abs(gaps).sum() / len(values))
