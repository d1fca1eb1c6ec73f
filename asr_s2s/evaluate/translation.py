"""Translation scores: BLEU, chrF and TER, and whether two systems differ by more than chance.

All are sacrebleu's (Post, 2018), of a whole set, from 0 to 100 (TER may pass it); each comes with
the signature that makes it reproducible. BLEU (Papineni et al., 2002) and chrF (Popović, 2015) are
better when higher, TER (Snover et al., 2006) when lower.
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
from asr_s2s.evaluate.significance import SEED

MOSES_LANGUAGES = sorted({*NonbreakingPrefixes().available_langs.values(), "ja", "ko"})
"""Codes of the languages that Moses has rules for."""
UNSPACED = ("zh", "ja-mecab", "char")
"""BLEU's tokenizers of text without blanks between words."""


@dataclass(frozen=True)
class Score:
    """A score of a set."""

    value: float
    """Points, 0 to 100."""
    signature: str
    """What is needed to reproduce it."""


@dataclass(frozen=True)
class SentenceScore:
    """How one sentence was translated."""

    index: int
    """Its place in the set, from 0."""
    hypothesis: str
    references: tuple[str, ...]
    chrf: float
    """Sentence-level chrF against the closest reference, 0 to 100."""


@dataclass(frozen=True)
class TranslationScores:
    """Scores of a set of translations."""

    bleu: Score
    chrf: Score
    ter: Score
    lowercase_tokenized_bleu: Score | None
    """BLEU as the older literature counts it, if a language was given."""
    sentences: tuple[SentenceScore, ...]

    def worst(self, count: int) -> list[SentenceScore]:
        """The sentences of lowest chrF that are not equal to a reference, lowest first."""
        wrong = [s for s in self.sentences if s.hypothesis not in s.references]
        return sorted(wrong, key=lambda s: s.chrf)[:count]


@dataclass(frozen=True)
class Estimate:
    """A score and its 95 % confidence interval, in points."""

    value: float
    mean: float
    """Of the bootstrap samples; the center of the interval."""
    margin: float
    """Half of the interval's width."""


@dataclass(frozen=True)
class Difference:
    """Two systems compared by one metric."""

    system: Estimate
    baseline: Estimate
    p_value: float
    """sacrebleu's: the part of the drawn sets whose difference, less the mean of all, is above this
    one. It looks to one side, and is about half of a p-value that counts both."""
    signature: str

    @property
    def difference(self) -> float:
        """Points by which the system is above the baseline."""
        return self.system.value - self.baseline.value


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline on the same sentences."""

    bleu: Difference
    chrf: Difference
    samples: int
    """Bootstrap samples drawn."""


def check_settings(tokenizer: str, lowercase_tokenized: str | None = None) -> None:
    """Raise what `score_translations` would, before any sentence is translated.

    Raises:
        TextError: sacrebleu has no such tokenizer, or what it needs is not installed, or Moses has
            no rules for the language.
    """
    _bleu(tokenizer)
    if lowercase_tokenized is not None and lowercase_tokenized not in MOSES_LANGUAGES:
        raise TextError(
            lowercase_tokenized,
            f"expected one of Moses' languages, {', '.join(MOSES_LANGUAGES)}",
            "Give one of them; en is what Moses falls back on",
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
        hypotheses: one for each sentence; an empty one is a translation that says nothing.
        references: `references[i]` holds all the references of hypothesis i, one at least.
        tokenizer: sacrebleu's name of BLEU's tokenizer. chrF is without it; TER takes each Chinese
            character for a word where it is one of `UNSPACED`.
        lowercase_tokenized: code of the target language; gives the BLEU of the older literature
            too. Both sides go through Moses: punctuation normalized, lowercased, tokenized.

    Raises:
        TextError: as `check_settings`.
    """
    check_settings(tokenizer, lowercase_tokenized)
    _check_lengths(hypotheses, references)
    chrf = CHRF()
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
        bleu=_score(_bleu(tokenizer), hypotheses, references),
        chrf=_score(chrf, hypotheses, references),
        ter=_score(_ter(tokenizer), hypotheses, references),
        lowercase_tokenized_bleu=older,
        sentences=tuple(
            SentenceScore(i, text, tuple(several), chrf.sentence_score(text, several).score)
            for i, (text, several) in enumerate(zip(hypotheses, references, strict=True))
        ),
    )


def compare_translations(
    hypotheses: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenizer: str = "13a",
    samples: int = 1000,
    seed: int = SEED,
) -> Comparison:
    """Paired bootstrap resampling (Koehn, 2004) of a system against a baseline.

    Args:
        hypotheses: of the system, as for `score_translations`.
        baseline: the other system's, of the same sentences.
        references: as for `score_translations`.
        tokenizer: as for `score_translations`.
        samples: sets drawn with replacement.
        seed: of the draw, 1 or more; the same seed gives the same result.

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
    """Text as papers before sacrebleu scored it, for example those on Multi30k."""

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
        # `force` only silences a warning about tokenized text, which may well be meant.
        return BLEU(tokenize=tokenizer, force=True)
    except (ImportError, OSError, RuntimeError) as error:
        # Some need another package, some a file that sacrebleu fetches.
        reason = " ".join(str(error).split())
        raise TextError(
            tokenizer,
            f"this tokenizer cannot be used here: {reason}",
            "Install what it needs, or take another of " + names,
        ) from error


def _ter(tokenizer: str) -> TER:
    # TER's words are what blanks part: a whole sentence of Chinese would be right or wrong as one.
    unspaced = tokenizer in UNSPACED
    return TER(normalized=unspaced, asian_support=unspaced)


def _score(metric: Metric, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    value = float(metric.corpus_score(hypotheses, _streams(references)).score)
    return Score(value, str(metric.get_signature()))


def _difference(results: Sequence[Any], signature: str) -> Difference:
    """From sacrebleu's results of baseline and system."""
    before, after = (Estimate(r.score, float(r.mean), float(r.ci)) for r in results)
    # sacrebleu's test takes two equal outputs for significantly different: it asks how often
    # chance gives more than no difference, and with equal outputs it never does.
    p_value = 1.0 if after.value == before.value else float(results[1].p_value)
    return Difference(after, before, p_value, signature)


def _streams(references: Sequence[Sequence[str]]) -> list[list[Any]]:
    """All first references, all second ones and so on, None where a sentence has no more."""
    most = max(map(len, references))
    return [
        [several[i] if i < len(several) else None for several in references] for i in range(most)
    ]


def _check_lengths(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    counts = f"found {len(hypotheses)} hypotheses and references of {len(references)}"
    if not hypotheses or len(hypotheses) != len(references):
        raise ValueError(f"{counts} sentences; expected as many, and one at least")
    if not all(references):
        raise ValueError(f"{counts} sentences; one of them has no reference")


@contextmanager
def _bootstrap_seed(seed: int) -> Iterator[None]:
    # sacrebleu takes its seed from the environment only.
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
