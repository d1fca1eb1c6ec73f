"""Judges by language models, for shallow fusion (Gulcehre et al., 2015)."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from asr_s2s.lm.language_model import LanguageModel, LanguageModelState
from asr_s2s.lm.word_ngram import ROOT, WordNgramModel
from asr_s2s.text.tokenizer import BOS


class Automaton(Protocol):
    """Interface of automata whose transitions have scores."""

    @property
    def start(self) -> Tensor:
        """State before the first token, `()`."""

    def step(self, states: Tensor, tokens: Tensor, /) -> tuple[Tensor, Tensor]:
        """Return scores of tokens after states, and the next states; shapes are broadcast."""


class AutomatonState(NamedTuple):
    """States of an automaton after the hypotheses so far."""

    node: Tensor
    """`(rows,)`"""


class AutomatonScorer:
    """Judge by an automaton.

    Args:
        automaton: on the device of the search.
        batch: number of utterances.
    """

    def __init__(self, automaton: Automaton, batch: int) -> None:
        self.automaton = automaton
        self.batch = batch

    def start(self, beam_size: int) -> AutomatonState:
        return AutomatonState(self.automaton.start.repeat(self.batch * beam_size))

    def judge(
        self, previous: Tensor, state: AutomatonState, candidates: Tensor
    ) -> tuple[Tensor, AutomatonState]:
        after = self.automaton.step(state.node, previous)[1]
        node = torch.where(previous == BOS, state.node, after)
        scores, _ = self.automaton.step(node[:, None], candidates)
        return scores, AutomatonState(node)


class NgramScorer(AutomatonScorer):
    """Judge by an n-gram model over tokens, `NgramModel`."""


class WordNgramState(NamedTuple):
    """States of a word n-gram model after the hypotheses so far, each `(rows, 1)`."""

    context: Tensor
    """Context of words."""
    node: Tensor
    """Node of the trie."""
    ended: Tensor
    """Context of words if the word ends at the node."""


class WordNgramScorer:
    """Judge by an n-gram model over words that are spelled with tokens.

    Args:
        model: on the device of the search.
        batch: number of utterances.
    """

    def __init__(self, model: WordNgramModel, batch: int) -> None:
        self.model = model
        self.batch = batch

    def start(self, beam_size: int) -> WordNgramState:
        context = self.model.ngrams.start.repeat(self.batch * beam_size, 1)
        return WordNgramState(context, torch.full_like(context, ROOT), context)

    def judge(
        self, previous: Tensor, state: WordNgramState, candidates: Tensor
    ) -> tuple[Tensor, WordNgramState]:
        token = previous[:, None]
        ended = token == self.model.space
        context = torch.where(ended, state.ended, state.context)
        node = self.model.follow(state.node, token)
        node = torch.where(ended, ROOT, torch.where(token == BOS, state.node, node))
        end = self.model.end_word(context, node)
        return self.model.score(node, end, candidates), WordNgramState(context, node, end.context)


class NoState(NamedTuple):
    """State of a stateless scorer."""


class WordScorer:
    """Judge that gives 1 to each space and 0 to other tokens; its weight is a bonus per word.

    Args:
        space: the token between words.
    """

    def __init__(self, space: int) -> None:
        self.space = space

    def start(self, beam_size: int) -> NoState:
        return NoState()

    def judge(self, previous: Tensor, state: NoState, candidates: Tensor) -> tuple[Tensor, NoState]:
        return (candidates == self.space).float(), state


class LanguageModelScorer:
    """Judge by a recurrent language model over tokens.

    Args:
        model: in evaluation mode, on the device of the search.
        batch: number of utterances.
    """

    def __init__(self, model: LanguageModel, batch: int) -> None:
        self.model = model
        self.batch = batch

    def start(self, beam_size: int) -> LanguageModelState:
        return self.model.start(self.batch * beam_size)

    def judge(
        self, previous: Tensor, state: LanguageModelState, candidates: Tensor
    ) -> tuple[Tensor, LanguageModelState]:
        logits, state = self.model.step(previous, state)
        log_probs = logits.float().log_softmax(-1)
        # Tokens beyond the tokenizer's are languages; the attention scorer excludes them.
        return log_probs.gather(1, candidates.clamp_max(log_probs.size(1) - 1)), state
