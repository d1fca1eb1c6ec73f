"""One n-gram model of two: linear interpolation (Jelinek and Mercer, 1980), done once and for all
as by SRILM's `ngram -mix-lm` (Stolcke, 2002)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr_s2s.model.ngram import Level

Rows = NDArray[np.int64]


def interpolate(first: Sequence[Level], second: Sequence[Level], share: float) -> list[Level]:
    """A model that has the n-grams of both, each with the weighted mean of what both give it.

    A few transcripts beside much text would drown in its counts; so they keep a share of all
    probabilities, and a model of their own where a context is none of theirs.

    Args:
        first: from `train.ngram.estimate`.
        second: likewise, of the same vocabulary and order.
        share: weight of the second, from 0 to 1.
    """
    vocabulary = len(first[0].token)
    weights = np.array([1 - share, share])
    # Of the n-grams of one order, at the outset the empty one: each model's rows among them, the
    # row of each one's suffix among those shorter by one, what both models give it, their back-off
    # weights after it.
    places: list[Rows] = [np.zeros(1, np.int64)] * 2
    keys = suffixes = np.zeros(1, np.int64)
    chances, backoffs = np.zeros((2, 1)), np.zeros((2, 1))
    levels: list[Level] = []
    for n, both in enumerate(zip(first, second, strict=True), start=1):
        found = [
            rows[level.parent] * vocabulary + level.token
            for rows, level in zip(places, both, strict=True)
        ]
        shorter_keys, keys = keys, np.union1d(*found)
        parent, token = keys // vocabulary, keys % vocabulary
        shorter_suffixes = suffixes
        suffixes = np.zeros_like(keys)
        if n > 1:
            suffixes = np.searchsorted(shorter_keys, shorter_suffixes[parent] * vocabulary + token)
        shorter_chances = chances[:, suffixes]
        chances = backoffs[:, parent] * shorter_chances
        places = [np.searchsorted(keys, own) for own in found]
        backoffs = np.ones_like(chances)
        for model, (rows, level) in enumerate(zip(places, both, strict=True)):
            chances[model, rows] = np.exp(np.nan_to_num(level.score, nan=-np.inf))
            backoffs[model, rows] = np.exp(level.backoff)
        mean = weights @ chances
        if n > 1:
            before = len(levels[-1].token)
            taken = np.bincount(parent, mean, before)
            passed_over = np.bincount(parent, weights @ shorter_chances, before)
            left = (1 - taken).clip(1e-9) / (1 - passed_over).clip(1e-9)
            levels[-1] = levels[-1]._replace(backoff=np.log(left).astype(np.float32))
        with np.errstate(divide="ignore"):
            scores = np.log(mean)
        scores[np.isneginf(scores)] = np.nan  # never predicted
        nothing = np.zeros(len(keys), np.float32)
        levels.append(Level(parent, token, scores.astype(np.float32), nothing))
    return levels
