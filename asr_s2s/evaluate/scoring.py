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
    by: Sequence[str] = ()
    """Fields of the references to break scores down by, besides language and corpus."""


@dataclass(frozen=True)
class ScoringOptions:
    """Scoring options of the command line; None where the model's setting applies."""

    metrics: Sequence[str]
    """Names of the main metric and of further ones; none for the model's."""
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
        chosen, *others = self.metrics or (text.metric, *text.further_metrics)
        where = "--metric" if self.metrics else "text.metric"
        metric = find_metric(chosen, where)
        further = tuple(find_metric(name, where) for name in dict.fromkeys(others))
        mixed = language is not None and bool(text.translation_languages)
        if mixed:
            text = settings_of_language(replace(text, metric=chosen), language)
            metric = find_metric(text.metric)
            further = ()
        reports = {one.report for one in (metric, *further)}
        options: dict[str, tuple[str | None, Report]] = {
            "--normalizer": (self.normalizer, "error rates"),
            "--bleu-tokenizer": (self.bleu_tokenizer, "translation scores"),
            "--lowercase-tokenized": (self.lowercase_tokenized, "translation scores"),
        }
        for name, (value, report) in options.items():
            if value is not None and report not in reports and not mixed:
                first = metric_names(report)[0]
                problem = (
                    f"this option is for {', '.join(metric_names(report))}, "
                    f"but the metric is {chosen}"
                )
                raise UserError(name, problem, f"Remove this option, or give --metric {first}")
        tokenizer = self.bleu_tokenizer or text.bleu_tokenizer
        if "translation scores" in reports:
            from asr_s2s.metrics.translation import check_settings

            # Reports a wrong name before decoding starts.
            check_settings(tokenizer, self.lowercase_tokenized)
        return Scoring(
            metric=metric,
            further=further,
            normalizer=self.normalizer or text.normalizer,
            bleu_tokenizer=tokenizer,
            lowercase_tokenized=self.lowercase_tokenized,
        )


@dataclass(frozen=True)
class Scoring:
    """Complete settings for scoring hypotheses."""

    metric: Metric
    further: tuple[Metric, ...]
    """Further metrics to report."""
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
        from asr_s2s.evaluate.breakdown import score_parts
        from asr_s2s.evaluate.report import Expectation, finite, parts_json, parts_report

        scored = self._scored(utterances)
        # The first metric of a report heads it; others are also given last, except that the report
        # of text scores has all of its metrics in one table.
        heads = self.metric is METRICS[metric_names(self.metric.report)[0]]
        in_table = {self.metric.report} & {"text scores"}
        chosen = (self.metric, *self.further)
        parts = score_parts(utterances, report.by, lambda some: _values(chosen, self._scored(some)))
        expectation = None
        shown = [] if heads else [self.metric]
        shown += [one for one in self.further if one.report not in in_table]
        values = dict(zip(shown, _values(shown, scored), strict=True))
        if report.expect is not None:
            measured = self.metric.scale * _values([self.metric], scored)[0]
            expectation = Expectation(self.metric, report.expect, report.tolerance, measured)
        make = {
            "error rates": self._error_rates,
            "translation scores": self._translation,
            "text scores": self._texts,
        }[self.metric.report or "error rates"]
        made = make(scored, decoding, report, expectation)
        if isinstance(made, dict):
            for one, value in values.items():
                made.setdefault(one.field, finite(value))
            if parts:
                made["parts"] = {by: parts_json(several, chosen) for by, several in parts.items()}
            return made, expectation
        made = "\n".join(
            [
                made,
                *(
                    "\n".join(("", *parts_report(by, several, chosen)))
                    for by, several in parts.items()
                ),
            ]
        )
        for one, value in values.items():
            made += f"\n\n{one.format(value)}"
        if expectation is not None:
            made += f"\n\n{expectation}"
        return made, expectation

    @property
    def needs_model(self) -> bool:
        """Whether a metric is computed from the model's probabilities of the references."""
        return any(one.needs_model for one in (self.metric, *self.further))

    def _scored(self, utterances: "Sequence[Utterance]") -> Scored:
        return Scored(utterances, self.normalizer, self.bleu_tokenizer)

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

    def _texts(
        self,
        scored: Scored,
        decoding: "Decoding | TextDecoding | None",
        report: ReportOptions,
        expectation: "Expectation | None",
    ) -> str | dict[str, Any]:
        from asr_s2s.evaluate.text_score_report import json_report, text_report

        if report.format is Format.json:
            return json_report(scored, self.metric, decoding, report.worst, expectation)
        return text_report(scored, self.metric, decoding, report.worst)


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


def _values(metrics: Sequence[Metric], scored: Scored) -> list[float]:
    return [metric.compute(scored) for metric in metrics if metric.compute is not None]
