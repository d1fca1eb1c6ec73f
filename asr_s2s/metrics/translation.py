"""Translation scores BLEU, chrF and TER, and significance tests of the difference of two systems.

Scores are computed by sacrebleu (Post, 2018) over a whole test set, from 0 to 100 (TER may exceed
it), with a signature that makes them reproducible. BLEU (Papineni et al., 2002) and chrF (Popović,
2015) are better when higher, TER (Snover et al., 2006) when lower.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest
from sacremoses import MosesPunctNormalizer, MosesTokenizer
from sacremoses.corpus import NonbreakingPrefixes

from asr_s2s.errors import TextError
from asr_s2s.metrics.significance import SEED

MOSES_LANGUAGES = sorted({*NonbreakingPrefixes().available_langs.values(), "ja", "ko"})
"""Codes of the languages supported by the Moses tokenizer."""
UNSPACED = ("zh", "ja-mecab", "char")
"""Tokenizers of BLEU for text without spaces between words."""


@dataclass(frozen=True)
class Score:
    """Score of a test set."""

    value: float
    """Points, 0 to 100."""
    signature: str
    """Everything needed to reproduce the score."""


@dataclass(frozen=True)
class SentenceScore:
    """Score of one sentence."""

    index: int
    """Index in the test set, from 0."""
    hypothesis: str
    references: tuple[str, ...]
    chrf: float
    """Sentence-level chrF against the closest reference, 0 to 100."""


@dataclass(frozen=True)
class TranslationScores:
    """Scores of the translations of a test set."""

    bleu: Score
    chrf: Score
    ter: Score
    lowercase_tokenized_bleu: Score | None
    """BLEU on lowercased, Moses-tokenized text, as in older papers; None if not requested."""
    sentences: tuple[SentenceScore, ...]

    def worst(self, count: int) -> list[SentenceScore]:
        """Sentences with the lowest chrF, lowest first, except those equal to a reference."""
        wrong = [s for s in self.sentences if s.hypothesis not in s.references]
        return sorted(wrong, key=lambda s: s.chrf)[:count]


@dataclass(frozen=True)
class Estimate:
    """A score and its 95 % confidence interval, in points."""

    value: float
    mean: float
    """Mean over the bootstrap samples; center of the interval."""
    margin: float
    """Half the width of the interval."""


@dataclass(frozen=True)
class Difference:
    """Difference of two systems in one metric."""

    system: Estimate
    baseline: Estimate
    p_value: float
    """p-value of sacrebleu: share of samples whose difference minus the mean difference exceeds the
    observed one. It is one-sided, about half of a two-sided p-value."""
    signature: str

    @property
    def difference(self) -> float:
        """Score of the system minus score of the baseline, in points."""
        return self.system.value - self.baseline.value


@dataclass(frozen=True)
class Comparison:
    """Differences of a system from a baseline on the same sentences."""

    bleu: Difference
    chrf: Difference
    samples: int
    """Number of bootstrap samples."""


def check_settings(tokenizer: str, lowercase_tokenized: str | None = None) -> None:
    """Check the settings of `score_translations` before any sentence is translated.

    Raises:
        TextError: sacrebleu has no such tokenizer, the tokenizer's dependencies are not installed,
            or Moses does not support the language.
    """
    _bleu(tokenizer)
    if lowercase_tokenized is not None and lowercase_tokenized not in MOSES_LANGUAGES:
        raise TextError(
            lowercase_tokenized,
            f"expected one of Moses' languages, {', '.join(MOSES_LANGUAGES)}",
            "Give one of them; Moses itself falls back to en",
        )


def score_translations(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenizer: str = "13a",
    lowercase_tokenized: str | None = None,
) -> TranslationScores:
    """BLEU, chrF and TER of hypotheses against their references.

    Args:
        hypotheses: one hypothesis per sentence; may be empty.
        references: `references[i]` has one or more references of hypothesis i.
        tokenizer: sacrebleu's name of BLEU's tokenizer. chrF does not use it; with one of
            `UNSPACED`, TER treats each Chinese or Japanese character as a word.
        lowercase_tokenized: target language code, to also compute BLEU as in older papers: with
            Moses, both sides are punctuation-normalized, lowercased and tokenized.

    Raises:
        TextError: as `check_settings`.
    """
    check_settings(tokenizer, lowercase_tokenized)
    _check_lengths(hypotheses, references)
    sentence_chrf = CHRF()
    older = None
    if lowercase_tokenized is not None:
        prepare = _MosesLowercase(lowercase_tokenized)
        older = _score(
            _bleu("none"),
            [prepare(text) for text in hypotheses],
            [[prepare(text) for text in several] for several in references],
        )
        preparation = f"prep:moses-{lowercase_tokenized}-lc|sacremoses:{version('sacremoses')}"
        older = Score(older.value, f"{older.signature}|{preparation}")
    return TranslationScores(
        bleu=bleu(hypotheses, references, tokenizer),
        chrf=chrf(hypotheses, references),
        ter=ter(hypotheses, references, tokenizer),
        lowercase_tokenized_bleu=older,
        sentences=tuple(
            SentenceScore(
                i, text, tuple(several), sentence_chrf.sentence_score(text, several).score
            )
            for i, (text, several) in enumerate(zip(hypotheses, references, strict=True))
        ),
    )


def bleu(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str = "13a"
) -> Score:
    """BLEU of a test set; arguments and errors as in `score_translations`."""
    return _score(_bleu(tokenizer), hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """ChrF of a test set; arguments as in `score_translations`."""
    return _score(CHRF(), hypotheses, references)


def ter(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str = "13a"
) -> Score:
    """TER of a test set; arguments as in `score_translations`, `tokenizer` that of BLEU."""
    return _score(_ter(tokenizer), hypotheses, references)


def compare_translations(
    hypotheses: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenizer: str = "13a",
    samples: int = 1000,
    seed: int = SEED,
) -> Comparison:
    """Compare a system with a baseline by paired bootstrap resampling (Koehn, 2004).

    Args:
        hypotheses: hypotheses of the system, as for `score_translations`.
        baseline: hypotheses of the baseline for the same sentences.
        references: as for `score_translations`.
        tokenizer: as for `score_translations`.
        samples: number of bootstrap samples.
        seed: random seed, 1 or more.

    Raises:
        TextError: as `check_settings`.
    """
    _check_lengths(hypotheses, references)
    _check_lengths(baseline, references)
    if samples < 1 or seed < 1:
        raise ValueError(f"samples and seed must be at least 1, found {samples} and {seed}")
    with _bootstrap_seed(seed):
        signatures, results = PairedTest(
            [("baseline", baseline), ("system", hypotheses)],
            {"bleu": _bleu(tokenizer), "chrf": CHRF()},
            _streams(references),
            test_type="bs",
            n_samples=samples,
        )()
    return Comparison(
        bleu=_difference(results["BLEU"], str(signatures["BLEU"])),
        chrf=_difference(results["chrF2"], str(signatures["chrF2"])),
        samples=samples,
    )


class _MosesLowercase:
    """Text preprocessing of papers before sacrebleu, for example those on Multi30k."""

    def __init__(self, language: str) -> None:
        self._normalizer = MosesPunctNormalizer(language)
        self._tokenizer = MosesTokenizer(language)

    def __call__(self, text: str) -> str:
        lowercased = self._normalizer.normalize(text).lower()
        return str(self._tokenizer.tokenize(lowercased, return_str=True))


def _bleu(tokenizer: str) -> BLEU:
    names = ", ".join(BLEU.TOKENIZERS)
    if tokenizer not in BLEU.TOKENIZERS:
        raise TextError(
            tokenizer, f"expected one of sacrebleu's tokenizers, {names}", "Give one of them"
        )
    try:
        # `force` only silences a warning about tokenized text, which may be intended.
        return BLEU(tokenize=tokenizer, force=True)
    except (ImportError, OSError, RuntimeError) as error:
        # Some tokenizers need another package, some a file that sacrebleu downloads.
        reason = " ".join(str(error).split())
        raise TextError(
            tokenizer,
            f"this tokenizer cannot be used here: {reason}",
            "Install its dependencies, or choose another of " + names,
        ) from error


def _ter(tokenizer: str) -> TER:
    # TER splits words at spaces, so a whole Chinese sentence would count as one word.
    unspaced = tokenizer in UNSPACED
    return TER(normalized=unspaced, asian_support=unspaced)


def _score(metric: Metric, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    value = float(metric.corpus_score(hypotheses, _streams(references)).score)
    return Score(value, str(metric.get_signature()))


def _difference(results: Sequence[Any], signature: str) -> Difference:
    """Convert sacrebleu's results of baseline and system."""
    baseline, system = (Estimate(r.score, float(r.mean), float(r.ci)) for r in results)
    # For equal outputs, sacrebleu's test reports a significant difference: no sampled difference
    # exceeds the observed difference of 0.
    p_value = 1.0 if system.value == baseline.value else float(results[1].p_value)
    return Difference(system, baseline, p_value, signature)


def _streams(references: Sequence[Sequence[str]]) -> list[list[Any]]:
    """Transpose references to sacrebleu's format: all first references, all second ones and so
    on, None for sentences with fewer."""
    most = max(map(len, references))
    return [
        [several[i] if i < len(several) else None for several in references] for i in range(most)
    ]


def _check_lengths(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    counts = f"found {len(hypotheses)} hypotheses and references of {len(references)}"
    if not hypotheses or len(hypotheses) != len(references):
        raise ValueError(f"{counts} sentences; expected equal numbers of at least one")
    if not all(references):
        raise ValueError(f"{counts} sentences; a sentence has no reference")


@contextmanager
def _bootstrap_seed(seed: int) -> Iterator[None]:
    # sacrebleu reads its seed only from the environment.
    name = "SACREBLEU_SEED"
    before = os.environ.get(name)
    os.environ[name] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
