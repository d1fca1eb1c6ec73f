"""Kneser-Ney estimation compared with a direct implementation of its definition."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from asr_s2s.errors import ConfigError, TextError
from asr_s2s.lm.interpolate import interpolate
from asr_s2s.lm.kneser_ney import encode_lines, estimate
from asr_s2s.lm.ngram import NgramModel, from_levels
from asr_s2s.text.normalize import verbatim
from asr_s2s.text.tokenizer import BLANK, BOS, EOS, CharacterTokenizer

TOKENIZER = CharacterTokenizer("abcdefghij")
PREDICTED = [token for token in range(len(TOKENIZER)) if token not in (BLANK, BOS)]


def some_lines(count: int = 300) -> list[str]:
    rng = np.random.default_rng(0)
    steps = rng.geometric(0.35, (count, 12)).cumsum(1) % 9  # j never occurs
    return ["".join("abcdefghi"[i] for i in row[: rng.integers(1, 13)]) for row in steps]


def reference_probability(lines: list[str], order: int, prune: list[int]):
    """Return p(token | history) as a function, directly from Chen and Goodman (1998), section 4.1,
    and Heafield et al. (2013), section 3."""
    sentences = [(BOS, *TOKENIZER.encode(line), EOS) for line in lines]
    raw = {
        n: Counter(s[i : i + n] for s in sentences for i in range(len(s) - n + 1))
        for n in range(1, order + 1)
    }
    adjusted = {order: dict(raw[order])}
    for n in range(1, order):
        left = Counter(gram[1:] for gram in raw[n + 1])
        adjusted[n] = {g: raw[n][g] if g[0] == BOS else left[g] for g in raw[n]}
    adjusted[1].pop((BOS,))
    discounts = {}
    for n, counts in adjusted.items():
        t = Counter(counts.values())
        if all(t[k] for k in (1, 2, 3, 4)):
            y = t[1] / (t[1] + 2 * t[2])
            discounts[n] = [0, *(k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))]
        if n not in discounts or min(discounts[n][1:]) <= 0:
            discounts[n] = [0, 0.5, 1, 1.5]

    def probability(token: int, history: tuple[int, ...]) -> float:
        n = len(history) + 1
        if n == 0 or n > order:
            return probability(token, history[1:])
        shorter = probability(token, history[1:]) if history else 1 / len(PREDICTED)
        following = {g: c for g, c in adjusted[n].items() if g[:-1] == history}
        if not following:
            return shorter
        kept = {
            g: c - discounts[n][min(c, 3)]
            for g, c in following.items()
            if n == 1 or raw[n][g] > prune[n - 1]
        }
        total = sum(following.values())
        own = kept.get((*history, token), 0.0)
        return (own + (total - sum(kept.values())) * shorter) / total

    return probability


def state_after(model: NgramModel, history: tuple[int, ...]) -> torch.Tensor:
    state = model.start
    for token in history[1:]:
        _, state = model.step(state, torch.tensor(token))
    return state


@pytest.mark.parametrize("prune", [[0, 0, 0, 0], [0, 0, 1, 2]])
def test_estimates_follow_the_definition(prune: list[int]) -> None:
    lines = some_lines()
    text = encode_lines(lines, TOKENIZER, verbatim)
    model = from_levels(estimate(text, len(TOKENIZER), 4, prune))
    probability = reference_probability(lines, 4, prune)
    for written in ("", "a", "abc", "cab", "bdfh", "jab", "aaaa"):
        history = (BOS, *TOKENIZER.encode(written))
        state = state_after(model, history).expand(len(PREDICTED))
        scores, _ = model.step(state, torch.tensor(PREDICTED))
        expected = [probability(token, history[-3:]) for token in PREDICTED]
        torch.testing.assert_close(scores.exp(), torch.tensor(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("prune", [[0], [0, 1], [0, 0, 3]])
def test_probabilities_sum_to_one_in_every_context(prune: list[int]) -> None:
    text = encode_lines(some_lines(60), TOKENIZER, verbatim)
    model = from_levels(estimate(text, len(TOKENIZER), 3, prune))
    states = torch.arange(len(model.backoffs))[:, None].expand(-1, len(PREDICTED))
    scores, _ = model.step(states, torch.tensor(PREDICTED).expand_as(states))
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(states)))


def test_pruning_removes_only_rare_ngrams() -> None:
    text = encode_lines(some_lines(), TOKENIZER, verbatim)
    whole, pruned = (estimate(text, len(TOKENIZER), 3, prune) for prune in ([0], [0, 0, 2]))
    counts = Counter(
        gram
        for line in some_lines()
        for gram in itertools.pairwise((BOS, *TOKENIZER.encode(line), EOS))
    )
    assert len(whole[1].token) == len(pruned[1].token) == len(counts)
    assert len(pruned[2].token) < len(whole[2].token)


def test_blank_lines_are_skipped() -> None:
    assert encode_lines(["", "  ", "ab", ""], TOKENIZER, verbatim).tolist() == [BOS, 4, 5, EOS]
    with pytest.raises(TextError, match="no sentences"):
        encode_lines(["", " "], TOKENIZER, verbatim)


@pytest.mark.parametrize(("order", "prune"), [(0, []), (3, [1]), (3, [0, 2, 1]), (2, [0, 0, 0])])
def test_invalid_order_and_prune_are_refused(order: int, prune: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"--(order|prune)"):
        estimate(encode_lines(["ab"], TOKENIZER, verbatim), len(TOKENIZER), order, prune)


@pytest.mark.parametrize("prune", [[0], [0, 1, 1]])
def test_an_interpolated_model_is_the_mean_of_both(prune: list[int]) -> None:
    much, few = some_lines(), ["jab", "jabba", "cab"]
    texts = [encode_lines(lines, TOKENIZER, verbatim) for lines in (much, few)]
    levels = [
        estimate(text, len(TOKENIZER), 3, p) for text, p in zip(texts, (prune, [0]), strict=True)
    ]
    *models, mixed = map(from_levels, [*levels, interpolate(levels[0], levels[1], 0.25)])

    def probability(model: NgramModel, history: tuple[int, ...], token: int) -> float:
        scores, _ = model.step(state_after(model, history), torch.tensor(token))
        return float(scores.exp())

    for line in few:
        tokens = (BOS, *TOKENIZER.encode(line), EOS)
        for end in range(1, len(tokens)):
            first, second, mean = (
                probability(m, tokens[:end], tokens[end]) for m in (*models, mixed)
            )
            assert mean == pytest.approx(0.75 * first + 0.25 * second, rel=1e-4)
    states = torch.arange(len(mixed.backoffs))[:, None].expand(-1, len(PREDICTED))
    scores, _ = mixed.step(states, torch.tensor(PREDICTED).expand_as(states))
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(states)))
