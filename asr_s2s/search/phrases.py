"""Phrases to favor: contextual biasing by shallow fusion (Zhao et al., 2019).

All phrases form one automaton (Aho and Corasick, 1975). Within a phrase, each token gets a
provisional bonus, so that the beam keeps it. The bonus becomes final when the phrase is complete
and is revoked when the phrase is broken off, so the total bonus of a finished output is the sum
over the phrases in it. Phrases match whole words: word boundaries are symbols of the automaton if
the vocabulary marks them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from unicodedata import category

import torch
from torch import Tensor

from asr_s2s.errors import TextError
from asr_s2s.search.fusion import AutomatonScorer
from asr_s2s.text.tokenizer import BLANK, EOS, SPECIALS, UNK, Tokenizer, WordTokenizer
from asr_s2s.text_files import read_lines

WEIGHT = 1.0
"""Default bonus per token of a phrase, in nats."""
_BOUNDARY = BLANK  # symbol of a word boundary; outputs never contain BLANK
_WORD_BEGINNING = "\u2581"
_WITHIN_WORDS = "'\u2019-\u2010\u2011"
"""Apostrophes and hyphens."""


@dataclass(frozen=True, eq=False)
class Phrases:
    """Automaton of phrases, compared by identity. Node 0 is its root, where no phrase has begun."""

    keys: Tensor
    """node * vocabulary + symbol of each transition within phrases, sorted."""
    following: Tensor
    """Node that each of these transitions leads to."""
    first: Tensor
    """Node that each symbol leads to in all other cases, `(vocabulary,)`."""
    paid: Tensor
    """Final bonus of the phrases that end at a node, `(nodes,)`."""
    held: Tensor
    """Provisional bonus at a node, `(nodes,)`."""
    begins: Tensor
    """Whether a token follows a word boundary, `(vocabulary,)`."""
    blank: Tensor
    """Whether a token is only a word boundary, such as a space, `(vocabulary,)`."""
    start: Tensor
    """Node at the start of an output, `()`."""

    def to(self, device: torch.device) -> "Phrases":
        """Return the automaton on a device."""
        return Phrases(*(getattr(self, part.name).to(device) for part in fields(self)))

    def step(self, nodes: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bonuses of tokens after nodes, minus revoked provisional bonuses, and the next
        nodes; shapes are broadcast."""
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
        """Return the total bonus of a finished output, given without special tokens."""
        node, total = self.start[None], 0.0
        for token in [*output, EOS]:
            gain, node = self.step(node, torch.tensor([token], device=node.device))
            total += float(gain)
        return total

    def _follow(self, nodes: Tensor, symbols: Tensor) -> Tensor:
        wanted = nodes * len(self.first) + symbols
        found = torch.searchsorted(self.keys, wanted).clamp_max(len(self.keys) - 1)
        return torch.where(self.keys[found] == wanted, self.following[found], self.first[symbols])


class PhraseScorer(AutomatonScorer):
    """Judge that gives bonuses to phrases, `Phrases`."""


