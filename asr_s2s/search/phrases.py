"""Phrases to favor: contextual biasing by shallow fusion (Zhao et al., 2019).

All phrases form one automaton (Aho and Corasick, 1975). On the way through a phrase each token
earns its weight on trust, so that the beam keeps it; what is held on trust is taken back when the
phrase breaks off, and paid for good when it ends. A finished output has earned exactly the sum of
the phrases in it. Phrases are whole words: a word's beginning and its end are symbols of the
automaton, where the vocabulary can tell them.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from asr_s2s.data.parallel import read_lines
from asr_s2s.errors import TextError
from asr_s2s.text.tokenizer import BLANK, BOS, EOS, SPECIALS, UNK, Tokenizer, WordTokenizer

WEIGHT = 1.0
"""Natural log-probability that each token of a phrase earns, unless the phrase says otherwise."""
_BOUNDARY = BLANK  # where a word begins or ends; BLANK is never written
_WORD_BEGINNING = "\u2581"


class Phrases(NamedTuple):
    """The automaton. Node 0 is its root, where no phrase has begun."""

    keys: Tensor
    """node * vocabulary + symbol of the steps that lead on within phrases, sorted."""
    following: Tensor
    """The node that each leads to."""
    first: Tensor
    """The node that each symbol leads to from anywhere else, `(vocabulary,)`."""
    paid: Tensor
    """What the phrases earn that end at a node, `(nodes,)`."""
    held: Tensor
    """What a node holds on trust, `(nodes,)`."""
    begins: Tensor
    """Whether a boundary comes before a token, `(vocabulary,)`."""
    blank: Tensor
    """Whether a token is that boundary and nothing else, `(vocabulary,)`."""
    start: Tensor
    """The node at the beginning of an output, `()`."""

    def to(self, device: torch.device) -> "Phrases":
        """The automaton with its tensors on a device."""
        return Phrases(*(part.to(device) for part in self))

    def step(self, nodes: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What tokens earn at nodes, less what was held there, and the nodes that follow; all of
        one shape."""
        tokens = torch.where(tokens < len(self.first), tokens, UNK)
        boundary = torch.full_like(tokens, _BOUNDARY)
        begins, blank = self.begins[tokens], self.blank[tokens]
        bounded = torch.where(begins, self._follow(nodes, boundary), nodes)
        earned = torch.where(begins, self.paid[bounded], 0.0)
        after = torch.where(blank, bounded, self._follow(bounded, tokens))
        earned = earned + torch.where(blank, 0.0, self.paid[after])
        holds = torch.where(tokens == EOS, 0.0, self.held[after])
        return earned + holds - self.held[nodes], after

    def earned(self, output: list[int]) -> float:
        """What the phrases in a finished output, without specials, earn together."""
        node, total = self.start[None], 0.0
        for token in [*output, EOS]:
            gain, node = self.step(node, torch.tensor([token], device=node.device))
            total += float(gain)
        return total

    def _follow(self, nodes: Tensor, symbols: Tensor) -> Tensor:
        wanted = nodes * len(self.first) + symbols
        places = torch.searchsorted(self.keys, wanted).clamp_max(len(self.keys) - 1)
        return torch.where(self.keys[places] == wanted, self.following[places], self.first[symbols])


class PhraseState(NamedTuple):
    """How far into phrases the outputs are."""

    node: Tensor
    """`(rows,)`"""


class PhraseScorer:
    """Phrases as a scorer of the beam search.

    Args:
        phrases: on the search's device.
        batch: utterances searched together.
    """

    def __init__(self, phrases: Phrases, batch: int) -> None:
        self.phrases = phrases
        self.batch = batch

    def start(self, beam_size: int) -> PhraseState:
        return PhraseState(self.phrases.start.repeat(self.batch * beam_size))

    def step(
        self, previous: Tensor, state: PhraseState, candidates: Tensor | None
    ) -> tuple[Tensor, PhraseState]:
        after = self.phrases.step(state.node, previous)[1]
        node = torch.where(previous == BOS, state.node, after)
        if candidates is None:
            vocabulary = torch.arange(len(self.phrases.first), device=previous.device)
            candidates = vocabulary.expand(len(previous), -1)
        scores, _ = self.phrases.step(node[:, None].expand_as(candidates), candidates)
        return scores, PhraseState(node)


def read_phrases(path: Path, tokenizer: Tokenizer, normalize: Callable[[str], str]) -> Phrases:
    """Phrases of a file, one a line, each with its weight after a tab if it has one of its own.

    Raises:
        ManifestError: the file cannot be read.
        TextError: a line cannot be used, or there is none.
    """
    phrases = []
    for number, line in enumerate(read_lines(path), start=1):
        text, tab, weight = line.partition("\t")
        try:
            if text.strip():
                phrases.append((text, float(weight) if tab else WEIGHT))
        except ValueError as error:
            raise TextError(
                f"{path}:{number}",
                f"expected a number after the tab, found {weight!r}",
                "Write phrase, tab, weight; or the phrase alone",
            ) from error
    return make_phrases(phrases, tokenizer, normalize, str(path))


