"""Table of the judges that a search may have beside its proposer.

A new judge is one entry; its weight, if users set it, is a field of `config.py:SearchConfig`.
"""

from collections.abc import Callable
from typing import NamedTuple

from asr_s2s.config import SearchConfig
from asr_s2s.lm.language_model import LanguageModels
from asr_s2s.lm.word_ngram import WordNgramModel
from asr_s2s.model.ctc import CTCFrames
from asr_s2s.search.fusion import (
    LanguageModelScorer,
    NgramScorer,
    WordNgramScorer,
    WordScorer,
)
from asr_s2s.search.phrases import Phrases, PhraseScorer
from asr_s2s.search.scorers import CTCPrefixScorer
from asr_s2s.search.steps import WeightedJudge


class SearchInputs(NamedTuple):
    """Everything that judges are built from, for one batch."""

    batch: int
    """Number of utterances."""
    config: SearchConfig
    ctc: CTCFrames | None
    """CTC log-probabilities that are weighted beside attention; None if CTC is not used, or used
    alone."""
    language_models: LanguageModels
    phrases: Phrases | None


def make_judges(inputs: SearchInputs) -> list[WeightedJudge]:
    """Build the judges of a search, in the order of the table."""
    made = (make(inputs) for make in JUDGES.values())
    return [weighted for weighted in made if weighted is not None]


def _ctc(inputs: SearchInputs) -> WeightedJudge | None:
    if inputs.ctc is None:
        return None
    return CTCPrefixScorer(*inputs.ctc), inputs.config.ctc_weight


def _ngram(inputs: SearchInputs) -> WeightedJudge | None:
    model, weight = inputs.language_models.ngram, inputs.config.ngram_weight
    if model is None or weight <= 0.0:
        return None
    if isinstance(model, WordNgramModel):
        return WordNgramScorer(model, inputs.batch), weight
    return NgramScorer(model, inputs.batch), weight


def _words(inputs: SearchInputs) -> WeightedJudge | None:
    model, bonus = inputs.language_models.ngram, inputs.config.word_bonus
    if not isinstance(model, WordNgramModel) or not bonus:
        return None
    return WordScorer(model.space), bonus


def _language_model(inputs: SearchInputs) -> WeightedJudge | None:
    model, weight = inputs.language_models.recurrent, inputs.config.language_model_weight
    if model is None or weight <= 0.0:
        return None
    return LanguageModelScorer(model, inputs.batch), weight


def _phrases(inputs: SearchInputs) -> WeightedJudge | None:
    if inputs.phrases is None:
        return None
    return PhraseScorer(inputs.phrases, inputs.batch), 1.0


JUDGES: dict[str, Callable[[SearchInputs], WeightedJudge | None]] = {
    "ctc": _ctc,
    "ngram": _ngram,
    "words": _words,
    "language_model": _language_model,
    "phrases": _phrases,
}
"""Functions that build a judge with its weight, or None if the search goes without it."""