def read_phrases(path: Path, tokenizer: Tokenizer, normalize: Callable[[str], str]) -> Phrases:
    """Read phrases from a file: one per line, optionally with a tab and its weight per token.

    Raises:
        ManifestError: the file cannot be read.
        TextError: a line is invalid, or there is no phrase.
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
                "Write the phrase, a tab and the weight, or only the phrase",
            ) from error
    return make_phrases(phrases, tokenizer, normalize, str(path))


def split_writable(
    phrases: Iterable[str], tokenizer: Tokenizer, normalize: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """Leave out the words of phrases that a model cannot write.

    A phrase is split where a word is left out. Signs that the model does not write are dropped.

    Args:
        phrases: texts of phrases.
        tokenizer: of the output.
        normalize: normalizer of the model's transcripts.

    Returns:
        The phrases that can be written, and the words that were left out, in order.
    """

    def can_write(text: str) -> bool:
        tokens = tokenizer.encode(normalize(text))
        return bool(tokens) and UNK not in tokens

    writable: list[str] = []
    left_out: list[str] = []
    for phrase in phrases:
        runs: list[list[str]] = [[]]
        for word in phrase.split():
            if can_write(word):
                runs[-1].append(word)
            elif any(map(str.isalnum, word)):
                left_out.append(word)
                runs.append([])
        for run in runs:
            text = " ".join(run)
            # Some vocabularies have no space.
            writable += [text] if can_write(text) else run
    return writable, list(dict.fromkeys(left_out))


def make_phrases(
    phrases: Iterable[tuple[str, float]],
    tokenizer: Tokenizer,
    normalize: Callable[[str], str],
    where: str = "phrases",
) -> Phrases:
    """Build the automaton of phrases.

    Args:
        phrases: phrases and their weights per token, above 0.
        tokenizer: of the output; a phrase matches its best segmentation only.
        normalize: normalizer of the model's transcripts.
        where: source of the phrases, for error messages.

    Raises:
        TextError: the model cannot write a phrase, a weight is invalid, or there is no phrase.
    """
    begins, blank = word_boundaries(tokenizer)
    trie = _Trie(bounded=any(begins))
    for text, weight in phrases:
        tokens = tokenizer.encode(normalize(text))
        if not tokens or UNK in tokens or not 0 < weight < float("inf"):
            unknown = "".join(sorted(tokenizer.unknown_characters(normalize(text))))
            problem = f"the model cannot write {unknown!r}" if unknown else "expected text"
            if tokens and not unknown:
                problem = f"expected a weight above 0, found {weight}"
            raise TextError(where, f"{text!r}: {problem}", "Correct or remove the phrase")
        trie.add([(t, begins[t], blank[t]) for t in tokens], weight)
    if len(trie.children) == 1:
        raise TextError(where, "found no phrase", "Write one phrase per line")
    return trie.automaton(begins, blank)


def word_boundaries(tokenizer: Tokenizer) -> tuple[list[bool], list[bool]]:
    """Return for each token whether a word boundary precedes it, and whether it is only a boundary.
    Punctuation and the end token follow a boundary too, unless the vocabulary does not mark words
    at all."""
    words = isinstance(tokenizer, WordTokenizer)
    pieces = [_WORD_BEGINNING if piece == " " else piece for piece in tokenizer.pieces]
    begins = [words or piece.startswith(_WORD_BEGINNING) for piece in pieces]
    begins[: len(SPECIALS)] = [False] * len(SPECIALS)
    if any(begins):
        pairs = zip(begins[len(SPECIALS) :], pieces[len(SPECIALS) :], strict=True)
        begins[len(SPECIALS) :] = [begin or _is_punctuation(piece) for begin, piece in pairs]
        begins[EOS] = True
    blank = [piece == _WORD_BEGINNING and not words for piece in pieces]
    blank[EOS] = True
    return begins, blank


def _is_punctuation(piece: str) -> bool:
    """Whether a piece begins with punctuation that is not part of words, as apostrophes are."""
    return category(piece[0]).startswith("P") and piece[0] not in _WITHIN_WORDS


class _Trie:
    """Trie of phrases, from which the automaton is built."""

    def __init__(self, *, bounded: bool) -> None:
        self.bounded = bounded
        self.children: list[dict[int, int]] = [{}]
        self.value = [0.0]
        """Bonus of the phrase that ends at a node."""
        self.provisional = [0.0]
        """Highest provisional bonus of the phrases that pass through a node."""

    def add(self, tokens: list[tuple[int, bool, bool]], weight: float) -> None:
        """Add a phrase: its tokens, each with its entries of `word_boundaries`."""
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
            # The bonus before this symbol is provisional at the node before it.
            self.provisional[node] = max(self.provisional[node], earned)
            if symbol not in self.children[node]:
                self.children[node][symbol] = len(self.children)
                self.children.append({})
                self.value.append(0.0)
                self.provisional.append(0.0)
            node = self.children[node][symbol]
            earned += weight * (symbol != _BOUNDARY)
        self.value[node] = max(self.value[node], earned)

    def automaton(self, begins: list[bool], blank: list[bool]) -> Phrases:
        """Build the automaton; arguments are as returned by `word_boundaries`."""
        nodes, vocabulary = len(self.children), len(begins)
        steps: list[dict[int, int]] = [{} for _ in range(nodes)]  # except from the root
        paid, held, suffix = list(self.value), [0.0] * nodes, [0] * nodes
        final = [0.0] * nodes  # final bonus of phrases that are prefixes of others
        queue = [0]
        for node in queue:  # breadth first, so that suffixes, which are shorter, are done
            if node:
                steps[node] = steps[suffix[node]] | self.children[node]
                paid[node] += paid[suffix[node]]
            held[node] = max(0.0, self.provisional[node] - final[node])
            for symbol, child in self.children[node].items():
                if node:
                    known = steps[suffix[node]]
                    suffix[child] = known.get(symbol, self.children[0].get(symbol, 0))
                final[child] = max(final[node], self.value[child])
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
            # Never empty, because searchsorted results are used as indices.
            torch.tensor([key for key, _ in edges] or [-1]),
            torch.tensor([child for _, child in edges] or [0]),
            first,
            torch.tensor(paid),
            torch.tensor(held),
            torch.tensor(begins),
            torch.tensor(blank),
            first[_BOUNDARY] if self.bounded else torch.tensor(0),
        )
