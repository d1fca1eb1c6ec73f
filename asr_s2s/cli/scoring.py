"""Scores and reports of `asr-s2s evaluate`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from asr_s2s.errors import UserError

if TYPE_CHECKING:
    from asr_s2s.config import TextConfig
    from asr_s2s.evaluate.error_rate import Utterance
    from asr_s2s.evaluate.report import Decoding, TextDecoding


class Format(StrEnum):
    """How the report is written."""

    text = "text"
    json = "json"


class Metric(StrEnum):
    """What is measured."""

    wer = "wer"
    bleu = "bleu"


@dataclass(frozen=True)
class Report:
    """How the outcome is shown and judged."""

    format: Format
    worst: int
    expect: float | None
    tolerance: float


@dataclass(frozen=True)
class Scoring:
    """What the user said of scoring; None where that is left to the model."""

    metric: Metric | None
    normalizer: str | None
    bleu_tokenizer: str | None
    lowercase_tokenized: str | None

    def settled(self, text: "TextConfig") -> "SettledScoring":
        """With what is left open filled in.

        Raises:
            UserError: an option is not of this metric, or names what there is not.
        """
        metric = self.metric or Metric(text.metric)
        options = {
            "--normalizer": (self.normalizer, Metric.wer),
            "--bleu-tokenizer": (self.bleu_tokenizer, Metric.bleu),
            "--lowercase-tokenized": (self.lowercase_tokenized, Metric.bleu),
        }
        for name, (value, wanted) in options.items():
            if value is not None and metric is not wanted:
                problem = f"this is for {wanted}, and {metric} is measured"
                raise UserError(name, problem, f"Leave it out, or give --metric {wanted}")
        tokenizer = self.bleu_tokenizer or text.bleu_tokenizer
        if metric is Metric.bleu:
            from asr_s2s.evaluate.translation import check_settings

            # A wrong name is an error now, not after decoding.
            check_settings(tokenizer, self.lowercase_tokenized)
        return SettledScoring(
            metric=metric,
            normalizer=self.normalizer or text.normalizer,
            bleu_tokenizer=tokenizer,
            lowercase_tokenized=self.lowercase_tokenized,
        )


@dataclass(frozen=True)
class SettledScoring:
    """How hypotheses are scored."""

    metric: Metric
    normalizer: str
    bleu_tokenizer: str
    lowercase_tokenized: str | None

    def print_report(
        self,
        utterances: "Sequence[Utterance]",
        decoding: "Decoding | TextDecoding | None",
        report: Report,
    ) -> bool:
        """Score, print the report, and tell whether what was expected is met."""
        measure = self._translation if self.metric is Metric.bleu else self._error_rates
        text, met = measure(utterances, decoding, report)
        print(text)
        return met

    def _error_rates(
        self,
        utterances: "Sequence[Utterance]",
        decoding: "Decoding | TextDecoding | None",
        report: Report,
    ) -> tuple[str, bool]:
        from asr_s2s.evaluate.error_rate import score
        from asr_s2s.evaluate.error_rate_report import Expectation, json_report, text_report
        from asr_s2s.evaluate.significance import confidence

        rates = score(utterances, self.normalizer)
        intervals = confidence(rates)
        expectation = None
        if report.expect is not None:
            expectation = Expectation(report.expect, report.tolerance, 100 * rates.word_error_rate)
        if report.format is Format.json:
            text = _one_line(json_report(rates, intervals, decoding, report.worst, expectation))
        else:
            text = text_report(rates, intervals, decoding, report.worst)
            if expectation is not None:
                text = f"{text}\n\n{expectation}"
        return text, expectation is None or expectation.met

    def _translation(
        self,
        utterances: "Sequence[Utterance]",
        decoding: "Decoding | TextDecoding | None",
        report: Report,
    ) -> tuple[str, bool]:
        from asr_s2s.evaluate.translation import score_translations
        from asr_s2s.evaluate.translation_report import BleuExpectation, json_report, text_report

        hypotheses = [utterance.hypothesis for utterance in utterances]
        references = [(u.reference, *u.alternatives) for u in utterances]
        scores = score_translations(
            hypotheses,
            references,
            tokenizer=self.bleu_tokenizer,
            lowercase_tokenized=self.lowercase_tokenized,
        )
        expectation = None
        if report.expect is not None:
            expectation = BleuExpectation(report.expect, report.tolerance, scores.bleu.value)
        if report.format is Format.json:
            text = _one_line(json_report(scores, utterances, decoding, report.worst, expectation))
        else:
            text = text_report(scores, utterances, decoding, report.worst)
            if expectation is not None:
                text = f"{text}\n\n{expectation}"
        return text, expectation is None or expectation.met


def _one_line(report: dict[str, Any]) -> str:
    return json.dumps(report, ensure_ascii=False)
