"""An n-gram model over words, for a recognizer that writes characters or phonemes.

The words form a trie of characters, or of the phonemes of their pronunciations. Within a word each
token earns what it makes sure of: the unigram probability of all words that still begin like this,
over that of those before it. The end of the word earns the rest, so that a whole word has got its
n-gram probability, and the search knows of it from the first token on (look-ahead: Ortmanns et
al., 1996; with end-to-end models: Hori et al., 2017). Of words that sound alike the one counts that
the words before it make likeliest. A word that the model does not know has the probability of
`<unk>`, and is spelled with tokens that are all alike.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from asr_s2s.errors import ModelError
from asr_s2s.model.ngram import NgramModel
from asr_s2s.text.phonemes import PhonemeTokenizer
from asr_s2s.text.tokenizer import BLANK, EOS, SPECIALS, UNK, CharacterTokenizer, Tokenizer

SPACE = " "
CHOICES = 8
"""Words that `WordNgramModel.choose` follows at once."""
ROOT, UNKNOWN = 0, 1
"""Nodes where no word has begun, and within a word that is not in the trie."""


class WordNgramModel(nn.Module):
    """Scores characters or phonemes as `NgramModel` scores tokens: a state is a context of words
    and a node of the trie in one number, context * nodes + node. Make one with `spell`."""

    keys: Tensor
    """node * vocabulary + token of each step within the trie, sorted, int64."""
    following: Tensor
    """The node that each leads to."""
    words: Tensor
    """The words that end at a node, `(nodes, most)`: UNK where none does, BLANK after the last."""
    ahead: Tensor
    """Natural log of the unigram probability of all words that go through a node, `(nodes,)`."""
    depths: Tensor
    """Tokens on the way to a node, `(nodes,)`."""
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
        """The words, in the order of the n-gram model's tokens after the specials."""
        self.numbers = {word: number for number, word in enumerate(spellings, len(SPECIALS))}
        self.vocabulary = vocabulary
        """Number of characters or phonemes, specials included."""
        self.space = space
        self.letter = -math.log(vocabulary - len(SPECIALS))
        for name, value in trie.items():
            self.register_buffer(name, value)
        self.register_buffer("start", ngrams.start * len(self.words) + ROOT)

    @property
    def order(self) -> int:
        """Words of the longest n-grams."""
        return self.ngrams.order

    def step(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Natural log-probabilities of tokens after states, and the states that follow; of shapes
        that broadcast to one. Tokens beyond the vocabulary count as unknown ones."""
        tokens = torch.where(tokens < self.vocabulary, tokens, UNK)
        contexts, nodes = states // len(self.words), states % len(self.words)
        children = self._follow(nodes, tokens)
        # A word that leaves the trie pays for the tokens that it has had for nothing.
        leaves = (children == UNKNOWN) & (nodes != UNKNOWN)
        unknown = self.letter * (1 + torch.where(leaves, self.depths[nodes], 0))
        within = self.ahead[children] - self.ahead[nodes]
        within = within + torch.where(children == UNKNOWN, unknown, 0.0)

        whole, after = self._end_word(contexts, nodes)
        begun = nodes != ROOT
        whole = torch.where(begun, whole, torch.where(tokens == self.space, self.letter, 0.0))
        end, _ = self.ngrams.step(after, torch.full_like(after, EOS))
        ends = (tokens == self.space) | (tokens == EOS)
        scores = torch.where(ends, whole + torch.where(tokens == EOS, end, 0.0), within)
        contexts = torch.where(ends, after, contexts)
        return scores, contexts * len(self.words) + torch.where(ends, ROOT, children)

    def _end_word(self, contexts: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """What the end of the word at a node earns, and the context after it: that of the likeliest
        of the words there. All of one shape."""
        words = self.words[nodes]
        chances, after = self.ngrams.step(contexts[..., None].expand_as(words), words)
        best = chances.masked_fill(words == BLANK, -math.inf).argmax(-1, keepdim=True)
        chances, after = chances.gather(-1, best)[..., 0], after.gather(-1, best)[..., 0]
        part = (words[..., 0] == UNK) & (nodes != UNKNOWN)  # the beginning of words, none itself
        spelled = torch.where(part, self.letter * self.depths[nodes], 0.0)
        return chances - self.ahead[nodes] + spelled, torch.where(nodes == ROOT, contexts, after)

    @torch.inference_mode()
    def choose(self, alternatives: Sequence[Sequence[str]]) -> list[str]:
        """The likeliest sentence of the words that each place of it may have."""
        device = self.start.device
        paths: list[list[str]] = [[]]
        scores = torch.zeros(1, device=device)
        contexts = self.ngrams.start[None]
        for words in [*alternatives, [""]]:
            numbers = [self.numbers.get(word, UNK) if word else EOS for word in words]
            tokens = torch.tensor(numbers, device=device).expand(len(paths), -1)
            chances, after = self.ngrams.step(contexts[:, None].expand_as(tokens), tokens)
            total = (scores[:, None] + chances).flatten()
            scores, places = total.topk(min(CHOICES, len(total)))
            contexts = after.flatten()[places]
            paths = [[*paths[p // len(words)], words[p % len(words)]] for p in places.tolist()]
        return paths[0][:-1]

    def _follow(self, nodes: Tensor, tokens: Tensor) -> Tensor:
        wanted = nodes * self.vocabulary + tokens
        places = torch.searchsorted(self.keys, wanted).clamp_max(len(self.keys) - 1)
        return torch.where(self.keys[places] == wanted, self.following[places], UNKNOWN)


def check_spelling(tokenizer: Tokenizer) -> None:
    """
    Raises:
        ModelError: the tokenizer's units are not characters or phonemes, or a blank is none of
            them.
    """
    spells = isinstance(tokenizer, CharacterTokenizer | PhonemeTokenizer)
    if not spells or SPACE not in tokenizer.pieces:
        raise ModelError(
            "n-grams of words",
            "they serve only models that write characters or phonemes, and blanks",
            "Build one of this model's own tokens: asr-s2s ngram without --words",
        )


def spell(ngrams: NgramModel, words: Sequence[str], tokenizer: Tokenizer) -> WordNgramModel:
    """Join an n-gram model of words with the characters or phonemes that spell them.

    Args:
        ngrams: its tokens are the specials and then `words`.
        words: each one that the tokenizer can spell.
        tokenizer: of the recognizer.

    Raises:
        ModelError: it writes other units than characters or phonemes, or no blanks; or a word is
            not in its lexicon.
    """
    check_spelling(tokenizer)
    chances = ngrams.scores[len(SPECIALS) : len(SPECIALS) + len(words)].double().exp().tolist()
    steps: dict[int, int] = {}
    ends: list[list[int]] = [[], []]
    mass, depths = [0.0, 0.0], [0, 0]
    for number, (word, chance) in enumerate(zip(words, chances, strict=True), len(SPECIALS)):
        ways = _ways(word, tokenizer)
        for way in ways:
            node = ROOT
            for token in way:
                key = node * len(tokenizer) + token
                node, above = steps.setdefault(key, len(ends)), node
                if node == len(ends):
                    ends.append([])
                    mass.append(0.0)
                    depths.append(depths[above] + 1)
                mass[node] += chance / len(ways)
            ends[node].append(number)
    most = max(map(len, ends))
    ahead = np.log(np.maximum(mass, 1e-30))
    ahead[[ROOT, UNKNOWN]] = 0.0, float(ngrams.scores[UNK])
    keys = torch.tensor(list(steps), dtype=torch.long)
    keys, order = keys.sort()
    trie = {
        "keys": keys,
        "following": torch.tensor(list(steps.values()))[order],
        "words": torch.tensor([(e or [UNK]) + [BLANK] * (most - len(e or [UNK])) for e in ends]),
        "ahead": torch.from_numpy(ahead).float(),
        "depths": torch.tensor(depths),
    }
    return WordNgramModel(ngrams, words, len(tokenizer), tokenizer.pieces.index(SPACE), trie)


def _ways(word: str, tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    """The tokens of each way to spell a word.

    Raises:
        ModelError: there is none.
    """
    if isinstance(tokenizer, PhonemeTokenizer):
        ways = tokenizer.pronunciations(word)
    else:
        ways = [tuple(tokenizer.encode(word))]
    if not ways or any(UNK in way for way in ways):
        raise ModelError(
            "n-grams of words",
            f"the model cannot spell {word!r}",
            "Build them for this model with asr-s2s ngram --words",
        )
    return ways
