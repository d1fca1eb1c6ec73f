"""Sampling: outputs are drawn token by token from the model's distribution.

Batch invariance: a sample depends on the seed, on its source and on its number among the samples of
that source, not on the other rows of a batch. Its random numbers come from a counter-based
generator (Philox, Salmon et al., 2011) whose key is a digest of these three. Each token takes one
number, the quantile of the distribution in the order of token ids, so that rounding errors, which
depend on the batch, change a draw only if the number lies within such an error of a bound.
"""

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr_s2s.config import SearchConfig
from asr_s2s.search.beam import Hypothesis, check_search
from asr_s2s.search.scorers import Proposer, State
from asr_s2s.search.steps import Steps, WeightedJudge
from asr_s2s.text.tokenizer import BOS, EOS, UNK


class Sampling(NamedTuple):
    """Distribution that tokens are drawn from; temperature is applied first, then `top_k`, then
    `top_p`."""

    temperature: float = 1.0
    """Divisor of log-probabilities; below 1, likely tokens become more likely."""
    top_k: int | None = None
    """Number of the most likely tokens that are drawn from; by default all."""
    top_p: float | None = None
    """Nucleus sampling (Holtzman et al., 2020): draw from the smallest set of the most likely
    tokens whose probabilities sum to at least this; by default from all."""
    seed: int = 1
    """Seed of the random numbers."""

    def probabilities(self, log_probs: Tensor) -> Tensor:
        """Return the distribution of natural log-probabilities `(..., vocabulary)`, which need not
        be normalized, in float64."""
        probabilities = (log_probs.double() / self.temperature).softmax(-1)
        if self.top_k is not None and self.top_k < probabilities.size(-1):
            least = probabilities.topk(self.top_k).values[..., -1:]
            probabilities = probabilities.masked_fill(probabilities < least, 0.0)
        if self.top_p is not None and self.top_p < 1.0:
            ordered = probabilities.sort(descending=True).values
            before = ordered.cumsum(-1) - ordered
            needed = before < self.top_p * ordered.sum(-1, keepdim=True)
            least = ordered.masked_fill(~needed, math.inf).amin(-1, keepdim=True)
            probabilities = probabilities.masked_fill(probabilities < least, 0.0)
        return probabilities / probabilities.sum(-1, keepdim=True)

    def quantiles(self, keys: Sequence[bytes], samples: int, steps: int) -> Tensor:
        """Return uniform random numbers in [0, 1), `(rows, samples, steps)`, in float64. The first
        numbers of a sample do not depend on `steps`, nor on `samples`."""
        drawn = np.empty((len(keys), samples, steps))
        for row, key in enumerate(keys):
            for number in range(samples):
                digest = blake2b(f"{self.seed} {number} ".encode() + key, digest_size=16).digest()
                generator = np.random.Philox(key=int.from_bytes(digest))
                drawn[row, number] = np.random.Generator(generator).random(steps)
        return torch.from_numpy(drawn)


@torch.inference_mode()
def sample(
    proposer: tuple[Proposer[State], float],
    judges: Sequence[WeightedJudge],
    frames: Tensor,
    config: SearchConfig,
    sampling: Sampling,
    keys: Sequence[bytes],
    *,
    prefix: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """Draw `beam_size` outputs of each utterance.

    Tokens are drawn in proportion to their probability by the weighted sum of all scorers. With
    judges, these are the proposer's best `candidates` and the end token.

    Args:
        proposer, judges, frames, prefix: as for `beam.beam_search`.
        config: number of samples (`beam_size`), candidates and length bounds. `end_threshold` and
            `beam_groups` have no effect.
        sampling: distribution that tokens are drawn from.
        keys: what identifies the source of each utterance, as bytes; equal sources get equal
            samples.

    Returns:
        The samples of each utterance, in the order drawn; some may be equal. Scores are as in beam
        search, without temperature and truncation.
    """
    check_search(config)
    batch, width, device = len(frames), config.beam_size, frames.device
    steps = Steps(proposer, judges, frames, config, width, prefix)
    quantiles = sampling.quantiles(keys, width, steps.limit + 1).to(device)
    previous = torch.full((batch * width,), BOS, device=device)
    scores = torch.zeros(batch, width, device=device)
    lengths = torch.zeros(batch, width, dtype=torch.long, device=device)
    alive = torch.ones(batch, width, dtype=torch.bool, device=device)
    drawn = []
    for step in range(steps.limit + 1):
        allowed = steps.allow(step, previous, steps.propose(previous))
        log_probs, candidates = _candidates(allowed, step, steps)
        gains = steps.judge(torch.zeros_like(scores), previous, log_probs, candidates)
        cumulative = sampling.probabilities(gains).cumsum(-1)
        total = cumulative[:, :, -1:]
        # Rounding must not lift a number to the total, after which there is no token.
        quantile = torch.minimum(
            quantiles[:, :, step, None] * total, total.nextafter(torch.zeros_like(total))
        )
        chosen = torch.searchsorted(cumulative, quantile, right=True)
        # After its end, all tokens of a sample may be excluded.
        chosen = chosen.clamp_max(candidates.size(2) - 1)
        token = candidates.gather(2, chosen)[:, :, 0]
        scores += torch.where(alive, gains.gather(2, chosen)[:, :, 0], 0.0)
        lengths += alive
        drawn.append(torch.where(alive, token, EOS))
        alive &= token != EOS
        previous = drawn[-1].flatten()
        # Asking synchronizes a GPU, which costs more than a few extra steps.
        if (step + 1) % (1 if device.type == "cpu" else 8) == 0 and not bool(alive.any()):
            break
    normalized = (scores / lengths**config.length_normalization).tolist()
    outputs, sizes = torch.stack(drawn, 2).tolist(), (lengths - 1).tolist()
    return [
        [
            Hypothesis(outputs[row][number][: sizes[row][number]], normalized[row][number])
            for number in range(width)
        ]
        for row in range(batch)
    ]


def _candidates(log_probs: Tensor, step: int, steps: Steps[State]) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities and tokens of the candidates, in the order of their ids except
    for the end token, which is the last; -inf marks those that the length bounds forbid.

    Args:
        log_probs: of all tokens, `(batch, samples, vocabulary)`.
        step: number of tokens so far.
        steps: the search.
    """
    first = UNK if steps.config.unknown else UNK + 1  # after BLANK, BOS and EOS
    end = log_probs[:, :, EOS : EOS + 1]
    others = log_probs[:, :, first:]
    tokens = torch.arange(first, log_probs.size(2), device=log_probs.device).expand_as(others)
    if steps.judges:
        best = others.topk(min(steps.config.candidates, others.size(2))).indices.sort().values
        others, tokens = others.gather(2, best), tokens.gather(2, best)
    if step < steps.free:
        # Where repetitions may not occur, there may be no other token.
        more = ~others.isneginf().all(2, keepdim=True)
        end = end.masked_fill((step < steps.shortest)[:, None, None] & more, -math.inf)
    if step >= steps.forced:
        others = others.masked_fill((step >= steps.longest)[:, None, None], -math.inf)
    return torch.cat([others, end], 2), torch.cat([tokens, torch.full_like(end, EOS).long()], 2)
