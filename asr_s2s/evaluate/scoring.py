"""Scoring of hypotheses by options of the command line, and printed reports."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from asr_s2s.errors import UserError

if TYPE_CHECKING:
    from asr_s2s.config import TextConfig
    from asr_s2s.evaluate.report import Decoding, TextDecoding
    from asr_s2s.metrics.error_rate import Utterance


class Format(StrEnum):
    """Format of a report."""

    text = "text"
    json = "json"


class Metric(StrEnum):
    """Kind of score: error rates, or BLEU and other translation scores."""

    wer = "wer"
    bleu = "bleu"


@dataclass(frozen=True)
class ReportOptions:
    """Content of a report and the expected score."""

    format: Format
    worst: int
    """Number of hypotheses to show."""
    expect: float | None
    """Highest acceptable WER in percent, or lowest acceptable BLEU; None to accept any."""
    tolerance: float
    """Points by which `expect` may be missed."""


@dataclass(frozen=True)
class ScoringOptions:
    """Scoring options of the command line; None where the model's setting applies."""

    metric: Metric | None
    normalizer: str | None
    bleu_tokenizer: str | None
    lowercase_tokenized: str | None

    def resolve(self, text: "TextConfig") -> "Scoring":
        """Fill in options that were not given from the model's `text` section.

        Raises:
            UserError: an option does not apply to the metric, or its value is unknown.
        """
        metric = self.metric or Metric(text.metric)
        options = {
            "--normalizer": (self.normalizer, Metric.wer),
            "--bleu-tokenizer": (self.bleu_tokenizer, Metric.bleu),
            "--lowercase-tokenized": (self.lowercase_tokenized, Metric.bleu),
        }
        for name, (value, required) in options.items():
            if value is not None and metric is not required:
                problem = f"this option is for {required}, but the metric is {metric}"
                raise UserError(name, problem, f"Remove this option, or give --metric {required}")
        tokenizer = self.bleu_tokenizer or text.bleu_tokenizer
        if metric is Metric.bleu:
            from asr_s2s.metrics.translation import check_settings

            # Reports a wrong name before decoding starts.
            check_settings(tokenizer, self.lowercase_tokenized)
        return Scoring(
            metric=metric,
            normalizer=self.normalizer or text.normalizer,
            bleu_tokenizer=tokenizer,
            lowercase_tokenized=self.lowercase_tokenized,
        )


@dataclass(frozen=True)
class Scoring:
    """Complete settings for scoring hypotheses."""

    metric: Metric
    normalizer: str
    bleu_tokenizer: str
    lowercase_tokenized: str | None

    def print_report(
        self,
        utterances: "Sequence[Utterance]",
        decoding: "Decoding | TextDecoding | None",
        report: ReportOptions,
    ) -> bool:
        """Score hypotheses and print the report.

        Args:
            utterances: references and hypotheses.
            decoding: time spent on decoding; None for existing hypotheses.
            report: format, content and expected score.

        Returns:
            Whether the expected score is reached.
        """
        measure = self._translation if self.metric is Metric.bleu else self._error_rates
        text, met = measure(utterances, decoding, report)
        print(text)
        return met

    def _error_rates(
        self,
        utterances: "Sequence[Utterance]",
        decoding: "Decoding | TextDecoding | None",
        report: ReportOptions,
    ) -> tuple[str, bool]:
        from asr_s2s.evaluate.error_rate_report import Expectation, json_report, text_report
        from asr_s2s.metrics.error_rate import score
        from asr_s2s.metrics.significance import confidence

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
        report: ReportOptions,
    ) -> tuple[str, bool]:
        from asr_s2s.evaluate.translation_report import BleuExpectation, json_report, text_report
        from asr_s2s.metrics.translation import score_translations

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
