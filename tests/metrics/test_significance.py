"""Confidence intervals of error rates, and the paired comparison of two systems."""

import itertools
import random

import numpy as np
import pytest

from asr_s2s.errors import UserError
from asr_s2s.metrics.error_rate import ErrorRates, Utterance, score
from asr_s2s.metrics.significance import (
    Interval,
    Resampling,
    compare_error_rates,
    confidence,
)


def utterance(name: str, words: int, wrong: int, speaker: str | None = None) -> Utterance:
    """An utterance of `words` words, the first `wrong` of which are wrong."""
    hypothesis = ["no"] * wrong + ["yes"] * (words - wrong)
    return Utterance(name, " ".join(["yes"] * words), " ".join(hypothesis), speaker=speaker)


def rates_of(counts: list[tuple[int, int]], speakers: int = 0) -> ErrorRates:
    """Error rates of utterances from their numbers of words and errors, assigned to speakers in
    turn."""
    return score(
        [
            utterance(str(i), words, wrong, f"s{i % speakers}" if speakers else None)
            for i, (words, wrong) in enumerate(counts)
        ]
    )


def word_interval(rates: ErrorRates, samples: int = 10_000) -> Interval:
    found = confidence(rates, samples=samples)
    assert found is not None and found.words is not None
    return found.words


def width(interval: Interval) -> float:
    return interval.high - interval.low


def drawn_counts(speakers: int, each: int, spread: float, seed: int) -> list[tuple[int, int]]:
    """Draw words and errors of utterances, where speakers have different error probabilities."""
    generator = np.random.default_rng(seed)
    probabilities = np.clip(generator.normal(0.2, spread, speakers), 0, 1)
    words = generator.integers(3, 12, each * speakers)
    wrong = generator.binomial(words, np.tile(probabilities, each))
    return list(zip(words.tolist(), wrong.tolist(), strict=True))


def test_interval_has_the_quantiles_of_all_possible_samples() -> None:
    counts = [(4, 1), (7, 0), (3, 2), (9, 1), (5, 5), (6, 0)]
    draws = list(itertools.product(counts, repeat=6))
    possible = np.array(
        [sum(wrong for _, wrong in draw) / sum(words for words, _ in draw) for draw in draws]
    )
    low, high = word_interval(rates_of(counts))
    assert np.mean(possible < low) < 0.03 and np.mean(possible <= low) > 0.02
    assert np.mean(possible > high) < 0.03 and np.mean(possible >= high) > 0.02
    assert low < 9 / 34 < high


def test_interval_equals_that_of_a_plain_loop_over_samples() -> None:
    counts = drawn_counts(speakers=200, each=1, spread=0.1, seed=1)
    draw = random.Random(2)
    rates = []
    for _ in range(4000):
        several = draw.choices(counts, k=len(counts))
        rates.append(sum(wrong for _, wrong in several) / sum(words for words, _ in several))
    rates.sort()
    assert word_interval(rates_of(counts)) == pytest.approx((rates[100], rates[3899]), abs=0.003)


def test_intervals_of_characters_and_sentences() -> None:
    found = confidence(rates_of([(5, 1), (5, 0), (5, 0), (5, 0)] * 30))
    assert found is not None
    assert found.words is not None and found.characters is not None
    assert found.sentences is not None
    assert found.sentences.low < 0.25 < found.sentences.high
    assert found.words.low < 0.05 < found.words.high
    # "no" for "yes" is three errors in the 19 characters of five words.
    assert found.characters == pytest.approx([rate * 5 * 3 / 19 for rate in found.words])


def test_interval_is_determined_by_the_seed() -> None:
    rates = rates_of(drawn_counts(speakers=50, each=1, spread=0.1, seed=3))
    assert confidence(rates, samples=500, seed=1) == confidence(rates, samples=500, seed=1)
    once, other = confidence(rates, samples=500, seed=1), confidence(rates, samples=500, seed=2)
    assert once is not None and other is not None and once.words != other.words


def test_speaker_is_drawn_like_one_long_utterance() -> None:
    counts = drawn_counts(speakers=8, each=5, spread=0.2, seed=4)
    joined = [tuple(np.sum(counts[speaker::8], axis=0).tolist()) for speaker in range(8)]
    assert word_interval(rates_of(counts, speakers=8)) == word_interval(rates_of(joined))


def test_intervals_are_wider_if_speakers_differ() -> None:
    counts = drawn_counts(speakers=30, each=20, spread=0.12, seed=5)
    similar = drawn_counts(speakers=30, each=20, spread=0.0, seed=5)
    wide, narrow = word_interval(rates_of(counts, speakers=30)), word_interval(rates_of(counts))
    assert width(wide) > 2 * width(narrow)
    by_speaker = width(word_interval(rates_of(similar, speakers=30)))
    assert by_speaker == pytest.approx(width(word_interval(rates_of(similar))), rel=0.4)


