"""Scores of summaries and replies: ROUGE, and the diversity of outputs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer

from asr_s2s.text.words import split_words

ROUGE = ("rouge1", "rouge2", "rougeL")
"""Names of the scores, as in rouge-score: shared words, shared pairs of words, and the longest
common subsequence."""
_LATIN = re.compile("[A-Za-z]")


@dataclass(frozen=True)
class RougeScores:
    """ROUGE of each output (Lin, 2004), as F1 scores from 0 to 1."""

    f1: dict[str, NDArray[np.float64]]
    """Scores `(outputs,)` by the names in `ROUGE`. Of several references, the best one counts."""
    signature: str
    """Everything needed to reproduce the scores."""


class _AnyScript:
    """Tokenizer of rouge-score for any script: lowercase words, or single characters of Chinese and
    Japanese, without the punctuation around them."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def words(text: str) -> list[str]:
    """Split text of any script into lowercase words without the punctuation around them."""
    split = (re.sub(r"^\W+|\W+$", "", word.lower()) for word in split_words(text))
    return [word for word in split if word]


def rouge(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> RougeScores:
    """Compute ROUGE with the package rouge-score.

    Its own tokenizer, with Porter's stemmer, keeps only ASCII letters and digits. It is used if
    most letters of the references are ASCII; otherwise texts are split by `words`, without a
    stemmer.

    Args:
        hypotheses: one output per source; may be empty.
        references: one or more references of each output.
    """
    letters = [letter for several in references for text in several for letter in text]
    letters = [letter for letter in letters if letter.isalpha()]
    latin = 2 * sum(_LATIN.match(letter) is not None for letter in letters) >= len(letters)
    tokenizer = None if latin else _AnyScript()
    scorer = RougeScorer(list(ROUGE), use_stemmer=latin, tokenizer=tokenizer)
    rows = [
        scorer.score_multi(several, text)
        for text, several in zip(hypotheses, references, strict=True)
    ]
    chosen = "tok:rouge-score|stemmer:porter" if latin else "tok:words|stemmer:none"
    return RougeScores(
        {name: np.array([row[name].fmeasure for row in rows]) for name in ROUGE},
        f"{chosen}|average:mean|rouge-score:{version('rouge-score')}",
    )


def ngrams(text: str, order: int) -> list[tuple[str, ...]]:
    """Return the n-grams of the words of a text, for distinct-n (Li et al., 2016)."""
    split = words(text)
    return [tuple(split[i : i + order]) for i in range(len(split) - order + 1)]
