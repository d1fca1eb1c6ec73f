import itertools

import pytest
import torch
from torch import Tensor

from asr_s2s.config import SearchConfig
from asr_s2s.errors import ConfigError
from asr_s2s.search.beam import beam_search
from asr_s2s.text.tokenizer import BLANK, BOS, EOS, UNK
from tests.support.tables import UNITS, VOCABULARY, TableScorer


def exhaustive(
    scorers: list, utterance: int, longest: int, config: SearchConfig
) -> tuple[list[int], float]:
    """Best of all outputs of up to `longest` tokens, with its score."""
    best: tuple[list[int], float] = ([], -float("inf"))
    for length in range(longest + 1):
        for tokens in itertools.product(UNITS, repeat=length):
            path = [BOS, BOS, *tokens, EOS]
            score = sum(
                weight * scorer.table[utterance, i, path[i], path[i + 1], path[i + 2]].item()
                for scorer, weight in scorers
                for i in range(length + 1)
            )
            score /= (length + 1) ** config.length_normalization
            if score > best[1]:
                best = (list(tokens), score)
    return best


@pytest.mark.parametrize("normalization", [0.0, 1.0])
def test_a_wide_beam_equals_exhaustive_search(normalization: float) -> None:
    longest = torch.tensor([4, 2, 3])
    scorers = [(TableScorer(3, 4), 0.7), (TableScorer(3, 4, seed=1), 0.3)]
    # Wide enough for all outputs, so that nothing is pruned.
    config = SearchConfig(
        beam_size=400, length_normalization=normalization, end_threshold=None, candidates=20
    )
    results = beam_search(scorers[0], scorers[1:], longest, config)
    for row in range(3):
        tokens, score = exhaustive(scorers, row, int(longest[row]), config)
        assert results[row][0].tokens == tokens
        assert abs(results[row][0].score - score) < 1e-5


def test_a_beam_of_one_is_greedy_search() -> None:
    scorer = TableScorer(8, 12)
    config = SearchConfig(beam_size=1, end_threshold=None, length_normalization=0.0)
    results = beam_search((scorer, 1.0), [], torch.full((8,), 12), config)
    for row in range(8):
        tokens, path = [], [BOS, BOS]
        while len(tokens) < 12:
            scores = scorer.table[row, len(tokens), path[-2], path[-1]].clone()
            scores[[BLANK, BOS, UNK]] = -float("inf")
            token = int(scores.argmax())
            if token == EOS:
                break
            tokens.append(token)
            path.append(token)
        assert results[row][0].tokens == tokens


def test_a_wider_beam_scores_no_worse_on_average() -> None:
    scorer = TableScorer(64, 10)
    means = []
    for beam in (1, 2, 8):
        config = SearchConfig(beam_size=beam, end_threshold=None, length_normalization=0.0)
        results = beam_search((scorer, 1.0), [], torch.full((64,), 10), config)
        means.append(sum(r[0].score for r in results) / 64)
    assert means[0] < means[1] < means[2]


def test_batching_does_not_change_hypotheses() -> None:
    class Rows(TableScorer):
        def __init__(self, table: Tensor) -> None:
            self.table = table

    table = TableScorer(16, 14).table
    longest = torch.randint(1, 14, (16,))
    config = SearchConfig(beam_size=4)
    together = beam_search((Rows(table), 1.0), [], longest, config)
    order = torch.randperm(16)
    shuffled = beam_search((Rows(table[order]), 1.0), [], longest[order], config)
    for row in range(16):
        alone = beam_search((Rows(table[row : row + 1]), 1.0), [], longest[row : row + 1], config)
        assert alone[0] == together[row]
        assert shuffled[order.tolist().index(row)] == together[row]


def test_hypotheses_are_distinct_and_sorted_by_score() -> None:
    config = SearchConfig(beam_size=5)
    for hypotheses in beam_search((TableScorer(8, 9), 1.0), [], torch.full((8,), 9), config):
        scores = [h.score for h in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(h.tokens) for h in hypotheses}) == len(hypotheses)


def test_length_bounds_hold_for_each_utterance() -> None:
    frames = torch.tensor([4, 8, 12])
    config = SearchConfig(beam_size=3, min_length_ratio=0.5, max_length_ratio=0.75)
    for row, hypotheses in enumerate(beam_search((TableScorer(3, 12), 1.0), [], frames, config)):
        for hypothesis in hypotheses:
            assert 0.5 * frames[row] <= len(hypothesis.tokens) <= 0.75 * frames[row]


def test_end_threshold_delays_an_unlikely_end() -> None:
    class UnlikelyEnd(TableScorer):
        def __init__(self) -> None:
            logits = torch.zeros(1, 8, VOCABULARY, VOCABULARY, VOCABULARY)
            logits[..., EOS] = 0.5
            logits[:, 4:, :, :, EOS] = 9.0
            self.table = logits.log_softmax(-1)

    scorer, frames = UnlikelyEnd(), torch.tensor([6])
    without_threshold = SearchConfig(beam_size=1, end_threshold=None)
    with_threshold = SearchConfig(beam_size=1, end_threshold=0.5)
    assert len(beam_search((scorer, 1.0), [], frames, without_threshold)[0][0].tokens) == 0
    assert len(beam_search((scorer, 1.0), [], frames, with_threshold)[0][0].tokens) == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"beam_size": 0},
        {"beam_size": 1_001},
        {"ctc_weight": 1.5},
        {"max_length_ratio": 0.1, "min_length_ratio": 0.2},
    ],
)
def test_impossible_search_settings_are_rejected(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"search.{next(iter(changes))}"):
        beam_search((TableScorer(1, 3), 1.0), [], torch.tensor([3]), SearchConfig(**changes))
