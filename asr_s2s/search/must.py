"""Phrases that must occur in outputs (lexically constrained decoding).

The beam is divided into banks by the number of phrase tokens that a hypothesis has, and its places
are shared among the banks at every step (dynamic beam allocation, Post and Vilar, 2018). The next
token of each missing phrase is always a candidate, the bank with the most tokens always has a
place, and an output ends only when it has all phrases, so every output has them.

The tokens of a phrase are matched by an automaton (Knuth, Morris and Pratt, 1977). Phrases are
whole words if the vocabulary marks words, as in `phrases.py`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from asr_s2s.errors import TextError
from asr_s2s.search.phrases import word_boundaries
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import EOS, UNK


@dataclass(frozen=True, eq=False)
class Must:
    """Automata of phrases that must occur, compared by identity.

    The state of a phrase of n tokens is the number of its tokens at the end of the hypothesis; n if
    all are there and a word boundary must follow; and n + 1, forever, once it has occurred.
    """

    tokens: Tensor
    """Tokens of each phrase, padded with the end token, `(phrases, states)`."""
    lengths: Tensor
    """Number of tokens of each phrase, `(phrases,)`."""
    first: Tensor
    """State of each phrase at the start of an output, `(phrases,)`."""
    following: Tensor
    """State after a state and a symbol, `(phrases, states, symbols)`."""
    symbol: Tensor
    """Symbol of each token: tokens that are in no phrase share two, `(vocabulary,)`."""
    begins: Tensor
    """Whether a token follows a word boundary, `(vocabulary,)`."""

    def to(self, device: torch.device) -> "Must":
        """Return the automata on a device."""
        return Must(*(getattr(self, part.name).to(device) for part in fields(self)))

    @property
    def room(self) -> int:
        """Number of tokens in which all phrases can be written, each begun twice."""
        return 2 * int(self.lengths.sum()) + len(self.lengths)


class MustProgress:
    """Progress of the hypotheses of a search through the phrases.

    Args:
        must: on the device of the search.
        rows: number of hypotheses of all utterances.
    """

    def __init__(self, must: Must, rows: int) -> None:
        self.must = must
        self._state = must.first.repeat(rows, 1)  # (rows, phrases)

    def advance(self, previous: Tensor) -> None:
        """Extend the hypotheses by the previous tokens `(rows,)`."""
        self._state = self._follow(self._state, previous)

    def reorder(self, rows: Tensor) -> None:
        """Replace the hypotheses by those of the given rows, `(rows,)`."""
        self._state = self._state[rows]

    def bound(self, log_probs: Tensor) -> Tensor:
        """Exclude all tokens but those after a word boundary where a phrase has just been written.

        Args:
            log_probs: of all tokens, `(batch, beam, vocabulary)`.
        """
        pending = (self._state == self.must.lengths).any(1).view(*log_probs.shape[:2], 1)
        rest = log_probs.size(2) - len(self.must.begins)
        within = F.pad(~self.must.begins, (0, rest), value=True)
        return log_probs.masked_fill(pending & within, -math.inf)

    def extend(
        self, log_probs: Tensor, candidates: Tensor, proposed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Add the first and the next token of each missing phrase to the candidates, and exclude
        the end token where a phrase is missing.

        Args:
            log_probs, candidates: as returned by the search's choice of candidates, `(batch, beam,
                candidates)`; the last one is the end token.
            proposed: log-probabilities of all tokens, `(batch, beam, vocabulary)`.
        """
        must, shape = self.must, log_probs.shape[:2]
        phrases = torch.arange(len(must.lengths), device=proposed.device)
        missing = self._state < must.lengths
        first = torch.where(missing, must.tokens[:, 0], EOS)
        following = torch.where(missing, must.tokens[phrases, self._state], EOS)
        added = torch.cat([first, following], 1).view(*shape, -1)
        gains = proposed.gather(2, added)
        allowed = torch.where(log_probs.isneginf(), EOS, candidates)
        known = (added[:, :, :, None] == allowed[:, :, None, :]).any(3) | (added == EOS)
        same = (added[:, :, :, None] == added[:, :, None, :]).tril(-1).any(3)
        gains = gains.masked_fill(known | same, -math.inf)
        end = log_probs[:, :, -1:].masked_fill(missing.any(1).view(*shape, 1), -math.inf)
        return (
            torch.cat([log_probs[:, :, :-1], gains, end], 2),
            torch.cat([candidates[:, :, :-1], added, candidates[:, :, -1:]], 2),
        )

    def priorities(self, total: Tensor, candidates: Tensor) -> Tensor:
        """Rank continuations: the best of each bank, from the bank with the most tokens to that
        with the fewest, then the second best of each, and so on.

        Args:
            total: scores, `(batch, beam, candidates)`.
            candidates: their tokens.

        Returns:
            Values to choose by, in the shape of `total`.
        """
        scores = total.flatten(1)
        banks = self._banks(candidates).flatten(1)
        order = scores.argsort(dim=1, descending=True, stable=True)
        order = order.gather(1, banks.gather(1, order).argsort(dim=1, stable=True))
        banks = banks.gather(1, order)  # in order, and by scores within a bank
        rank = torch.arange(banks.size(1), device=banks.device) - torch.searchsorted(banks, banks)
        number = (rank + 1) * (self.must.lengths.sum() + 1) - banks
        priorities = torch.zeros_like(scores).scatter(1, order, -number.to(scores.dtype))
        return priorities.masked_fill(scores.isneginf(), -math.inf).view_as(total)

    def _banks(self, candidates: Tensor) -> Tensor:
        """Return the number of phrase tokens after each candidate, in the shape of these: those of
        phrases that have occurred, and of the phrase that is most advanced and can go on."""
        must = self.must
        states = self._follow(self._state[:, None], candidates.flatten(0, 1))
        phrases = torch.arange(len(must.lengths), device=states.device)
        pending = (states == must.lengths).any(2, keepdim=True)
        blocked = pending & ~must.begins[must.tokens[phrases, states]]
        missing = states < must.lengths
        advanced = torch.where(missing & ~blocked, states, 0).amax(2)
        return (torch.where(missing, 0, must.lengths).sum(2) + advanced).view_as(candidates)

    def _follow(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Return the states `(..., phrases)` after tokens `(...)`."""
        must = self.must
        tokens = torch.where(tokens < len(must.symbol), tokens, UNK)
        phrases = torch.arange(len(must.lengths), device=tokens.device)
        return must.following[phrases, states, must.symbol[tokens][..., None]]


def make_must(phrases: Iterable[str], output: Output, where: str = "must") -> Must:
    """Build the automata of phrases that must occur in outputs.

    Args:
        phrases: texts; of several segmentations, only the best one counts.
        output: conversion of the model's output.
        where: place reported in errors.

    Raises:
        TextError: the model cannot write a phrase, or it is empty.
    """
    begins, blank = word_boundaries(output.tokenizer)
    bounded = any(begins)
    space = next((t for t, is_blank in enumerate(blank) if is_blank and t != EOS), None)
    rows, first = [], []
    for phrase in dict.fromkeys(phrases):
        tokens = output.encode(phrase, where)
        if not tokens:
            raise TextError(where, f"{phrase!r}: expected text", "Correct or remove the phrase")
        # Where a space is a token of its own, a phrase begins with it, except in first place.
        spaced = space is not None and bounded and not begins[tokens[0]]
        rows.append([space, *tokens] if spaced and space is not None else tokens)
        first.append(int(spaced))
    symbols = {token: 2 + i for i, token in enumerate(sorted({t for row in rows for t in row}))}
    states = max(map(len, rows)) + 2
    following = torch.zeros(len(rows), states, 2 + len(symbols), dtype=torch.long)
    for number, row in enumerate(rows):
        for state in range(len(row)):
            for token, symbol in symbols.items():
                following[number, state, symbol] = _longest_border(row, [*row[:state], token])
            if not bounded and state == len(row) - 1:
                following[number, state, symbols[row[state]]] = len(row) + 1
        following[number, len(row), 1] = len(row) + 1
        for token, symbol in symbols.items():
            after = len(row) + 1 if begins[token] else _longest_border(row, [*row, token])
            following[number, len(row), symbol] = after
        following[number, len(row) + 1 :] = len(row) + 1
    symbol_of = [symbols.get(token, int(is_begin)) for token, is_begin in enumerate(begins)]
    return Must(
        tokens=torch.tensor([row + [EOS] * (states - len(row)) for row in rows]),
        lengths=torch.tensor([len(row) for row in rows]),
        first=torch.tensor(first),
        following=following,
        symbol=torch.tensor(symbol_of),
        begins=torch.tensor(begins),
    )


def _longest_border(phrase: list[int], tokens: list[int]) -> int:
    """Return the length of the longest start of a phrase that ends the tokens."""
    longest = min(len(phrase), len(tokens))
    return next(n for n in range(longest, -1, -1) if phrase[:n] == tokens[len(tokens) - n :])
