"""Interpolated modified Kneser-Ney estimation (Chen and Goodman, 1998), as KenLM's lmplz does it
(Heafield et al., 2013), in memory and over the tokens of a model."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr_s2s.errors import ConfigError, TextError
from asr_s2s.model.ngram import Level
from asr_s2s.text.tokenizer import BLANK, BOS, EOS, Tokenizer

FALLBACK_DISCOUNTS = (0.0, 0.5, 1.0, 1.5)
"""Discounts of counts 0, 1, 2 and 3 or more where counts of counts give none, as for the few
characters of an alphabet; those of lmplz --discount_fallback."""


class _Grams(NamedTuple):
    """The distinct n-grams of one order, sorted by prefix and last token."""

    prefix: NDArray[np.int32]
    """Row of the first n - 1 tokens among the shorter n-grams."""
    suffix: NDArray[np.int32]
    """Row of the last n - 1 tokens."""
    token: NDArray[np.int32]
    """The last one."""
    times: NDArray[np.int64]
    """How often it occurs."""
    begins: NDArray[np.bool_]
    """Whether it begins a sentence, with BOS."""


def frequent_words(
    lines: Iterable[str], tokenizer: Tokenizer, normalize: Callable[[str], str], most: int
) -> list[str]:
    """The `most` most frequent words that the tokenizer can spell, the most frequent
    first.

    Raises:
        TextError: there are none.
    """
    counts = Counter(word for line in lines for word in normalize(line).split())
    common = (word for word, _ in counts.most_common())
    words = [word for word in common if not tokenizer.unknown_characters(word)][:most]
    if not words:
        raise TextError("text", "it holds no word that the model can write", "Name other files")
    return words


def encode_lines(
    lines: Iterable[str], tokenizer: Tokenizer, normalize: Callable[[str], str]
) -> NDArray[np.int32]:
    """All sentences in a row, each between BOS and EOS, in their best segmentation. Lines without
    text are passed over.

    Raises:
        TextError: there is no text.
    """
    parts = []
    for line in lines:
        tokens = tokenizer.encode(normalize(line))
        if tokens:
            parts.append(np.array([BOS, *tokens, EOS], np.int32))
    if not parts:
        raise TextError("text", "it holds no sentence", "Name other files of text")
    return np.concatenate(parts)


def estimate(
    text: NDArray[np.int32], vocabulary: int, order: int, prune: Sequence[int] = ()
) -> list[Level]:
    """The levels of an n-gram model of a text.

    Every token but BLANK and BOS has a unigram, so that probabilities of what a model may write
    sum to 1 after any context.

    Args:
        text: from `encode_lines`.
        order: the longest n-grams.
        prune: for each order, n-grams that occur no more often than this are left out; the last
            value holds for all higher orders, and no value is below the one before it. Discounts
            are those of the whole text, and what is left out goes to backing off.

    Raises:
        ConfigError: order or prune make no sense.
    """
    thresholds = check_order(order, prune)
    grams = _count(text, vocabulary, order)
    levels: list[Level] = []
    shorter = np.full(1, 1 / (vocabulary - 2))  # below the unigrams, all tokens are alike
    kept_before = np.ones(1, bool)
    for n, level in enumerate(grams, start=1):
        counts = level.times if n == order else _continuations(level, grams[n])
        if n == 1:
            counts[[BLANK, BOS]] = 0  # never predicted
        kept = level.times > thresholds[n - 1] if n > 1 else np.ones(vocabulary, bool)
        taken = np.where(kept & (counts > 0), counts - _discounts(counts)[counts.clip(max=3)], 0.0)
        # What no longer n-gram takes of its context's counts, pruned ones included, backs off.
        totals = np.bincount(level.prefix, counts, len(shorter))
        backoffs = 1 - np.bincount(level.prefix, taken, len(shorter)) / totals.clip(min=1)
        taken /= totals.clip(min=1)[level.prefix]
        probabilities = taken + backoffs[level.prefix] * shorter[level.suffix]
        if n == 1:
            probabilities[[BLANK, BOS]] = np.nan
        else:
            logs = np.log(backoffs[kept_before]).astype(np.float32)
            levels[-1] = levels[-1]._replace(backoff=logs)
        rows = np.cumsum(kept_before) - 1
        levels.append(
            Level(
                rows[level.prefix[kept]],
                level.token[kept].astype(np.int64),
                np.log(probabilities[kept]).astype(np.float32),
                np.zeros(int(kept.sum()), np.float32),
            )
        )
        shorter, kept_before = probabilities, kept
    return levels


def check_order(order: int, prune: Sequence[int]) -> list[int]:
    """The threshold of each order.

    Raises:
        ConfigError: order or prune make no sense.
    """
    if order < 1:
        raise ConfigError("--order", f"expected at least 1, found {order}", "Use for example 4")
    given = list(prune) or [0]
    thresholds = (given + [given[-1]] * order)[:order]
    if len(given) > order or thresholds != sorted(thresholds) or thresholds[0] != 0:
        raise ConfigError(
            "--prune",
            f"{' '.join(map(str, given))}: expected 0 for single tokens, and for each higher "
            f"order up to {order} no less than before",
            "Write for example 0,0,1,1",
        )
    return thresholds


def _count(text: NDArray[np.int32], vocabulary: int, order: int) -> list[_Grams]:
    """The n-grams of each order; those of order 1 are all tokens, seen or not."""
    tokens = np.arange(vocabulary, dtype=np.int32)
    zeros = np.zeros_like(tokens)
    counts = np.bincount(text, minlength=vocabulary)
    grams = [_Grams(zeros, zeros, tokens, counts, tokens == BOS)]
    rows = text  # of the n-gram that begins at each place
    places = np.arange(len(text), dtype=np.int32)  # where n-grams begin
    for n in range(2, order + 1):
        places = places[text[places + n - 2] != EOS]
        keys = rows[places].astype(np.int64) * vocabulary + text[places + n - 1]
        by_key = keys.argsort()
        keys = keys[by_key]
        is_first = np.append(True, keys[1:] != keys[:-1])
        firsts = np.flatnonzero(is_first)
        found = places[by_key[firsts]]  # a place of each
        prefix, suffix = rows[found], rows[found + 1]
        counts = np.diff(np.append(firsts, len(keys)))
        begins = grams[-1].begins[prefix]
        grams.append(_Grams(prefix, suffix, text[found + n - 1], counts, begins))
        rows = np.zeros_like(text)
        rows[places[by_key]] = np.cumsum(is_first, dtype=np.int32) - 1
    return grams


def _continuations(level: _Grams, longer: _Grams) -> NDArray[np.int64]:
    """Kneser-Ney's counts of shorter n-grams: how many tokens they follow, but how often they occur
    where they begin a sentence, as nothing comes before."""
    followed = np.bincount(longer.suffix, minlength=len(level.times))
    return np.where(level.begins, level.times, followed)


def _discounts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """What is taken off counts of 0, 1, 2, and 3 or more."""
    t1, t2, t3, t4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if min(t1, t2, t3, t4) > 0:
        y = t1 / (t1 + 2 * t2)
        found = np.array([0, 1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3])
        if np.all(found[1:] > 0):
            return found
    return np.array(FALLBACK_DISCOUNTS)
