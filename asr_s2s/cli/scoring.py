"""Scores and reports of `asr-s2s evaluate`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_s2s.errors import UserError

if TYPE_CHECKING:
    from asr_s2s.config import TextConfig
    from asr_s2s.evaluate.error_rate import Utterance
    from asr_s2s.evaluate.report import Decoding, TextDecoding
    from asr_s2s.evaluate.transcripts import Entry


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
    baseline: Path | None

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
        baseline = None
        tokenizer = self.bleu_tokenizer or text.bleu_tokenizer
        if metric is Metric.bleu:
            from asr_s2s.evaluate.translation import check_settings

            # A wrong name is an error now, not after decoding.
            check_settings(tokenizer, self.lowercase_tokenized)
        if self.baseline is not None:
            from asr_s2s.evaluate.transcripts import read_transcripts

            baseline = read_transcripts(self.baseline, translations=metric is Metric.bleu)
        return SettledScoring(
            metric=metric,
            normalizer=self.normalizer or text.normalizer,
            bleu_tokenizer=tokenizer,
            lowercase_tokenized=self.lowercase_tokenized,
            baseline_file=self.baseline,
            baseline=baseline,
        )


@dataclass(frozen=True)
class SettledScoring:
    """How hypotheses are scored."""

    metric: Metric
    normalizer: str
    bleu_tokenizer: str
    lowercase_tokenized: str | None
    baseline_file: Path | None
    baseline: "Sequence[Entry] | None"
    """What the baseline file holds."""

    def check_baseline(self, references: "Sequence[Entry]") -> None:
        """Tell before decoding that the baseline is of other utterances or sentences.

        Raises:
            UserError: it is.
        """
        if self.baseline is not None:
            self._beside(references)

    def print_report(
        self,
        utterances: "Sequence[Utterance]",
        decoding: "Decoding | TextDecoding | None",
        report: Report,
    ) -> bool:
        """Score, print the report, and tell whether what was expected is met.

        Raises:
            UserError: the baseline is of other utterances or sentences.
        """
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
        from asr_s2s.evaluate.significance import compare_error_rates, confidence

        rates = score(utterances, self.normalizer)
        intervals = confidence(rates)
        comparison = None
        if self.baseline is not None:
            others = self._baseline_of(utterances)
            before = [replace(u, hypothesis=t) for u, t in zip(utterances, others, strict=True)]
            comparison = compare_error_rates(rates, score(before, self.normalizer))
        expectation = None
        if report.expect is not None:
            expectation = Expectation(report.expect, report.tolerance, 100 * rates.word_error_rate)
        if report.format is Format.json:
            text = _one_line(
                json_report(rates, intervals, decoding, comparison, report.worst, expectation)
            )
        else:
            text = text_report(rates, intervals, decoding, comparison, report.worst)
            if expectation is not None:
                text = f"{text}\n\n{expectation}"
        return text, expectation is None or expectation.met

    def _translation(
        self,
        utterances: "Sequence[Utterance]",
        decoding: "Decoding | TextDecoding | None",
        report: Report,
    ) -> tuple[str, bool]:
        from asr_s2s.evaluate.translation import compare_translations, score_translations
        from asr_s2s.evaluate.translation_report import BleuExpectation, json_report, text_report

        hypotheses = [utterance.hypothesis for utterance in utterances]
        references = [(u.reference, *u.alternatives) for u in utterances]
        scores = score_translations(
            hypotheses,
            references,
            tokenizer=self.bleu_tokenizer,
            lowercase_tokenized=self.lowercase_tokenized,
        )
        comparison = None
        if self.baseline is not None:
            comparison = compare_translations(
                hypotheses,
                self._baseline_of(utterances),
                references,
                tokenizer=self.bleu_tokenizer,
            )
        expectation = None
        if report.expect is not None:
            expectation = BleuExpectation(report.expect, report.tolerance, scores.bleu.value)
        if report.format is Format.json:
            text = _one_line(
                json_report(scores, utterances, decoding, comparison, report.worst, expectation)
            )
        else:
            text = text_report(scores, utterances, decoding, comparison, report.worst)
            if expectation is not None:
                text = f"{text}\n\n{expectation}"
        return text, expectation is None or expectation.met

    def _baseline_of(self, utterances: "Sequence[Utterance]") -> list[str]:
        from asr_s2s.evaluate.transcripts import Entry

        return self._beside([Entry(u.reference, u.id, u.recording) for u in utterances])

    def _beside(self, references: "Sequence[Entry]") -> list[str]:
        """The baseline's hypotheses, in the order of the references."""
        from asr_s2s.evaluate.transcripts import pair

        paired = pair(
            references,
            self.baseline or (),
            reference_file="the evaluated data",
            hypothesis_file=str(self.baseline_file),
        )
        return [utterance.hypothesis for utterance in paired]


def _one_line(report: dict[str, Any]) -> str:
    return json.dumps(report, ensure_ascii=False)
