"""How likely it is that a word is right.

A decoder's own probabilities are no measure of that: label smoothing holds them down, and what the
search chose is what the decoder overrates. A logistic regression on a few of them, fitted on
development data (`asr-s2s calibrate`), makes them one (Platt, 1999).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Evidence(NamedTuple):
    """What speaks for a word; natural log-probabilities."""

    mean: float
    """Of its tokens by the decoder, the mean."""
    lowest: float
    """Of its tokens by the decoder, the lowest."""
    ctc: float
    """Of its tokens by CTC in the frames where they are aligned, the mean."""
    utterance: float
    """Of all tokens of the utterance by the decoder, the mean."""


def confidence(evidence: Evidence, weights: Sequence[float]) -> float:
    """The probability that a word is right.

    Args:
        weights: `search.confidence`: the constant, and a weight for each part of the evidence. With
            none, the decoder's probability is all there is.
    """
    if not weights:
        return math.exp(evidence.mean)
    constant, *slopes = weights
    logit = constant + sum(w * x for w, x in zip(slopes, evidence, strict=True))
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, logit))))
