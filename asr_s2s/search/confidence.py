"""Confidence: the probability that a word is right.

The decoder's probabilities are not calibrated: label smoothing lowers them, and beam search selects
outputs that the decoder overrates. A logistic regression on a few of them, fitted on development
data (`asr-s2s calibrate`), calibrates them (Platt, 1999).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Evidence(NamedTuple):
    """Natural log-probabilities from which the confidence of a word is computed."""

    mean: float
    """Mean of the word's tokens by the decoder."""
    lowest: float
    """Minimum of the word's tokens by the decoder."""
    ctc: float
    """Mean of the word's tokens by CTC, in the frames that they are aligned with."""
    utterance: float
    """Mean of all tokens of the utterance by the decoder."""


def confidence(evidence: Evidence, weights: Sequence[float]) -> float:
    """Return the probability that a word is right.

    Args:
        weights: `search.confidence`: the constant, then one weight per field of the evidence. If
            empty, the result is the decoder's geometric mean probability per token.
    """
    if not weights:
        return math.exp(evidence.mean)
    constant, *slopes = weights
    logit = constant + sum(w * x for w, x in zip(slopes, evidence, strict=True))
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, logit))))
