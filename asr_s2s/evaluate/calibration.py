"""Confidences that mean what they say: fitted to what was right, and how far they are off."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from asr_s2s.errors import UserError
from asr_s2s.search.confidence import Evidence, confidence

BINS = 10
"""Equal parts of 0 to 1 in which confidence is compared with the share that is right."""
FEWEST = 5
"""Right words, and wrong ones, that a fit needs."""


class JudgedWord(NamedTuple):
    """A word that a model wrote, and whether it was right."""

    evidence: Evidence
    confidence: float
    """As the model had it."""
    right: bool
    group: str
    """Speaker or recording; words of one group are alike."""


def fit_confidence(words: Sequence[JudgedWord], where: str) -> tuple[float, ...]:
    """The weights of `confidence` under which what was right is likeliest.

    Logistic regression on standardized evidence, with a unit penalty on its squared slopes: few
    errors must not make it sure.

    Args:
        words: of development data.
        where: what they are from, to name in an error.

    Raises:
        UserError: too few words are right, or too few wrong, to tell them apart.
    """
    outcomes = np.array([word.right for word in words], np.float64)
    fewest = int(min(outcomes.sum(), len(outcomes) - outcomes.sum()))
    if fewest < FEWEST:
        raise UserError(
            where,
            f"of {len(outcomes)} words, {fewest} are "
            + ("wrong" if outcomes.mean() > 0.5 else "right")
            + f"; calibration needs {FEWEST} at least",
            "Give more, or harder, recordings",
        )
    scaler = StandardScaler()
    values = scaler.fit_transform(np.array([word.evidence for word in words], np.float64))
    fitted = LogisticRegression().fit(values, outcomes)
    slopes = fitted.coef_[0] / scaler.scale_
    return (float(fitted.intercept_[0] - slopes @ scaler.mean_), *map(float, slopes))


def cross_validated(words: Sequence[JudgedWord], where: str) -> list[float]:
    """The confidence of each word by a fit to the other half of the groups.

    Raises:
        UserError: as `fit_confidence`, of a half.
    """
    groups = sorted({word.group for word in words})
    half = set(groups[::2])
    fits = {
        side: fit_confidence([w for w in words if (w.group in half) != side], f"half of {where}")
        for side in (True, False)
    }
    return [confidence(word.evidence, fits[word.group in half]) for word in words]


def calibration_error(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """The expected calibration error (Naeini et al., 2015): by how much confidence and the share
    that is right differ in a bin, the mean over the words."""
    given, outcomes = np.array(confidences, np.float64), np.array(right, np.float64)
    if not len(given):
        return 0.0
    bins = np.minimum((given * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, given - outcomes, minlength=BINS)
    return float(np.abs(gaps).sum() / len(given))