def make_phrases(
    phrases: Iterable[tuple[str, float]],
    tokenizer: Tokenizer,
    normalize: Callable[[str], str],
    where: str = "phrases",
) -> Phrases:
    """The automaton of phrases with their weights per token, above 0.

    Args:
        tokenizer: of the output; phrases are spelled in their best segmentation.
        where: what to name in errors.

    Raises:
        TextError: a phrase cannot be written by the model, or there is none.
    """
    begins, blank = _boundaries(tokenizer)
    trie = _Trie(bounded=any(begins))
    for text, weight in phrases:
        tokens = tokenizer.encode(normalize(text))
        if not tokens or UNK in tokens or not 0 < weight < float("inf"):
            unknown = "".join(sorted(tokenizer.unknown_characters(normalize(text))))
            problem = f"the model cannot write {unknown!r}" if unknown else "expected text"
            if tokens and not unknown:
                problem = f"expected a weight above 0, found {weight}"
            raise TextError(where, f"{text!r}: {problem}", "Correct the phrase, or leave it out")
        trie.add([(t, begins[t], blank[t]) for t in tokens], weight)
    if len(trie.children) == 1:
        raise TextError(where, "it holds no phrase", "Give one a line")
    return trie.automaton(begins, blank)


def _boundaries(tokenizer: Tokenizer) -> tuple[list[bool], list[bool]]:
    """For each token, whether a word begins before it, and whether it is no more than that. The
    end of the output ends a word; where no token tells words apart, nothing does."""
    words = isinstance(tokenizer, WordTokenizer)
    pieces = [_WORD_BEGINNING if piece == " " else piece for piece in tokenizer.pieces]
    begins = [words or piece.startswith(_WORD_BEGINNING) for piece in pieces]
    begins[: len(SPECIALS)] = [False] * len(SPECIALS)
    begins[EOS] = any(begins)
    blank = [piece == _WORD_BEGINNING and not words for piece in pieces]
    blank[EOS] = True
    return begins, blank


class _Trie:
    """Phrases as they come, symbol by symbol."""

    def __init__(self, *, bounded: bool) -> None:
        self.bounded = bounded
        self.children: list[dict[int, int]] = [{}]
        self.value = [0.0]
        """What the phrase earns that ends at a node."""
        self.trust = [0.0]
        """The most that a phrase has earned on its way through a node."""

    def add(self, tokens: list[tuple[int, bool, bool]], weight: float) -> None:
        symbols = [_BOUNDARY] if self.bounded else []
        for token, begins, blank in tokens:
            if begins and symbols[-1] != _BOUNDARY:
                symbols.append(_BOUNDARY)
            if not blank:
                symbols.append(token)
        if self.bounded:
            symbols.append(_BOUNDARY)
        node, earned = 0, 0.0
        for symbol in symbols:
            # What is on the way to this symbol is held at the node before it.
            self.trust[node] = max(self.trust[node], earned)
            if symbol not in self.children[node]:
                self.children[node][symbol] = len(self.children)
                self.children.append({})
                self.value.append(0.0)
                self.trust.append(0.0)
            node = self.children[node][symbol]
            earned += weight * (symbol != _BOUNDARY)
        self.value[node] = max(self.value[node], earned)

    def automaton(self, begins: list[bool], blank: list[bool]) -> Phrases:
        nodes, vocabulary = len(self.children), len(begins)
        steps: list[dict[int, int]] = [{} for _ in range(nodes)]  # but for those from the root
        paid, held, suffix = list(self.value), [0.0] * nodes, [0] * nodes
        settled = [0.0] * nodes  # by phrases that a longer one begins with
        queue = [0]
        for node in queue:  # breadth first: suffixes are shorter, and so are done
            if node:
                steps[node] = steps[suffix[node]] | self.children[node]
                paid[node] += paid[suffix[node]]
            held[node] = max(0.0, self.trust[node] - settled[node])
            for symbol, child in self.children[node].items():
                if node:
                    known = steps[suffix[node]]
                    suffix[child] = known.get(symbol, self.children[0].get(symbol, 0))
                settled[child] = max(settled[node], self.value[child])
                queue.append(child)
        edges = sorted(
            (node * vocabulary + symbol, child)
            for node in range(nodes)
            for symbol, child in steps[node].items()
        )
        first = torch.zeros(vocabulary, dtype=torch.long)
        for symbol, child in self.children[0].items():
            first[symbol] = child
        return Phrases(
            # Never empty, so that there is always a place to look.
            torch.tensor([key for key, _ in edges] or [-1]),
            torch.tensor([child for _, child in edges] or [0]),
            first,
            torch.tensor(paid),
            torch.tensor(held),
            torch.tensor(begins),
            torch.tensor(blank),
            first[_BOUNDARY] if self.bounded else torch.tensor(0),
        )
