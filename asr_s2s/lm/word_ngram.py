"""N-gram models over words, for recognizers that output characters or phonemes.

The words form a trie of characters or of the phonemes of their pronunciations. Within a word, each
token is scored with the ratio of the unigram probabilities of all words that begin with the prefix,
with and without the token. The end of the word is scored with the rest, so that a complete word has
its n-gram probability, and beam search uses it from the first token on (look-ahead: Ortmanns et
al., 1996; with end-to-end models: Hori et al., 2017). Among homophones, the most likely one in the
context counts. A word outside the vocabulary has the probability of `<unk>` times a uniform
probability per token.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from asr_s2s.errors import ModelError
from asr_s2s.lm.ngram import NgramModel
from asr_s2s.text.phonemes import PhonemeTokenizer
from asr_s2s.text.tokenizer import BLANK, EOS, SPECIALS, UNK, CharacterTokenizer, Tokenizer

SPACE = " "
CHOOSE_BEAM = 8
"""Beam size of `WordNgramModel.choose`."""
ROOT, UNKNOWN = 0, 1
"""Nodes at the beginning of a word, and within a word that is not in the trie."""


class WordEnd(NamedTuple):
    """Natural log-probabilities of ending a word, in each of several states."""

    space: Tensor
    """Log-probability of a space."""
    stop: Tensor
    """Log-probability of the end token."""
    context: Tensor
    """Context of words after the end."""


class WordNgramModel(nn.Module):
    """Word n-gram model that scores characters or phonemes; built by `spell`.

    The interface is that of `NgramModel`. A state combines a context of words and a node of the
    trie: context * nodes + node.
    """

    keys: Tensor
    """node * vocabulary + token of each edge of the trie, sorted, int64."""
    following: Tensor
    """Node that each edge leads to."""
    words: Tensor
    """Words that end at a node, `(nodes, most)`: UNK if there is none; padded with BLANK."""
    ahead: Tensor
    """Natural log of the unigram probability of all words below a node, `(nodes,)`."""
    depths: Tensor
    """Number of tokens on the path to a node, `(nodes,)`."""
    start: Tensor
    """State at the beginning of a sentence, `()`."""

    def __init__(
        self,
        ngrams: NgramModel,
        spellings: Sequence[str],
        vocabulary: int,
        space: int,
        trie: dict[str, Tensor],
    ) -> None:
        super().__init__()
        self.ngrams = ngrams
        self.spellings = spellings
        """Words in the order of the n-gram model's tokens after the special ones."""
        self.vocabulary = vocabulary
        """Number of characters or phonemes, specials included."""
        self.space = space
        self.letter = -math.log(vocabulary - len(SPECIALS))
        for name, value in trie.items():
            self.register_buffer(name, value)
        self.register_buffer("start", ngrams.start * len(self.words) + ROOT)

    @property
    def order(self) -> int:
        """Number of words in the longest n-grams."""
        return self.ngrams.order

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Token of each word in the n-gram model."""
        return {word: number for number, word in enumerate(self.spellings, len(SPECIALS))}

    def step(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return natural log-probabilities of tokens after states, and the next states; shapes are
        broadcast. Tokens beyond the vocabulary count as unknown."""
        contexts, nodes = states // len(self.words), states % len(self.words)
        end = self.end_word(contexts, nodes)
        ends = (tokens == self.space) | (tokens == EOS)
        contexts = torch.where(ends, end.context, contexts)
        nodes_after = torch.where(ends, ROOT, self.follow(nodes, tokens))
        return self.score(nodes, end, tokens), contexts * len(self.words) + nodes_after

    def score(self, nodes: Tensor, end: WordEnd, tokens: Tensor) -> Tensor:
        """Return natural log-probabilities of tokens at nodes where words end as given; shapes are
        broadcast."""
        children = self.follow(nodes, tokens)
        # A word that leaves the trie is charged the uniform score of its earlier tokens too. The
        # depth of UNKNOWN is 0.
        unknown = self.letter * (1 + self.depths[nodes])
        within = self.ahead[children] - self.ahead[nodes]
        within = within + torch.where(children == UNKNOWN, unknown, 0.0)
        ends = torch.where(tokens == self.space, end.space, end.stop)
        return torch.where((tokens == self.space) | (tokens == EOS), ends, within)

    def end_word(self, contexts: Tensor, nodes: Tensor) -> WordEnd:
        """Return the scores of ending the word at nodes of the trie after contexts of words, for
        the most likely of the words there. All tensors have the same shape."""
        words = self.words[nodes]
        if words.device.type == "cpu":  # elsewhere, asking how many there are costs more
            words = words[..., : int((words != BLANK).sum(-1).amax())]
        log_probs, after = self.ngrams.step(contexts[..., None], words)
        best = log_probs.masked_fill(words == BLANK, -math.inf).argmax(-1, keepdim=True)
        log_probs, after = log_probs.gather(-1, best)[..., 0], after.gather(-1, best)[..., 0]
        is_prefix = (words[..., 0] == UNK) & (nodes != UNKNOWN)  # no word ends here
        spelled = torch.where(is_prefix, self.letter * self.depths[nodes], 0.0)
        whole = log_probs - self.ahead[nodes] + spelled
        empty = nodes == ROOT
        after = torch.where(empty, contexts, after)
        stop, _ = self.ngrams.step(after, torch.full_like(after, EOS))
        return WordEnd(
            torch.where(empty, self.letter, whole), torch.where(empty, 0.0, whole) + stop, after
        )

    def follow(self, nodes: Tensor, tokens: Tensor) -> Tensor:
        """Return the nodes after tokens within a word; shapes are broadcast. Tokens beyond the
        vocabulary, or that continue no word, lead to UNKNOWN."""
        wanted = nodes * self.vocabulary + torch.where(tokens < self.vocabulary, tokens, UNK)
        positions = torch.searchsorted(self.keys, wanted).clamp_max_(len(self.keys) - 1)
        return torch.where(self.keys[positions] == wanted, self.following[positions], UNKNOWN)

    @torch.inference_mode()
    def choose(self, alternatives: Sequence[Sequence[str]]) -> list[str]:
        """Pick one word per position among its alternatives so that the sentence is most likely.

        Words that are not in the model are picked only where no alternative is: the probability of
        an unknown word is that of all such words together.
        """
        device = self.start.device
        paths: list[list[str]] = [[]]
        scores = torch.zeros(1, device=device)
        contexts = self.ngrams.start[None]
        for position in [*alternatives, [""]]:
            words = [word for word in position if not word or word in self.numbers] or position
            numbers = [self.numbers.get(word, UNK) if word else EOS for word in words]
            tokens = torch.tensor(numbers, device=device).expand(len(paths), -1)
            log_probs, after = self.ngrams.step(contexts[:, None].expand_as(tokens), tokens)
            total = (scores[:, None] + log_probs).flatten()
            scores, kept = total.topk(min(CHOOSE_BEAM, len(total)))
            contexts = after.flatten()[kept]
            paths = [[*paths[k // len(words)], words[k % len(words)]] for k in kept.tolist()]
        return paths[0][:-1]


def check_spelling(tokenizer: Tokenizer) -> None:
    """Check that words can be spelled with the tokens of a tokenizer.

    Raises:
        ModelError: the tokens are not characters or phonemes, or do not include the space.
    """
    spells = isinstance(tokenizer, CharacterTokenizer | PhonemeTokenizer)
    if not spells or SPACE not in tokenizer.pieces:
        raise ModelError(
            "n-grams of words",
            "expected a model whose tokens are characters or phonemes, with spaces",
            "Build one over the model's tokens: asr-s2s ngram without --words",
        )


def spell(ngrams: NgramModel, words: Sequence[str], tokenizer: Tokenizer) -> WordNgramModel:
    """Build a word n-gram model that scores characters or phonemes.

    Args:
        ngrams: its tokens are the special ones, then `words`.
        words: words that the tokenizer can spell.
        tokenizer: of the recognizer.

    Raises:
        ModelError: the tokens are not characters or phonemes, or do not include the space; or a
            word is not in the lexicon.
    """
    check_spelling(tokenizer)
    unigrams = ngrams.scores[len(SPECIALS) : len(SPECIALS) + len(words)].double().exp().tolist()
    edges: dict[int, int] = {}
    ends: list[list[int]] = [[], []]
    mass, depths = [0.0, 0.0], [0, 0]
    for number, (word, unigram) in enumerate(zip(words, unigrams, strict=True), len(SPECIALS)):
        spellings = _spellings(word, tokenizer)
        for spelling in spellings:
            node = ROOT
            for token in spelling:
                key = node * len(tokenizer) + token
                node, parent = edges.setdefault(key, len(ends)), node
                if node == len(ends):
                    ends.append([])
                    mass.append(0.0)
                    depths.append(depths[parent] + 1)
                mass[node] += unigram / len(spellings)
            ends[node].append(number)
    most = max(map(len, ends))
    ahead = np.log(np.maximum(mass, 1e-30))
    ahead[[ROOT, UNKNOWN]] = 0.0, float(ngrams.scores[UNK])
    keys = torch.tensor(list(edges), dtype=torch.long)
    keys, order = keys.sort()
    trie = {
        "keys": keys,
        "following": torch.tensor(list(edges.values()))[order],
        "words": torch.tensor([(e or [UNK]) + [BLANK] * (most - len(e or [UNK])) for e in ends]),
        "ahead": torch.from_numpy(ahead).float(),
        "depths": torch.tensor(depths),
    }
    return WordNgramModel(ngrams, words, len(tokenizer), tokenizer.pieces.index(SPACE), trie)


def _spellings(word: str, tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    """Return the token sequences that spell a word.

    Raises:
        ModelError: there is none.
    """
    if isinstance(tokenizer, PhonemeTokenizer):
        spellings = tokenizer.pronunciations(word)
    else:
        spellings = [tuple(tokenizer.encode(word))]
    if not spellings or any(UNK in spelling for spelling in spellings):
        raise ModelError(
            "n-grams of words",
            f"the model cannot spell {word!r}",
            "Build them for this model with asr-s2s ngram --words",
        )
    return spellings
