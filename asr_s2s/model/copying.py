"""Copying of source tokens by a decoder (pointer-generator network, See et al., 2017)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.text.tokenizer import UNK

MIN_SHARE = 1e-20
"""Floor on the attention weight of a copied token, which keeps its logarithm finite."""


class CopyableTokens(NamedTuple):
    """Source tokens of a batch, as a decoder copies them."""

    tokens: Tensor
    """`(batch, 1, time)`; ids from the size of the vocabulary on stand for unknown words."""
    excluded: Tensor
    """True for ids beyond the vocabulary that are not in a row's source, `(batch, 1, ids)`."""


class CopyHead(nn.Module):
    """Mixture of the decoder's distribution over the vocabulary and its attention weights, which
    copy source tokens (See et al., 2017, equation 9).

    Args:
        vocabulary: number of tokens of the decoder.
        size: channels of the features that the gate reads.
    """

    def __init__(self, vocabulary: int, size: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.gate = nn.Linear(size, 1)

    def prepare(self, tokens: Tensor) -> CopyableTokens:
        """Compute once per utterance what `forward` needs of source tokens `(batch, time)`."""
        ids = max(self.vocabulary, int(tokens.max()) + 1)
        excluded = torch.ones(len(tokens), ids, dtype=torch.bool, device=tokens.device)
        excluded[:, : self.vocabulary] = False
        return CopyableTokens(tokens[:, None], excluded.scatter(1, tokens, False)[:, None])

    def known(self, tokens: Tensor) -> Tensor:
        """Replace ids beyond the vocabulary by UNK."""
        return tokens.where(tokens < self.vocabulary, UNK)

    def forward(
        self, logits: Tensor, features: Tensor, weights: Tensor, source: CopyableTokens
    ) -> Tensor:
        """Mix both distributions. Tensors have the leading axes `(rows,)` in a step, where rows are
        utterances x hypotheses, or `(batch, steps)`.

        Args:
            logits: of the vocabulary, `(..., vocabulary)`.
            features: input of the gate, `(..., size)`.
            weights: attention weights in float32, `(..., time)`.
            source: source tokens of the batch.

        Returns:
            Natural log-probabilities in float32, `(..., ids)`, where ids are the vocabulary and the
            unknown words of the batch; -inf for words of other rows.
        """
        # All steps or hypotheses of an utterance share its source tokens.
        leading, batch = logits.shape[:-1], len(source.tokens)
        weights = weights.view(batch, -1, weights.size(-1))
        gate = self.gate(features).float().view(batch, -1, 1)
        logits = logits.view(batch, -1, logits.size(-1))
        generated = logits.float().log_softmax(-1) + F.logsigmoid(gate)
        beyond = source.excluded.size(-1) - self.vocabulary
        generated = F.pad(generated, (0, beyond), value=math.log(MIN_SHARE))
        shares = torch.zeros_like(generated)
        shares = shares.scatter_add(2, source.tokens.expand_as(weights), weights)
        copied = shares.clamp_min(MIN_SHARE).log() + F.logsigmoid(-gate)
        mixed = torch.logaddexp(generated, copied)
        if beyond:
            mixed = mixed.masked_fill(source.excluded, -math.inf)
        return mixed.view(*leading, -1)
