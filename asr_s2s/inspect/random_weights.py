"""Sanity check of explanations by randomizing the model's weights (Adebayo et al., 2018).

Attributions that stay the same with random weights do not explain the trained model.
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
from asr_s2s.inspect.explain import Explanation, explain
from asr_s2s.model.seq2seq import Seq2Seq

RANDOM_MODELS = 3
"""Number of randomized models that attributions are compared with."""
ALIKE = 0.5
"""Rank correlation from which on attributions depend too little on the trained weights."""


class RankCorrelations(NamedTuple):
    """Spearman's rank correlations of two explanations of one output, averaged over words.

    1 if the attributions have the same order, about 0 if they are unrelated, NaN if undefined, as
    for a source of one word.
    """

    integrated_gradients: float
    occlusion: float

    def to_record(self) -> dict[str, float | None]:
        """JSON object; NaN becomes null."""
        return {name: None if isnan(value) else value for name, value in self._asdict().items()}


def compare_with_random_weights(
    explanation: Explanation,
    model: Seq2Seq,
    dataset: SpeechDataset | TextDataset,
    source: Tensor | str,
    prompt: list[int],
    tokens: list[int],
) -> RankCorrelations:
    """Correlate an explanation with those of randomized models (Adebayo et al., 2018).

    Args:
        explanation: explanation of the model.
        model, dataset, source, prompt, tokens: the arguments of `explain` that it was made with.

    Returns:
        Mean correlations over `RANDOM_MODELS` randomized models.
    """
    correlations = []
    for seed in range(RANDOM_MODELS):
        random = randomized(model, seed)
        other = explain(random, dataset, source, prompt, tokens, most_steps=0)
        correlations.append(rank_correlations(explanation, other))
    gradients, occlusion = (np.mean(values).item() for values in zip(*correlations, strict=True))
    return RankCorrelations(gradients, occlusion)


def randomized(model: Seq2Seq, seed: int) -> Seq2Seq:
    """Copy a model, shuffling the values within each weight tensor. The distribution of values is
    kept; everything else that was learned is destroyed."""
    copied = copy.deepcopy(model)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in copied.parameters():
            order = torch.randperm(weight.numel(), generator=random).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return copied


def rank_correlations(one: Explanation, other: Explanation) -> RankCorrelations:
    """Rank correlations of two explanations of the same output."""

    def mean(pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> float:
        if any(np.ptp(values) == 0 for pair in pairs for values in pair):
            return float("nan")
        return float(np.mean([spearmanr(*pair).statistic for pair in pairs]))

    words = list(zip(one.words, other.words, strict=True))
    return RankCorrelations(
        mean([(a.profile, b.profile) for a, b in words]),
        mean([(a.occlusion, b.occlusion) for a, b in words]),
    )