def test_coverage_of_the_interval_is_about_its_level_if_speakers_are_drawn() -> None:
    covered = {0: 0, 30: 0}
    sets = 150
    for seed in range(sets):
        counts = drawn_counts(speakers=30, each=5, spread=0.1, seed=seed)
        for speakers in covered:
            low, high = word_interval(rates_of(counts, speakers=speakers), samples=400)
            covered[speakers] += low <= 0.2 <= high
    assert covered[30] / sets > 0.89
    assert covered[0] / sets < 0.8  # utterances drawn independently


def test_resampling_reports_the_units_drawn() -> None:
    counts = [(5, 1)] * 24
    speakers = confidence(rates_of(counts, speakers=3), samples=10, seed=7)
    assert speakers is not None
    assert speakers.resampling == Resampling(samples=10, seed=7, speakers=3, utterances=0)
    assert speakers.resampling.few
    for known in (0, 1):
        utterances = confidence(rates_of(counts, speakers=known), samples=10, seed=7)
        assert utterances is not None
        assert utterances.resampling == Resampling(10, 7, speakers=0, utterances=24)
        assert not utterances.resampling.few


def test_utterances_of_unknown_speakers_are_drawn_individually() -> None:
    speakers = ["a", None, "b", "a", None]
    rates = score([utterance(str(i), 5, 1, speaker) for i, speaker in enumerate(speakers)])
    found = confidence(rates)
    assert found is not None
    assert (found.resampling.speakers, found.resampling.utterances) == (2, 2)


def test_no_interval_for_single_utterances_or_without_errors() -> None:
    assert confidence(score([])) is None
    assert confidence(rates_of([(5, 1)])) is None
    right = confidence(rates_of([(5, 0), (5, 0)]))
    assert right is not None
    assert (right.words, right.characters, right.sentences) == (None, None, None)


@pytest.mark.filterwarnings("error")
def test_samples_without_reference_words_have_an_infinite_rate() -> None:
    rates = score([Utterance("a", "", "oh"), Utterance("b", "one two", "one two")])
    assert word_interval(rates) == Interval(0.0, float("inf"))
    comparison = compare_error_rates(rates, rates)
    assert comparison.words.interval == (0, 0)


def test_equal_systems_are_neither_better_nor_worse() -> None:
    rates = rates_of(drawn_counts(speakers=40, each=1, spread=0.1, seed=6))
    for one in (comparison := compare_error_rates(rates, rates)).words, comparison.sentences:
        assert (one.difference, one.interval) == (0, (0, 0))
        assert (one.improvement, one.worsening) == (0, 0)


def test_difference_equals_that_of_a_plain_loop_over_samples() -> None:
    counts = drawn_counts(speakers=80, each=1, spread=0.1, seed=7)
    better = [
        (words, wrong - (i % 6 == 0 and wrong > 0)) for i, (words, wrong) in enumerate(counts)
    ]
    found = compare_error_rates(rates_of(better), rates_of(counts)).words
    draw = random.Random(8)
    differences = []
    for _ in range(4000):
        several = draw.choices(range(80), k=80)
        fewer = sum(better[i][1] - counts[i][1] for i in several)
        differences.append(fewer / sum(counts[i][0] for i in several))
    differences.sort()
    assert found.difference == pytest.approx(found.system - found.baseline)
    assert found.interval == pytest.approx((differences[100], differences[3899]), abs=0.002)
    share = sum(d < 0 for d in differences) / len(differences)
    assert found.improvement == pytest.approx(share, abs=0.01)
    assert found.worsening == 0


def test_difficulty_for_both_systems_cancels_out() -> None:
    counts = drawn_counts(speakers=40, each=5, spread=0.15, seed=9)
    better = [
        (words, wrong - (i % 4 == 0 and wrong > 0)) for i, (words, wrong) in enumerate(counts)
    ]
    system, baseline = rates_of(better, speakers=40), rates_of(counts, speakers=40)
    assert word_interval(system).high > word_interval(baseline).low  # the intervals overlap
    found = compare_error_rates(system, baseline).words
    assert found.interval.high < 0
    assert found.improvement > 0.99


def test_one_better_utterance_of_many_is_not_significant() -> None:
    counts = [(5, 1)] * 100
    found = compare_error_rates(rates_of([(5, 0), *counts[1:]]), rates_of(counts)).words
    assert found.difference < 0
    assert found.interval.high == 0
    assert found.improvement < 0.7


def test_comparison_needs_two_utterances_that_are_the_same() -> None:
    one, two = rates_of([(5, 1)]), rates_of([(5, 1), (5, 0)])
    with pytest.raises(UserError, match="found 1"):
        compare_error_rates(one, one)
    with pytest.raises(ValueError, match="the same utterances"):
        compare_error_rates(one, two)
