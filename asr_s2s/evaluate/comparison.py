"""Comparison of two systems on the same utterances: scores, breakdowns and changed utterances.

The systems are called A and B; a difference is B - A. Error rates are in percent and compared by
the paired bootstrap of `significance`; BLEU and chrF are in points and compared by the paired
bootstrap of sacrebleu.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from asr_s2s.errors import UserError
from asr_s2s.evaluate.breakdown import check_fields, group_by_field, group_by_length
from asr_s2s.evaluate.error_rate_report import resampling_text
from asr_s2s.metrics.error_rate import ErrorRates, Utterance, UtteranceErrors, score, total
from asr_s2s.metrics.metric import METRICS, Metric
from asr_s2s.metrics.significance import FEW, Interval, compare_error_rates, confidence
from asr_s2s.metrics.translation import Difference as TranslationDifference
from asr_s2s.metrics.translation import compare_translations, score_translations

SIGNIFICANT = 0.05
"""Significance level: a lower p-value is significant."""
LENGTH, SPEAKER = "length", "speaker"
"""Breakdowns that are always made if they have several parts."""


@dataclass(frozen=True)
class ScorePair:
    """One score of both systems, in percent or points."""

    name: str
    a: float
    b: float
    signature: str
    """Everything needed to reproduce both scores."""
    higher_is_better: bool
    interval_a: Interval | None = None
    """95 % confidence interval of A; None if there are too few utterances or no errors."""
    interval_b: Interval | None = None
    """95 % confidence interval of B, likewise."""
    interval: Interval | None = None
    """95 % confidence interval of the difference; None for BLEU and chrF, where sacrebleu computes
    none."""
    p_value: float | None = None
    """Probability of such a difference between equally good systems; None for one utterance."""
    few: bool = False
    """Whether there are fewer than `significance.FEW` units to draw from; then intervals are too
    narrow and the p-value is too low."""

    @property
    def difference(self) -> float:
        """B - A; 0 if both are infinite."""
        return 0.0 if self.a == self.b else self.b - self.a

    @property
    def better(self) -> Literal["A", "B"] | None:
        """System with the better score; None if they are equal."""
        if self.difference == 0:
            return None
        return "B" if (self.difference > 0) == self.higher_is_better else "A"

    @property
    def significant(self) -> bool:
        """Whether the p-value is below `SIGNIFICANT`, and not from too few utterances or
        speakers."""
        return self.p_value is not None and self.p_value < SIGNIFICANT and not self.few


@dataclass(frozen=True)
class PartPair:
    """Main score of both systems on a subset of utterances."""

    name: str
    utterances: int
    """Number of utterances."""
    score: ScorePair


@dataclass(frozen=True)
class Change:
    """An utterance for which one system is better than the other."""

    utterance: Utterance
    a: UtteranceErrors
    b: UtteranceErrors
    score_a: float
    """Word errors, or chrF in points."""
    score_b: float
    better: Literal["A", "B"]


@dataclass(frozen=True)
class Comparison:
    """Result of comparing two systems on the same utterances."""

    scores: tuple[ScorePair, ...]
    """Scores, the main one (WER or BLEU) first."""
    method: str
    """Description of how intervals and p-values are computed."""
    parts: dict[str, tuple[PartPair, ...]]
    """Breakdowns by `length`, by `speaker` and by fields of the reference file."""
    changes: tuple[Change, ...]
    """Changed utterances, largest change first."""
    by: str
    """Name of the score that `changes` are ordered by."""
    rates_a: ErrorRates
    """Error rates and word alignments of A, for translations too."""
    rates_b: ErrorRates
    """Error rates and word alignments of B."""

    @property
    def utterances(self) -> int:
        """Number of utterances."""
        return len(self.rates_a.utterances)


def compare_recognition(
    a: Sequence[Utterance], b: Sequence[Utterance], normalizer: str, fields: Sequence[str] = ()
) -> Comparison:
    """Compare two recognizers by their word, character and sentence error rates.

    Args:
        a: utterances with hypotheses of system A.
        b: the same utterances in the same order with hypotheses of system B.
        normalizer: name of the normalizer applied to references and hypotheses.
        fields: fields of the utterances to break the word error rate down by.

    Raises:
        UserError: there are fewer than two utterances, or a field does not exist.
    """
    groups = part_groups(a, fields)
    rates_a, rates_b = score(a, normalizer), score(b, normalizer)
    scores, method = _error_rates(rates_a, rates_b)

    def part(name: str, indices: list[int]) -> PartPair:
        own = _error_rates(_subset(rates_a, indices), _subset(rates_b, indices))[0][0]
        return PartPair(name, len(indices), own)

    changes = [
        Change(u, x, y, x.words.errors, y.words.errors, "A" if more > 0 else "B")
        for u, x, y in zip(a, rates_a.utterances, rates_b.utterances, strict=True)
        if (more := y.words.errors - x.words.errors)
    ]
    return Comparison(
        scores,
        method,
        {
            by: tuple(part(name, indices) for name, indices in one.items())
            for by, one in groups.items()
        },
        tuple(sorted(changes, key=lambda c: (-abs(c.score_b - c.score_a), c.a.words.reference))),
        "word errors",
        rates_a,
        rates_b,
    )


def compare_translation(
    a: Sequence[Utterance], b: Sequence[Utterance], tokenizer: str, fields: Sequence[str] = ()
) -> Comparison:
    """Compare two translators by BLEU and chrF.

    Args:
        a: sentences with translations of system A.
        b: the same sentences in the same order with translations of system B.
        tokenizer: sacrebleu's name of BLEU's tokenizer.
        fields: fields of the sentences to break BLEU down by.

    Raises:
        UserError: there are fewer than two sentences, or a field does not exist.
        TextError: the tokenizer does not exist.
    """
    groups = part_groups(a, fields)
    scores, samples = _translation_scores(a, b, tokenizer)

    def part(name: str, indices: list[int]) -> PartPair:
        before, after = ([several[i] for i in indices] for several in (a, b))
        return PartPair(name, len(indices), _translation_scores(before, after, tokenizer)[0][0])

    rates_a, rates_b = score(a), score(b)
    chrf_a, chrf_b = (
        [
            sentence.chrf
            for sentence in score_translations(*_texts(several), tokenizer=tokenizer).sentences
        ]
        for several in (a, b)
    )
    changes = [
        Change(u, x, y, before, after, "B" if after > before else "A")
        for u, x, y, before, after in zip(
            a, rates_a.utterances, rates_b.utterances, chrf_a, chrf_b, strict=True
        )
        if after != before
    ]
    return Comparison(
        scores,
        f"{samples:,} paired bootstrap samples of {len(a):,} sentences (sacrebleu)",
        {
            by: tuple(part(name, indices) for name, indices in one.items())
            for by, one in groups.items()
        },
        tuple(sorted(changes, key=lambda c: -abs(c.score_b - c.score_a))),
        METRICS["chrf"].title,
        rates_a,
        rates_b,
    )


def part_groups(
    utterances: Sequence[Utterance], fields: Sequence[str]
) -> dict[str, dict[str, list[int]]]:
    """Return the indices of the utterances in each part of each breakdown, by their names.

    Raises:
        UserError: there are fewer than two utterances, or a field does not exist.
    """
    if len(utterances) < 2:
        raise UserError(
            "the compared data",
            f"a comparison needs at least two utterances, found {len(utterances)}",
            "Compare more utterances",
        )
    check_fields(utterances, fields, (LENGTH, SPEAKER))
    automatic = {
        LENGTH: group_by_length([len(u.reference.split()) for u in utterances]),
        SPEAKER: group_by_field([u.speaker for u in utterances]),
    }
    return {
        **{by: groups for by, groups in automatic.items() if len(groups) > 1},
        **{
            name: group_by_field([u.fields.get(name) for u in utterances])
            for name in fields
            if name not in automatic
        },
    }


def _subset(rates: ErrorRates, indices: Sequence[int]) -> ErrorRates:
    utterances = tuple(rates.utterances[i] for i in indices)
    return ErrorRates(
        total(u.words for u in utterances),
        total(u.characters for u in utterances),
        utterances,
        rates.normalizer,
        rates.several_references,
    )


def _error_rates(a: ErrorRates, b: ErrorRates) -> tuple[tuple[ScorePair, ...], str]:
    """WER, CER and SER, and a description of the resampling; for one utterance without intervals
    and p-values."""
    metrics = [METRICS[name] for name in ("wer", "cer", "ser")]
    values = [
        (one.word_error_rate, one.character_error_rate, one.sentence_error_rate) for one in (a, b)
    ]
    if len(a.utterances) == 1:
        pairs = zip(metrics, *values, strict=True)
        return tuple(
            ScorePair(m.title, 100 * x, 100 * y, a.signature, not m.lower_is_better)
            for m, x, y in pairs
        ), ""
    found = compare_error_rates(b, a)
    drawn = found.resampling
    units = "speakers" if drawn.speakers else "utterances"
    signature = f"{a.signature}|bs:{drawn.samples}|seed:{drawn.seed}|drawn:{units}"
    intervals = [confidence(one) for one in (a, b)]
    own = [
        (None, None, None) if one is None else (one.words, one.characters, one.sentences)
        for one in intervals
    ]
    differences = (found.words, found.characters, found.sentences)
    scores = tuple(
        ScorePair(
            metric.title,
            100 * one.baseline,
            100 * one.system,
            signature,
            not metric.lower_is_better,
            _percent(before),
            _percent(after),
            _percent(one.interval),
            one.p_value,
            drawn.few,
        )
        for metric, one, before, after in zip(metrics, differences, *own, strict=True)
    )
    return scores, resampling_text(drawn, "paired bootstrap")


def _percent(interval: Interval | None) -> Interval | None:
    return None if interval is None else Interval(100 * interval.low, 100 * interval.high)


def _translation_scores(
    a: Sequence[Utterance], b: Sequence[Utterance], tokenizer: str
) -> tuple[tuple[ScorePair, ...], int]:
    """BLEU and chrF, and the number of bootstrap samples; for one sentence without intervals and
    p-values."""
    texts, references = _texts(a)
    found = compare_translations(_texts(b)[0], texts, references, tokenizer=tokenizer)
    return tuple(
        _points(METRICS[name], one, len(a))
        for name, one in (("bleu", found.bleu), ("chrf", found.chrf))
    ), found.samples


def _points(metric: Metric, one: TranslationDifference, sentences: int) -> ScorePair:
    interval_a, interval_b = (
        Interval(each.mean - each.margin, each.mean + each.margin) if sentences > 1 else None
        for each in (one.baseline, one.system)
    )
    return ScorePair(
        metric.title,
        one.baseline.value,
        one.system.value,
        one.signature,
        not metric.lower_is_better,
        interval_a,
        interval_b,
        p_value=one.p_value if sentences > 1 else None,
        few=1 < sentences < FEW,
    )


def _texts(utterances: Sequence[Utterance]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Hypotheses, and the references of each hypothesis."""
    return [u.hypothesis for u in utterances], [(u.reference, *u.alternatives) for u in utterances]
