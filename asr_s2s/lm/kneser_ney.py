"""Interpolated modified Kneser-Ney estimation (Chen and Goodman, 1998) over a model's tokens.

Follows KenLM's lmplz (Heafield et al., 2013), but works in memory.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr_s2s.errors import ConfigError, TextError
from asr_s2s.lm.ngram import Level
from asr_s2s.text.tokenizer import BLANK, BOS, EOS, Tokenizer

FALLBACK_DISCOUNTS = (0.0, 0.5, 1.0, 1.5)
"""Discounts for counts 0, 1, 2, and 3 or more if they cannot be estimated from counts of counts, as
for the few characters of an alphabet; as in lmplz --discount_fallback."""


class _Grams(NamedTuple):
    """The distinct n-grams of one order, sorted by prefix and last token."""

    prefix: NDArray[np.int32]
    """Row of the first n - 1 tokens among the n-grams of the next lower order."""
    suffix: NDArray[np.int32]
    """Row of the last n - 1 tokens, likewise."""
    token: NDArray[np.int32]
    """Last token."""
    occurrences: NDArray[np.int64]
    """Number of occurrences in the text."""
    starts_sentence: NDArray[np.bool_]
    """Whether the n-gram starts with BOS."""


def frequent_words(
    lines: Iterable[str], tokenizer: Tokenizer, normalize: Callable[[str], str], most: int
) -> list[str]:
    """Return the `most` most frequent words within the tokenizer's characters, by frequency.

    Raises:
        TextError: there are no such words.
    """
    counts = Counter(word for line in lines for word in normalize(line).split())
    common = (word for word, _ in counts.most_common())
    words = [word for word in common if not tokenizer.unknown_characters(word)][:most]
    if not words:
        raise TextError("text", "it contains no word that the model can output", "Give other files")
    return words


def encode_lines(
    lines: Iterable[str], tokenizer: Tokenizer, normalize: Callable[[str], str]
) -> NDArray[np.int32]:
    """Concatenate the token ids of all lines, each between BOS and EOS, in the most likely
    segmentation. Blank lines are skipped.

    Raises:
        TextError: there is no text.
    """
    parts = []
    for line in lines:
        tokens = tokenizer.encode(normalize(line))
        if tokens:
            parts.append(np.array([BOS, *tokens, EOS], np.int32))
    if not parts:
        raise TextError("text", "it contains no sentences", "Give other text files")
    return np.concatenate(parts)


def estimate(
    text: NDArray[np.int32], vocabulary: int, order: int, prune: Sequence[int] = ()
) -> list[Level]:
    """Estimate the levels of an n-gram model.

    Every token except BLANK and BOS has a unigram, so that the probabilities of all possible next
    tokens sum to 1 after any context.

    Args:
        text: token ids from `encode_lines`.
        order: length of the longest n-grams.
        prune: count threshold per order, non-decreasing; n-grams with at most this count are
            removed. The last value applies to all higher orders. Discounts are estimated before
            pruning; the mass of pruned n-grams goes to back-off.

    Raises:
        ConfigError: `order` or `prune` is invalid.
    """
    thresholds = check_order(order, prune)
    grams = _count(text, vocabulary, order)
    levels: list[Level] = []
    shorter = np.full(1, 1 / (vocabulary - 2))  # order 0: uniform
    shorter_kept = np.ones(1, bool)
    for n, level in enumerate(grams, start=1):
        counts = level.occurrences if n == order else _continuations(level, grams[n])
        if n == 1:
            counts[[BLANK, BOS]] = 0  # never predicted
        kept = level.occurrences > thresholds[n - 1] if n > 1 else np.ones(vocabulary, bool)
        discounted = np.where(
            kept & (counts > 0), counts - _discounts(counts)[counts.clip(max=3)], 0.0
        )
        # Back-off mass: the part of a context's counts, pruned ones included, that no n-gram takes.
        totals = np.bincount(level.prefix, counts, len(shorter))
        backoffs = 1 - np.bincount(level.prefix, discounted, len(shorter)) / totals.clip(min=1)
        discounted /= totals.clip(min=1)[level.prefix]
        probabilities = discounted + backoffs[level.prefix] * shorter[level.suffix]
        if n == 1:
            probabilities[[BLANK, BOS]] = np.nan
        else:
            logs = np.log(backoffs[shorter_kept]).astype(np.float32)
            levels[-1] = levels[-1]._replace(backoff=logs)
        rows = np.cumsum(shorter_kept) - 1
        levels.append(
            Level(
                rows[level.prefix[kept]],
                level.token[kept].astype(np.int64),
                np.log(probabilities[kept]).astype(np.float32),
                np.zeros(int(kept.sum()), np.float32),
            )
        )
        shorter, shorter_kept = probabilities, kept
    return levels


def check_order(order: int, prune: Sequence[int]) -> list[int]:
    """Return the pruning threshold of each order.

    Raises:
        ConfigError: `order` or `prune` is invalid.
    """
    if order < 1:
        raise ConfigError("--order", f"expected at least 1, found {order}", "Use for example 4")
    given = list(prune) or [0]
    thresholds = (given + [given[-1]] * order)[:order]
    if len(given) > order or thresholds != sorted(thresholds) or thresholds[0] != 0:
        raise ConfigError(
            "--prune",
            f"{' '.join(map(str, given))}: expected 0 for order 1, and non-decreasing values "
            f"for at most {order} orders",
            "Use for example 0,0,1,1",
        )
    return thresholds


def _count(text: NDArray[np.int32], vocabulary: int, order: int) -> list[_Grams]:
    """Count the n-grams of each order; order 1 includes tokens that do not occur."""
    tokens = np.arange(vocabulary, dtype=np.int32)
    zeros = np.zeros_like(tokens)
    counts = np.bincount(text, minlength=vocabulary)
    grams = [_Grams(zeros, zeros, tokens, counts, tokens == BOS)]
    rows = text  # row of the n-gram that starts at each position
    positions = np.arange(len(text), dtype=np.int32)  # positions at which n-grams start
    for n in range(2, order + 1):
        positions = positions[text[positions + n - 2] != EOS]
        keys = rows[positions].astype(np.int64) * vocabulary + text[positions + n - 1]
        by_key = keys.argsort()
        keys = keys[by_key]
        is_first = np.append(True, keys[1:] != keys[:-1])
        firsts = np.flatnonzero(is_first)
        found = positions[by_key[firsts]]  # one position of each distinct n-gram
        prefix, suffix = rows[found], rows[found + 1]
        counts = np.diff(np.append(firsts, len(keys)))
        starts = grams[-1].starts_sentence[prefix]
        grams.append(_Grams(prefix, suffix, text[found + n - 1], counts, starts))
        rows = np.zeros_like(text)
        rows[positions[by_key]] = np.cumsum(is_first, dtype=np.int32) - 1
    return grams


def _continuations(level: _Grams, longer: _Grams) -> NDArray[np.int64]:
    """Return Kneser-Ney counts of lower orders: the number of distinct preceding tokens, or the
    number of occurrences for n-grams that start with BOS, which nothing precedes."""
    preceding = np.bincount(longer.suffix, minlength=len(level.occurrences))
    return np.where(level.starts_sentence, level.occurrences, preceding)


def _discounts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the discounts of counts 0, 1, 2, and 3 or more."""
    t1, t2, t3, t4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if min(t1, t2, t3, t4) > 0:
        y = t1 / (t1 + 2 * t2)
        found = np.array([0, 1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3])
        if np.all(found[1:] > 0):
            return found
    return np.array(FALLBACK_DISCOUNTS)
