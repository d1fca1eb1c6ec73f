"""Samples follow the model's distribution, and depend on the seed and the source only."""

import itertools
import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from asr_s2s.config import SearchConfig
from asr_s2s.search.beam import beam_search
from asr_s2s.search.sampling import Sampling, sample
from asr_s2s.text.tokenizer import BOS, EOS
from tests.support.tables import UNITS, TableScorer

KEYS = [f"source {number}".encode() for number in range(20)]
CHI_SQUARE_12 = 32.91
"""Value that a chi-square of 12 degrees of freedom exceeds with probability 0.001."""
PLAIN = SearchConfig(end_threshold=None, length_normalization=0.0)


class Rows(TableScorer):
    """A scorer with the given table, `(batch, steps, ...)`."""

    def __init__(self, table: Tensor) -> None:
        self.table = table


def distribution(table: Tensor, sampling: Sampling, longest: int) -> dict[tuple[int, ...], float]:
    """Probabilities of all outputs of up to `longest` tokens by a table of one utterance, by
    definition."""
    found = {}
    for length in range(longest + 1):
        for tokens in itertools.product(UNITS, repeat=length):
            path, probability = [BOS, BOS, *tokens, EOS], 1.0
            for step in range(length + (length < longest)):  # the last end is forced
                scores = table[step, path[step], path[step + 1]]
                weights = {
                    token: math.exp(float(scores[token]) / sampling.temperature)
                    for token in (*UNITS, EOS)
                }
                order = sorted(weights, key=lambda token: -weights[token])
                kept = order[: sampling.top_k or len(order)]
                mass, nucleus = sum(weights[token] for token in kept), []
                for token in kept:
                    nucleus.append(token)
                    if sum(weights[t] for t in nucleus) >= (sampling.top_p or 1.0) * mass:
                        break
                total = sum(weights[token] for token in nucleus)
                probability *= weights[path[step + 2]] / total if path[step + 2] in nucleus else 0.0
            found[tokens] = probability
    return found


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.5),
        Sampling(temperature=2.0),
        Sampling(top_k=2),
        Sampling(top_p=0.8),
        Sampling(temperature=1.5, top_k=3, top_p=0.9),
    ],
    ids=str,
)
def test_frequencies_follow_the_distribution(sampling: Sampling) -> None:
    table = TableScorer(1, 2, seed=3).table
    expected = distribution(table[0], sampling, 2)
    assert sum(expected.values()) == pytest.approx(1.0)
    samples = sample(
        (Rows(table.expand(len(KEYS), -1, -1, -1, -1)), 1.0),
        [],
        torch.full((len(KEYS),), 2),
        SearchConfig(beam_size=500, end_threshold=None),
        sampling,
        KEYS,
    )
    counts = Counter(tuple(each.tokens) for row in samples for each in row)
    total = sum(counts.values())
    assert total == 500 * len(KEYS)
    assert all(expected[tokens] > 0 for tokens in counts)
    # Outputs that are expected less than five times are counted together.
    bins = [[tokens] for tokens in expected if total * expected[tokens] >= 5]
    bins.append([tokens for tokens in expected if total * expected[tokens] < 5])
    statistic = 0.0
    for outputs in bins:
        mean = total * sum(expected[tokens] for tokens in outputs)
        if mean > 0:
            statistic += (sum(counts[tokens] for tokens in outputs) - mean) ** 2 / max(mean, 1.0)
    assert statistic < CHI_SQUARE_12


def test_the_score_is_the_log_probability_without_temperature() -> None:
    table = TableScorer(4, 6).table
    lengths = torch.tensor([6, 3, 5, 1])
    results = sample((Rows(table), 1.0), [], lengths, PLAIN, Sampling(temperature=3.0), KEYS[:4])
    for row, samples in enumerate(results):
        for tokens, score in samples:
            path = [BOS, BOS, *tokens, EOS]
            steps = range(len(tokens) + 1)
            gains = [table[row, i, path[i], path[i + 1], path[i + 2]] for i in steps]
            assert score == pytest.approx(float(sum(gains)), abs=1e-5)


@pytest.mark.parametrize("judged", [False, True])
def test_samples_do_not_depend_on_the_batch(judged: bool) -> None:
    table, other = TableScorer(16, 14).table, TableScorer(16, 14, seed=1).table
    longest = torch.randint(1, 14, (16,))
    sampling = Sampling(temperature=1.3, top_k=4, top_p=0.95, seed=7)

    def draw(rows: list[int], samples: int = 5) -> list:
        index = torch.tensor(rows)
        judges = [(Rows(other[index]), 0.5)] if judged else []
        config = SearchConfig(beam_size=samples, end_threshold=None)
        keys = [KEYS[row] for row in rows]
        return sample((Rows(table[index]), 0.7), judges, longest[index], config, sampling, keys)

    together = draw(list(range(16)))
    order = torch.randperm(16).tolist()
    shuffled = draw(order)
    for row in range(16):
        assert draw([row])[0] == together[row]
        assert shuffled[order.index(row)] == together[row]
        assert draw([row], samples=2)[0] == together[row][:2]


def test_samples_depend_on_seed_source_and_number() -> None:
    table = TableScorer(1, 10).table.expand(2, -1, -1, -1, -1)
    frames = torch.tensor([10, 10])

    def draw(seed: int, keys: list[bytes]) -> list:
        return sample((Rows(table), 1.0), [], frames, PLAIN, Sampling(seed=seed), keys)

    first = draw(1, KEYS[:2])
    assert first == draw(1, KEYS[:2])
    assert first[0] != first[1]
    assert len({tuple(each.tokens) for each in first[0]}) > 1
    assert draw(2, KEYS[:2])[0] != first[0]
    same = draw(1, [KEYS[0], KEYS[0]])
    assert same[0] == same[1] == first[0]


def test_the_most_likely_token_alone_is_greedy_search() -> None:
    table, frames = TableScorer(8, 12).table, torch.full((8,), 12)
    config = SearchConfig(beam_size=1, end_threshold=None, length_normalization=0.0)
    greedy = beam_search((Rows(table), 1.0), [], frames, config)
    for sampling in (Sampling(top_k=1), Sampling(top_p=0.001)):
        drawn = sample((Rows(table), 1.0), [], frames, config, sampling, KEYS[:8])
        assert [row[0].tokens for row in drawn] == [row[0].tokens for row in greedy]


def test_length_bounds_hold_for_samples() -> None:
    frames = torch.tensor([4, 8, 12])
    config = SearchConfig(
        beam_size=50, min_length=3, min_length_ratio=0.5, max_length_ratio=0.75, end_threshold=None
    )
    results = sample((TableScorer(3, 12), 1.0), [], frames, config, Sampling(), KEYS[:3])
    for row, samples in enumerate(results):
        for each in samples:
            assert max(3, 0.5 * frames[row]) <= len(each.tokens) <= 0.75 * frames[row]
