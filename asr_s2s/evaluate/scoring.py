"""Scoring of hypotheses by options of the command line, and printed reports."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, get_args

from asr_s2s.errors import UserError
from asr_s2s.metrics.language import settings_of_language
from asr_s2s.metrics.metric import (
    METRICS,
    Metric,
    Report,
    Scored,
    find_metric,
    metric_names,
)

if TYPE_CHECKING:
    from asr_s2s.config import TextConfig
    from asr_s2s.evaluate.report import Decoding, Expectation, TextDecoding
    from asr_s2s.metrics.error_rate import Utterance


class Format(StrEnum):
    """Format of a report."""

    text = "text"
    json = "json"


METRICS_HELP = "; ".join(f"{', '.join(metric_names(r))}: {r}" for r in get_args(Report))
"""Names of the metrics for help texts, by the report that contains them."""


@dataclass(frozen=True)
class ReportOptions:
    """Content of a report and the expected score."""

    format: Format
    worst: int
    """Number of hypotheses to show."""
    expect: float | None
    """Worst acceptable value of the metric, in percent or points; None to accept any."""
    tolerance: float
    """Points by which `expect` may be missed."""


@dataclass(frozen=True)
class ScoringOptions:
    """Scoring options of the command line; None where the model's setting applies."""

    metric: str | None
    """Name of a metric."""
    normalizer: str | None
    bleu_tokenizer: str | None
    lowercase_tokenized: str | None

    def resolve(self, text: "TextConfig", language: str | None = None) -> "Scoring":
        """Fill in options that were not given from the model's `text` section.

        Args:
            text: section of the model's configuration.
            language: of the outputs, if the model translates speech. Its transcripts and
                translations have different metrics, and an option applies to those it suits.

        Raises:
            UserError: an option does not apply to the metric, or its value is unknown.
        """
        chosen = self.metric or text.metric
        metric = find_metric(chosen, "text.metric" if self.metric is None else "--metric")
        mixed = language is not None and bool(text.translation_languages)
        if mixed:
            text = settings_of_language(replace(text, metric=chosen), language)
            metric = find_metric(text.metric)
        options: dict[str, tuple[str | None, Report]] = {
            "--normalizer": (self.normalizer, "error rates"),
            "--bleu-tokenizer": (self.bleu_tokenizer, "translation scores"),
            "--lowercase-tokenized": (self.lowercase_tokenized, "translation scores"),
        }
        for name, (value, report) in options.items():
            if value is not None and metric.report != report and not mixed:
                first, *others = metric_names(report)
                problem = (
                    f"this option is for {', '.join([first, *others])}, but the metric is {chosen}"
                )
                raise UserError(name, problem, f"Remove this option, or give --metric {first}")
        tokenizer = self.bleu_tokenizer or text.bleu_tokenizer
        if metric.of_translations:
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
        made, expectation = self.make_report(utterances, decoding, report)
        print(json.dumps(made, ensure_ascii=False) if isinstance(made, dict) else made)
        return expectation is None or expectation.met

    def make_report(
        self,
        utterances: "Sequence[Utterance]",
        decoding: "Decoding | TextDecoding | None",
        report: ReportOptions,
    ) -> "tuple[str | dict[str, Any], Expectation | None]":
        """Score hypotheses; arguments are as in `print_report`.

        Returns:
            The report, as text or as a JSON object, and the expected score, if any.
        """
        from asr_s2s.evaluate.report import Expectation, finite

        scored = Scored(utterances, self.normalizer, self.bleu_tokenizer)
        # The first metric of a report heads it; others are also given last.
        heads = self.metric is METRICS[metric_names(self.metric.report)[0]]
        expectation, value = None, None
        if self.metric.compute is not None and (report.expect is not None or not heads):
            value = self.metric.compute(scored)
        if report.expect is not None and value is not None:
            expectation = Expectation(
                self.metric, report.expect, report.tolerance, self.metric.scale * value
            )
        make = self._translation if self.metric.of_translations else self._error_rates
        made = make(scored, decoding, report, expectation)
        if isinstance(made, dict):
            if value is not None:
                made.setdefault(self.metric.field, finite(value))
            return made, expectation
        if value is not None and not heads:
            made += f"\n\n{self.metric.format(value)}"
        if expectation is not None:
            made += f"\n\n{expectation}"
        return made, expectation

    def _error_rates(
        self,
        scored: Scored,
        decoding: "Decoding | TextDecoding | None",
        report: ReportOptions,
        expectation: "Expectation | None",
    ) -> str | dict[str, Any]:
        from asr_s2s.evaluate.error_rate_report import json_report, text_report
        from asr_s2s.metrics.significance import confidence

        rates = scored.error_rates
        intervals = confidence(rates)
        if report.format is Format.json:
            return json_report(rates, intervals, decoding, report.worst, expectation)
        return text_report(rates, intervals, decoding, report.worst)

    def _translation(
        self,
        scored: Scored,
        decoding: "Decoding | TextDecoding | None",
        report: ReportOptions,
        expectation: "Expectation | None",
    ) -> str | dict[str, Any]:
        from asr_s2s.evaluate.translation_report import json_report, text_report
        from asr_s2s.metrics.translation import score_translations

        scores = score_translations(
            scored.hypotheses,
            scored.references,
            tokenizer=self.bleu_tokenizer,
            lowercase_tokenized=self.lowercase_tokenized,
        )
        utterances = scored.utterances
        if report.format is Format.json:
            return json_report(scores, utterances, decoding, report.worst, expectation)
        return text_report(scores, utterances, decoding, report.worst)


def print_by_language(
    parts: "Mapping[str, tuple[Scoring, Sequence[Utterance]]]",
    decoding: "Decoding | TextDecoding",
    report: ReportOptions,
) -> None:
    """Score the hypotheses of each language and print the reports.

    Args:
        parts: settings, references and hypotheses of each language.
        decoding: time spent on decoding all of them.
        report: format and content, without an expected score.
    """
    made = {
        language: scoring.make_report(utterances, None, report)[0]
        for language, (scoring, utterances) in parts.items()
    }
    if report.format is Format.json:
        print(json.dumps({"languages": made, **decoding.as_json()}, ensure_ascii=False))
        return
    for language, text in made.items():
        print(f"Language {language}\n{text}\n")
    print(decoding)
