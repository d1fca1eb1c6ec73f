"""Whether an explanation is of what a model has learned (Adebayo et al., 2018).

Attributions that stay the same when the weights are random say nothing of the model.
"""

import copy
from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from asr_s2s.data.datasets import SpeechDataset, TextDataset
from asr_s2s.evaluate.explain import Explanation, explain
from asr_s2s.model.seq2seq import Seq2Seq

RANDOM_MODELS = 3
"""Sets of random weights that attributions are compared with."""
ALIKE = 0.5
"""Rank correlation with those of random weights from which on attributions are doubtful."""


class RankCorrelations(NamedTuple):
    """Spearman's correlation of two explanations of one output, the mean over words: 1 where each
    word rests on the same parts of the source, about 0 where nothing is in common."""

    integrated_gradients: float
    """NaN where nothing can tell, as for a source of one word."""
    occlusion: float

    def to_record(self) -> dict[str, float | None]:
        """As a JSON object."""
        return {name: None if isnan(value) else value for name, value in self._asdict().items()}


def compare_with_random_weights(
    explanation: Explanation,
    model: Seq2Seq,
    dataset: SpeechDataset | TextDataset,
    source: Tensor | str,
    prompt: list[int],
    tokens: list[int],
) -> RankCorrelations:
    """How much of an explanation random weights give too (Adebayo et al., 2018).

    Args:
        explanation: of the model; the other arguments are as it was made with.

    Returns:
        The mean over `RANDOM_MODELS` sets of weights.
    """
    found = []
    for seed in range(RANDOM_MODELS):
        random = randomized(model, seed)
        other = explain(random, dataset, source, prompt, tokens, most_steps=0)
        found.append(rank_correlations(explanation, other))
    gradients, occlusion = (np.mean(values).item() for values in zip(*found, strict=True))
    return RankCorrelations(gradients, occlusion)


def randomized(model: Seq2Seq, seed: int) -> Seq2Seq:
    """A copy of a model, the values of each of its weights shuffled: of the same sizes, and without
    anything that was learned of their order."""
    copied = copy.deepcopy(model)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in copied.parameters():
            order = torch.randperm(weight.numel(), generator=random).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return copied


def rank_correlations(one: Explanation, other: Explanation) -> RankCorrelations:
    """How alike two explanations of the same output are."""

    def mean(pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> float:
        if any(np.ptp(values) == 0 for pair in pairs for values in pair):
            return float("nan")
        return float(np.mean([spearmanr(*pair).statistic for pair in pairs]))

    words = list(zip(one.words, other.words, strict=True))
    return RankCorrelations(
        mean([(a.profile, b.profile) for a, b in words]),
        mean([(a.occlusion, b.occlusion) for a, b in words]),
    )
