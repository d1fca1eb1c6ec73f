"""Static linear interpolation of two n-gram models (Jelinek and Mercer, 1980), as SRILM's
`ngram -mix-lm` does it (Stolcke, 2002)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr_s2s.lm.ngram import Level

Rows = NDArray[np.int64]


def interpolate(first: Sequence[Level], second: Sequence[Level], share: float) -> list[Level]:
    """Merge two models: the n-grams of both, with the weighted means of their probabilities.

    Interpolation lets a few transcripts carry weight beside much more text, whose counts would
    otherwise dominate. Each model backs off on its own in contexts that it lacks.

    Args:
        first: levels from `train.ngram.estimate`.
        second: likewise, of the same vocabulary and order.
        share: weight of the second model, from 0 to 1.
    """
    vocabulary = len(first[0].token)
    weights = np.array([1 - share, share])
    # State of the current order, at first of the empty n-gram: the merged rows of each model's
    # n-grams; the key (parent row x vocabulary + token) of each n-gram, the row of its suffix in
    # the next lower order, and its probability and back-off weight in both models.
    rows_of: list[Rows] = [np.zeros(1, np.int64)] * 2
    keys = suffixes = np.zeros(1, np.int64)
    probabilities, backoffs = np.zeros((2, 1)), np.zeros((2, 1))
    levels: list[Level] = []
    for n, both in enumerate(zip(first, second, strict=True), start=1):
        found = [
            rows[level.parent] * vocabulary + level.token
            for rows, level in zip(rows_of, both, strict=True)
        ]
        shorter_keys, keys = keys, np.union1d(*found)
        parent, token = keys // vocabulary, keys % vocabulary
        shorter_suffixes = suffixes
        suffixes = np.zeros_like(keys)
        if n > 1:
            suffixes = np.searchsorted(shorter_keys, shorter_suffixes[parent] * vocabulary + token)
        shorter_probabilities = probabilities[:, suffixes]
        probabilities = backoffs[:, parent] * shorter_probabilities
        rows_of = [np.searchsorted(keys, own) for own in found]
        backoffs = np.ones_like(probabilities)
        for model, (rows, level) in enumerate(zip(rows_of, both, strict=True)):
            probabilities[model, rows] = np.exp(np.nan_to_num(level.score, nan=-np.inf))
            backoffs[model, rows] = np.exp(level.backoff)
        mean = weights @ probabilities
        if n > 1:
            before = len(levels[-1].token)
            explicit = np.bincount(parent, mean, before)
            lower_order = np.bincount(parent, weights @ shorter_probabilities, before)
            backoff = (1 - explicit).clip(1e-9) / (1 - lower_order).clip(1e-9)
            levels[-1] = levels[-1]._replace(backoff=np.log(backoff).astype(np.float32))
        with np.errstate(divide="ignore"):
            scores = np.log(mean)
        scores[np.isneginf(scores)] = np.nan  # never predicted
        no_backoff = np.zeros(len(keys), np.float32)
        levels.append(Level(parent, token, scores.astype(np.float32), no_backoff))
    return levels
