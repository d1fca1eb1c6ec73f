"""Scorers of language models, for shallow fusion (Gulcehre et al., 2015)."""

from typing import NamedTuple

import torch
from torch import Tensor

from asr_s2s.lm.language_model import LanguageModel, LanguageModelState
from asr_s2s.lm.ngram import NgramModel
from asr_s2s.lm.word_ngram import WordNgramModel
from asr_s2s.text.tokenizer import BOS


class NgramState(NamedTuple):
    """States of an n-gram model after the hypotheses so far."""

    node: Tensor
    """State of `NgramModel` or `WordNgramModel`, `(rows,)`."""


class NgramScorer:
    """Scorer of an n-gram model over tokens, or over words that are spelled with tokens.

    Args:
        model: on the device of the search.
        batch: number of utterances.
    """

    def __init__(self, model: NgramModel | WordNgramModel, batch: int) -> None:
        self.model = model
        self.batch = batch

    def start(self, beam_size: int) -> NgramState:
        return NgramState(self.model.start.repeat(self.batch * beam_size))

    def step(
        self, previous: Tensor, state: NgramState, candidates: Tensor | None
    ) -> tuple[Tensor, NgramState]:
        after = self.model.step(state.node, previous)[1]
        node = torch.where(previous == BOS, state.node, after)
        if candidates is None:
            vocabulary = torch.arange(self.model.vocabulary, device=previous.device)
            candidates = vocabulary.expand(len(previous), -1)
        scores, _ = self.model.step(node[:, None], candidates)
        return scores, NgramState(node)


class NoState(NamedTuple):
    """State of a stateless scorer."""


class WordScorer:
    """Scorer that gives 1 to each space and 0 to other tokens; its weight is a bonus per word.

    Args:
        space: the token between words.
    """

    def __init__(self, space: int) -> None:
        self.space = space

    def start(self, beam_size: int) -> NoState:
        return NoState()

    def step(
        self, previous: Tensor, state: NoState, candidates: Tensor | None
    ) -> tuple[Tensor, NoState]:
        assert candidates is not None, "WordScorer cannot propose candidates"
        return (candidates == self.space).float(), state


class LanguageModelScorer:
    """Scorer of a recurrent language model over tokens.

    Args:
        model: in evaluation mode, on the device of the search.
        batch: number of utterances.
    """

    def __init__(self, model: LanguageModel, batch: int) -> None:
        self.model = model
        self.batch = batch

    def start(self, beam_size: int) -> LanguageModelState:
        return self.model.start(self.batch * beam_size)

    def step(
        self, previous: Tensor, state: LanguageModelState, candidates: Tensor | None
    ) -> tuple[Tensor, LanguageModelState]:
        logits, state = self.model.step(previous, state)
        log_probs = logits.float().log_softmax(-1)
        if candidates is None:
            return log_probs, state
        # Tokens beyond the tokenizer's are languages; the attention scorer excludes them.
        return log_probs.gather(1, candidates.clamp_max(log_probs.size(1) - 1)), state
