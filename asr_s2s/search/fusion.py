"""Language models as scorers: shallow fusion (Gulcehre et al., 2015)."""

from typing import NamedTuple

import torch
from torch import Tensor

from asr_s2s.model.language_model import LanguageModel, LanguageModelState
from asr_s2s.model.ngram import NgramModel
from asr_s2s.model.word_ngram import WordNgramModel
from asr_s2s.text.tokenizer import BOS


class NgramState(NamedTuple):
    """What an n-gram model knows of the output so far."""

    node: Tensor
    """State of the model, `(rows,)`."""


class NgramScorer:
    """An n-gram model over the output's tokens, or over words spelled with them.

    Args:
        model: on the search's device.
        batch: utterances searched together.
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
    """Of a scorer that needs to know nothing of the output so far."""


class WordScorer:
    """One for each word but the last: its weight is what another word is worth.

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
        assert candidates is not None, "it judges, but proposes nothing"
        return (candidates == self.space).float(), state


class LanguageModelScorer:
    """A recurrent language model over the output's tokens.

    Args:
        model: in evaluation mode, on the search's device.
        batch: utterances searched together.
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
        # Tokens beyond the tokenizer's, which are languages, are never written.
        return log_probs.gather(1, candidates.clamp_max(log_probs.size(1) - 1)), state
