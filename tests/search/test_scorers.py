import itertools
import math

import pytest
import torch

from asr_s2s.search.scorers import CTCPrefixScorer
from asr_s2s.text.tokenizer import BLANK, BOS, EOS

VOCABULARY = 6  # BLANK, BOS, EOS, UNK and two units
UNITS = (3, 4, 5)
EVERYTHING = torch.arange(VOCABULARY)


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    merged = [token for token, _ in itertools.groupby(path)]
    return tuple(token for token in merged if token != BLANK)


def brute_force(log_probs: torch.Tensor, prefix: tuple[int, ...]) -> tuple[float, float]:
    """Log-probabilities that the transcript starts with the prefix, and that it equals it."""
    starts, equals = [], []
    for path in itertools.product((BLANK, *UNITS), repeat=len(log_probs)):
        text = collapse(path)
        if text[: len(prefix)] == prefix:
            log_prob = float(sum(log_probs[t, token] for t, token in enumerate(path)))
            starts.append(log_prob)
            if text == prefix:
                equals.append(log_prob)
    total = [
        torch.tensor(c, dtype=torch.float64).logsumexp(0).item() if c else -math.inf
        for c in (starts, equals)
    ]
    return total[0], total[1]


def random_log_probs(batch: int, time: int) -> torch.Tensor:
    logits = 2 * torch.randn(batch, time, VOCABULARY, dtype=torch.float64)
    logits[:, :, [BOS, EOS]] = -math.inf  # impossible in CTC
    return logits.log_softmax(-1)


@pytest.mark.parametrize("prefix", [(), (3,), (3, 4), (4, 4), (5, 3, 5), (3, 3, 3)])
def test_prefix_scores_equal_the_sum_over_all_alignments(prefix: tuple[int, ...]) -> None:
    log_probs = random_log_probs(2, 6)
    lengths = torch.tensor([6, 5])
    scorer = CTCPrefixScorer(log_probs, lengths)
    state = scorer.start(1)
    for token in (BOS, *prefix):
        scores, state = scorer.judge(torch.tensor([token, token]), state, EVERYTHING.expand(2, -1))
    for row in range(2):
        valid = log_probs[row, : lengths[row]]
        before, whole = brute_force(valid, prefix)
        assert abs(scores[row, EOS].item() - max(whole - before, -1e4 - before)) < 1e-4
        for token in UNITS:
            extended, _ = brute_force(valid, (*prefix, token))
            if math.isfinite(extended):
                assert abs(scores[row, token].item() - (extended - before)) < 1e-4
            else:
                assert scores[row, token] < -1e3


def test_candidates_get_the_same_scores_as_the_whole_vocabulary() -> None:
    scorer = CTCPrefixScorer(random_log_probs(2, 9), torch.tensor([9, 7]))
    state = scorer.start(2)
    previous = torch.full((4,), BOS)
    everything = EVERYTHING.expand(4, -1)
    _, state = scorer.judge(previous, state, everything)
    previous = torch.tensor([3, 4, 5, 3])
    full, _ = scorer.judge(previous, state, everything)
    candidates = torch.tensor([[5, EOS], [3, 4], [EOS, 5], [3, EOS]])
    some, _ = scorer.judge(previous, state, candidates)
    torch.testing.assert_close(some, full.gather(1, candidates))


def test_prefix_scores_are_exact_over_thousands_of_frames() -> None:
    """Compared with a recursion over frames in float64."""
    time = 4000
    log_probs = random_log_probs(1, time)
    scorer = CTCPrefixScorer(log_probs, torch.tensor([time]))
    state = scorer.start(1)
    tokens = [3, 4, 4, 5, 3] * 6
    for token in (BOS, *tokens):
        state = scorer.extend(torch.tensor([token]), state)
    nonblank, blank = recursive_forward(log_probs[0], tokens)
    spelled = torch.logaddexp(nonblank, blank)[len(tokens) - 1 :]
    torch.testing.assert_close(state.spelled[0], spelled, atol=1e-6, rtol=1e-9)


def recursive_forward(
    log_probs: torch.Tensor, tokens: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    time = len(log_probs)
    nonblank = torch.full((time,), -math.inf, dtype=torch.float64)
    blank = log_probs[:, BLANK].cumsum(0)
    last = None
    for token in tokens:
        new_nonblank = torch.full_like(nonblank, -math.inf)
        new_blank = torch.full_like(blank, -math.inf)
        for t in range(time):
            if t == 0:
                spelled = torch.tensor(0.0 if last is None else -math.inf, dtype=torch.float64)
                kept = torch.tensor(-math.inf, dtype=torch.float64)
            else:
                spelled = (
                    blank[t - 1]
                    if token == last
                    else torch.logaddexp(blank[t - 1], nonblank[t - 1])
                )
                kept = new_nonblank[t - 1]
                new_blank[t] = log_probs[t, BLANK] + torch.logaddexp(
                    new_blank[t - 1], new_nonblank[t - 1]
                )
            new_nonblank[t] = log_probs[t, token] + torch.logaddexp(kept, spelled)
        nonblank, blank, last = new_nonblank, new_blank, token
    return nonblank, blank


def test_small_and_large_vocabularies_are_scored_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = CTCPrefixScorer(random_log_probs(2, 9), torch.tensor([9, 7]))
    candidates = torch.tensor([[5, EOS], [3, 4], [EOS, 5], [3, EOS]])
    state = scorer.extend(torch.full((4,), BOS), scorer.start(2))
    for token in (3, 4, 4):
        state = scorer.extend(torch.full((4,), token), state)
        scores = scorer.scores(state, candidates)
        with monkeypatch.context() as patch:
            patch.setattr("asr_s2s.search.scorers.SMALL_VOCABULARY", 0)
            torch.testing.assert_close(scorer.scores(state, candidates), scores)


def test_prefixes_longer_than_the_utterance_are_impossible() -> None:
    scorer = CTCPrefixScorer(random_log_probs(1, 3), torch.tensor([3]))
    state = scorer.start(1)
    for token in (BOS, 3, 4, 5, 3, 4, 5):
        scores, state = scorer.judge(torch.tensor([token]), state, EVERYTHING[None])
        assert not scores.isnan().any()
    assert scores.eq(0.0).all()  # no more impossible than the prefix
