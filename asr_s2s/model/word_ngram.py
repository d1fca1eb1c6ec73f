"""An n-gram model over words, for a recogniser that writes characters.

The words form a trie of characters. Within a word each character earns what it makes sure of: the
unigram probability of all words that still begin like this, over that of those before it. The end
of the word earns the rest, so that a whole word has got its n-gram probability, and the search
knows of it from the first letter on (look-ahead: Ortmanns et al., 1996; with end-to-end models:
Hori et al., 2017). A word that the model does not know has the probability of `<unk>`, and is
spelled with characters that are all alike.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from asr_s2s.errors import ModelError
from asr_s2s.model.ngram import NgramModel
from asr_s2s.text.tokenizer import EOS, SPECIALS, UNK, CharacterTokenizer, Tokenizer

SPACE = " "
ROOT, UNKNOWN = 0, 1
"""Nodes where no word has begun, and within a word that is not in the trie."""


class WordNgramModel(nn.Module):
    """Scores characters as `NgramModel` scores tokens: a state is a context of words and a node of
    the trie in one number, context * nodes + node. Make one with `spell`."""

    keys: Tensor
    """node * vocabulary + character of each step within the trie, sorted, int64."""
    following: Tensor
    """The node that each leads to."""
    words: Tensor
    """The word that ends at a node; UNK where none does, `(nodes,)`."""
    ahead: Tensor
    """Natural log of the unigram probability of all words that go through a node, `(nodes,)`."""
    depths: Tensor
    """Characters on the way to a node, `(nodes,)`."""
    start: Tensor
    """State at the beginning of a sentence, `()`."""

    def __init__(
        self,
        ngrams: NgramModel,
        spellings: Sequence[str],
        characters: int,
        space: int,
        trie: dict[str, Tensor],
    ) -> None:
        super().__init__()
        self.ngrams = ngrams
        self.spellings = spellings
        """The words, in the order of the n-gram model's tokens after the specials."""
        self.vocabulary = characters
        """Number of characters, specials included."""
        self.space = space
        self.letter = -math.log(characters - len(SPECIALS))
        for name, value in trie.items():
            self.register_buffer(name, value)
        self.register_buffer("start", ngrams.start * len(self.words) + ROOT)

    @property
    def order(self) -> int:
        """Words of the longest n-grams."""
        return self.ngrams.order

    def step(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Natural log-probabilities of characters after states, and the states that follow; all of
        one shape. Tokens beyond the vocabulary count as unknown characters."""
        tokens = torch.where(tokens < self.vocabulary, tokens, UNK)
        contexts, nodes = states // len(self.words), states % len(self.words)
        children = self._follow(nodes, tokens)
        # A word that leaves the trie pays for the characters that it has had for nothing.
        leaves = (children == UNKNOWN) & (nodes != UNKNOWN)
        unknown = self.letter * (1 + torch.where(leaves, self.depths[nodes], 0))
        within = self.ahead[children] - self.ahead[nodes]
        within = within + torch.where(children == UNKNOWN, unknown, 0.0)

        words = self.words[nodes]
        whole, after = self.ngrams.step(contexts, words)
        part = (words == UNK) & (nodes != UNKNOWN)  # the beginning of words, none itself
        whole = whole - self.ahead[nodes] + torch.where(part, self.letter * self.depths[nodes], 0.0)
        begun = nodes != ROOT
        after = torch.where(begun, after, contexts)
        whole = torch.where(begun, whole, torch.where(tokens == self.space, self.letter, 0.0))
        end, _ = self.ngrams.step(after, torch.full_like(tokens, EOS))
        ends = (tokens == self.space) | (tokens == EOS)
        scores = torch.where(ends, whole + torch.where(tokens == EOS, end, 0.0), within)
        contexts = torch.where(ends, after, contexts)
        return scores, contexts * len(self.words) + torch.where(ends, ROOT, children)

    def _follow(self, nodes: Tensor, tokens: Tensor) -> Tensor:
        wanted = nodes * self.vocabulary + tokens
        places = torch.searchsorted(self.keys, wanted).clamp_max(len(self.keys) - 1)
        return torch.where(self.keys[places] == wanted, self.following[places], UNKNOWN)


def check_spelling(tokenizer: Tokenizer) -> None:
    """
    Raises:
        ModelError: the tokeniser's units are not characters, or a blank is none of them.
    """
    if not isinstance(tokenizer, CharacterTokenizer) or SPACE not in tokenizer.pieces:
        raise ModelError(
            "n-grams of words",
            "they serve only models that write characters and blanks",
            "Build one of this model's own tokens: asr-s2s ngram without --words",
        )


def spell(ngrams: NgramModel, words: Sequence[str], tokenizer: Tokenizer) -> WordNgramModel:
    """Join an n-gram model of words with the characters that spell them.

    Args:
        ngrams: its tokens are the specials and then `words`.
        words: each of characters of the tokeniser.
        tokenizer: of the recogniser.

    Raises:
        ModelError: it writes other units than characters, or no blanks.
    """
    check_spelling(tokenizer)
    ids = {piece: index for index, piece in enumerate(tokenizer.pieces)}
    chances = ngrams.scores[len(SPECIALS) : len(SPECIALS) + len(words)].double().exp().tolist()
    steps: dict[int, int] = {}
    ends, mass, depths = [UNK, UNK], [0.0, 0.0], [0, 0]
    for number, (word, chance) in enumerate(zip(words, chances, strict=True), len(SPECIALS)):
        node = ROOT
        for letter in word:
            key = node * len(tokenizer) + ids[letter]
            node, above = steps.setdefault(key, len(ends)), node
            if node == len(ends):
                ends.append(UNK)
                mass.append(0.0)
                depths.append(depths[above] + 1)
            mass[node] += chance
        ends[node] = number
    ahead = np.log(np.maximum(mass, 1e-30))
    ahead[[ROOT, UNKNOWN]] = 0.0, float(ngrams.scores[UNK])
    keys = torch.tensor(list(steps), dtype=torch.long)
    keys, order = keys.sort()
    trie = {
        "keys": keys,
        "following": torch.tensor(list(steps.values()))[order],
        "words": torch.tensor(ends),
        "ahead": torch.from_numpy(ahead).float(),
        "depths": torch.tensor(depths),
    }
    return WordNgramModel(ngrams, words, len(tokenizer), ids[SPACE], trie)
