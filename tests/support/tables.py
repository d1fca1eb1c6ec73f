"""Scorers with tables of known log-probabilities, for tests of searches."""

from typing import NamedTuple

import torch
from torch import Tensor

from asr_s2s.text.tokenizer import BOS

VOCABULARY = 7
UNITS = (4, 5, 6)


class TableState(NamedTuple):
    utterance: Tensor
    step: Tensor
    last: Tensor


class TableScorer:
    """Proposer and judge with log-probabilities by utterance, step and last two tokens."""

    def __init__(self, batch: int, steps: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        logits = 2 * torch.randn(
            batch, steps + 2, VOCABULARY, VOCABULARY, VOCABULARY, generator=generator
        )
        self.table = logits.log_softmax(-1)

    def start(self, beam_size: int) -> TableState:
        utterance = torch.arange(len(self.table)).repeat_interleave(beam_size)
        return TableState(utterance, torch.zeros_like(utterance), torch.full_like(utterance, BOS))

    def propose(self, previous: Tensor, state: TableState) -> tuple[Tensor, TableState]:
        scores = self.table[state.utterance, state.step, state.last, previous]
        return scores, TableState(state.utterance, state.step + 1, previous)

    def judge(
        self, previous: Tensor, state: TableState, candidates: Tensor
    ) -> tuple[Tensor, TableState]:
        scores, state = self.propose(previous, state)
        return scores.gather(1, candidates), state
