"""N-gram models over tokens, stored as tensors.

Every stored context is a state; state 0 is the empty context. An n-gram is an entry with the key
state * vocabulary + token; keys are sorted, so that one batched binary search finds the entries of
any number of states and tokens. Backing off moves to the longest proper suffix of a state that is
itself a state, as in the automata of Aho and Corasick (1975) and of Allauzen et al. (2003).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr_s2s.text.tokenizer import BOS, UNK

LOG_ZERO = -100 * float(np.log(10))
"""Natural log-probability of unknown tokens in a model without <unk>, as in KenLM."""


class Level(NamedTuple):
    """N-grams of one order as a level of a trie, sorted by parent and token. The first level has
    one row per token, in order, so parents in the second level are tokens."""

    parent: NDArray[np.int64]
    """Row of the first n - 1 tokens in the previous level."""
    token: NDArray[np.int64]
    """Last token."""
    score: NDArray[np.float32]
    """Natural log-probability; NaN if the row is only a prefix of longer n-grams."""
    backoff: NDArray[np.float32]
    """Natural log of the back-off weight; 0 if there is none."""


class NgramModel(nn.Module):
    """N-gram model that scores tokens after contexts; built by `from_levels`."""

    keys: Tensor
    """state * vocabulary + token of each n-gram, sorted, int64. The first `vocabulary` entries are
    unigrams, one for every token."""
    scores: Tensor
    """Natural log-probability of each n-gram, float32."""
    following: Tensor
    """State after each n-gram, int32."""
    backoffs: Tensor
    """Natural log of each state's back-off weight, float32."""
    suffixes: Tensor
    """State of each state's longest proper suffix, int32."""
    known: Tensor
    """Token that each token is scored as, `(vocabulary + 1,)`: itself, or UNK if the model has no
    unigram for it. The last entry is UNK, for tokens beyond the vocabulary."""
    start: Tensor
    """State at the beginning of a sentence, `()`."""

    contexts: Tensor
    """States that backing off from each state passes through, from the state itself to the empty
    context, `(states, order)`, int32."""
    penalties: Tensor
    """Natural log of the back-off weights on the way to each of these, `(states, order)`."""

    def __init__(self, order: int, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.order = order
        for name, value in tensors.items():
            self.register_buffer(name, value)
        # Looked up in every step, so computed once.
        every = torch.arange(len(self.backoffs), dtype=torch.int32)
        contexts, penalties = [every], [torch.zeros(len(every))]
        for _ in range(order - 1):
            penalties.append(penalties[-1] + self.backoffs[contexts[-1]])
            contexts.append(self.suffixes[contexts[-1]])
        self.register_buffer("contexts", torch.stack(contexts, -1))
        self.register_buffer("penalties", torch.stack(penalties, -1))

    @property
    def vocabulary(self) -> int:
        """Number of tokens, specials included."""
        return len(self.known) - 1

    def step(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return natural log-probabilities of tokens after states, and the next states; shapes are
        broadcast. Tokens beyond the vocabulary count as unknown.

        The score is that of the longest stored n-gram plus the back-off weights of the longer
        contexts. All orders are looked up in one search, over the state and its suffixes; the last
        of these is the empty context, in which every token is found.
        """
        tokens = self.known[tokens.clamp_max(self.vocabulary)]
        contexts, penalties = self.contexts[states].long(), self.penalties[states]
        wanted = contexts * self.vocabulary + tokens[..., None]
        positions = torch.searchsorted(self.keys, wanted).clamp_max_(len(self.keys) - 1)
        longest = (self.keys[positions] == wanted).byte().argmax(-1, keepdim=True)
        entries = positions.gather(-1, longest)[..., 0]
        penalty = penalties.expand(wanted.shape).gather(-1, longest)[..., 0]
        return penalty + self.scores[entries], self.following[entries].long()


def from_levels(levels: Sequence[Level]) -> NgramModel:
    """Build a model from n-grams: contexts become states with suffixes and back-off weights.

    Args:
        levels: the n-grams of orders 1 to n.
    """
    vocabulary = len(levels[0].token)
    unknown = np.isnan(levels[0].score)
    known = np.append(np.where(unknown, UNK, np.arange(vocabulary)), UNK)
    states = _number_states(levels)
    count = 1 + sum(int((numbers > 0).sum()) for numbers in states)
    backoffs, suffixes = np.zeros(count, np.float32), np.zeros(count, np.int64)
    keys = [np.arange(vocabulary)]
    scores = [np.where(unknown, np.float32(LOG_ZERO), levels[0].score)]
    following = [states[0]]
    # States reached by an n-gram, and the keys of these n-grams.
    child_keys, children = keys[0][states[0] > 0], states[0][states[0] > 0]
    backoffs[children] = levels[0].backoff[states[0] > 0]

    def model() -> NgramModel:
        tensors = {
            "keys": torch.from_numpy(np.concatenate(keys)),
            "scores": torch.from_numpy(np.concatenate(scores)),
            "following": torch.from_numpy(np.concatenate(following)).int(),
            "backoffs": torch.from_numpy(backoffs),
            "suffixes": torch.from_numpy(suffixes).int(),
            "known": torch.from_numpy(known),
            "start": torch.tensor(int(states[0][BOS])),
        }
        return NgramModel(len(scores), tensors)

    for n, level in enumerate(levels[1:], start=1):
        parents = states[n - 1][level.parent]
        row_keys = parents * vocabulary + level.token
        longest = _longest_state(
            suffixes[parents], level.token, vocabulary, suffixes, child_keys, children
        )
        score = level.score
        missing = np.isnan(score)
        if missing.any():  # prefixes that are not n-grams: score by backing off
            shorter, _ = model().step(
                torch.from_numpy(suffixes[parents[missing]]),
                torch.from_numpy(level.token[missing]),
            )
            score = score.copy()
            score[missing] = backoffs[parents[missing]] + shorter.numpy()
        is_state = states[n] > 0
        own = states[n][is_state]
        suffixes[own] = longest[is_state]
        backoffs[own] = level.backoff[is_state]
        keys.append(row_keys)
        scores.append(score)
        following.append(np.where(is_state, states[n], longest))
        child_keys = np.append(child_keys, row_keys[is_state])
        children = np.append(children, own)
    return model()


def _number_states(levels: Sequence[Level]) -> list[NDArray[np.int64]]:
    """Return the state of each row, numbered from 1, or 0 for rows that are not states. A row is a
    state if it is the prefix of longer n-grams or has a back-off weight."""
    states, count = [], 1
    for level, longer in zip(levels, [*levels[1:], None], strict=True):
        is_state = np.zeros(len(level.token), bool)
        if longer is not None:
            is_state |= level.backoff != 0
            is_state[longer.parent] = True
        states.append(np.where(is_state, np.cumsum(is_state) - 1 + count, 0))
        count += int(is_state.sum())
    return states


def _longest_state(
    states: NDArray[np.int64],
    tokens: NDArray[np.int64],
    vocabulary: int,
    suffixes: NDArray[np.int64],
    child_keys: NDArray[np.int64],
    children: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return for each state and token the longest state that is a suffix of the two together."""
    found = np.zeros(len(tokens), np.int64)
    rows = np.arange(len(tokens))
    while len(rows):
        wanted = states * vocabulary + tokens[rows]
        positions = np.searchsorted(child_keys, wanted).clip(max=len(child_keys) - 1)
        hit = child_keys[positions] == wanted
        found[rows[hit]] = children[positions[hit]]
        remaining = ~hit & (states > 0)
        rows, states = rows[remaining], suffixes[states[remaining]]
    return found
