"""Steps of a search: scores of continuations, bounds of the length, and rules of the next token."""

import math
from collections.abc import Sequence
from typing import Any, Generic, TypeAlias

import torch
from torch import Tensor

from asr_s2s.config import SearchConfig
from asr_s2s.search.scorers import Judge, Proposer, State, select_rows
from asr_s2s.text.tokenizer import BLANK

WeightedJudge: TypeAlias = tuple[Judge[Any], float]
"""A judge and its weight. A search has judges with states of different types, which Python's types
cannot express without Any."""


class Steps(Generic[State]):
    """Scorers of a search with their states, and bounds and rules of the next token.

    Beam search and sampling score continuations with it, and differ in which ones they choose.

    Args:
        proposer, judges, frames, config: as for `beam.beam_search`.
        width: hypotheses per utterance.
        prefix: tokens that outputs start with.
        room: number of tokens that any output may have, whatever its maximum length.
    """

    def __init__(
        self,
        proposer: tuple[Proposer[State], float],
        judges: Sequence[WeightedJudge],
        frames: Tensor,
        config: SearchConfig,
        width: int,
        prefix: Sequence[int],
        room: int = 0,
    ) -> None:
        self.batch, self.width, self.config = len(frames), width, config
        self.scorer, self.weight = proposer
        self.judges, self.prefix = judges, prefix
        self.shortest = (frames * config.min_length_ratio).floor().clamp_min(config.min_length)
        longest = (frames * config.max_length_ratio).floor()
        longest = longest.clamp_min(max(1, len(prefix) + room))
        self.longest = torch.maximum(longest, self.shortest)
        # Steps `free` to `forced` neither forbid nor force an ending and need no masks.
        self.free, self.forced, self.limit = (
            int(n) for n in (self.shortest.max(), self.longest.min(), self.longest.max())
        )
        self._proposed = self.scorer.start(width)
        self._judged = [judge.start(width) for judge, _ in judges]
        self._history = torch.zeros(
            self.batch * width, 0, dtype=torch.long, device=self.longest.device
        )

    def propose(self, previous: Tensor) -> Tensor:
        """Extend the hypotheses by the previous tokens `(rows,)`, and return the proposer's
        log-probabilities of all next ones, `(batch, width, vocabulary)`."""
        log_probs, self._proposed = self.scorer.propose(previous, self._proposed)
        return log_probs.view(self.batch, self.width, -1)

    def allow(self, step: int, previous: Tensor, log_probs: Tensor) -> Tensor:
        """Exclude tokens that the prefix or `no_repeat_ngram` forbids; arguments as in
        `propose`."""
        size = self.config.no_repeat_ngram
        if size and step:
            self._history = torch.cat([self._history, previous[:, None]], 1)
        if step < len(self.prefix):
            only = torch.full_like(log_probs, -math.inf)
            token = self.prefix[step]
            only[:, :, token] = log_probs[:, :, token]
            return only
        if size and step >= size:
            repeated = repeated_tokens(self._history, size).view(self.batch, self.width, -1)
            return log_probs.scatter(2, repeated, -math.inf)
        return log_probs

    def judge(
        self, scores: Tensor, previous: Tensor, log_probs: Tensor, candidates: Tensor
    ) -> Tensor:
        """Return the scores of hypotheses with each candidate, `(batch, width, candidates)`.

        Args:
            scores: of the hypotheses so far, `(batch, width)`.
            previous: as in `propose`.
            log_probs, candidates: the proposer's log-probabilities of the candidates, and their
                tokens, of which the last is the end token.
        """
        if not self.weight:  # 0 x -inf would be NaN
            log_probs = torch.where(log_probs.isneginf(), log_probs, 0.0)
        total = torch.add(scores[:, :, None], log_probs, alpha=self.weight or 1.0)
        for index, (judge, weight) in enumerate(self.judges):
            gains, self._judged[index] = judge.judge(
                previous, self._judged[index], candidates.flatten(0, 1)
            )
            total = total.add(gains.view_as(total), alpha=weight)
        if self.config.token_bonus:
            total[:, :, :-1] += self.config.token_bonus  # the last candidate is the end
        return total

    def reorder(self, rows: Tensor) -> None:
        """Replace the hypotheses by those of the given rows, `(rows,)`."""
        self._proposed = select_rows(self._proposed, rows)
        self._judged = [select_rows(state, rows) for state in self._judged]
        if self.config.no_repeat_ngram:
            self._history = self._history[rows]


def repeated_tokens(history: Tensor, size: int) -> Tensor:
    """Return the tokens that would complete an n-gram of `size` tokens that occurred before.

    Args:
        history: tokens of each hypothesis, `(rows, tokens)`, at least `size` of them.

    Returns:
        Tokens `(rows, tokens - size + 1)`, or BLANK where nothing is repeated.
    """
    places = history.size(1) - size + 1
    found = torch.ones_like(history[:, :places], dtype=torch.bool)
    for offset in range(size - 1):
        found &= history[:, offset : offset + places] == history[:, places + offset, None]
    return torch.where(found, history[:, size - 1 :], BLANK)
