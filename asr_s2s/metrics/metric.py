"""Table of all metrics: how each is computed from outputs, compared, printed and named.

Settings, validation, reports and the command line read this table, so a new metric is one entry.
Scoring libraries are imported when a metric is computed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from asr_s2s.config_file import find_entry

if TYPE_CHECKING:
    from asr_s2s.metrics.error_rate import ErrorRates, Utterance


class Scored:
    """Outputs with their references, for the functions that compute metrics. Alignments and texts
    that several metrics need are computed once, on demand.

    Args:
        utterances: outputs, at least one.
        normalizer: name of the normalizer of error rates; outputs of validation are normalized.
        bleu_tokenizer: sacrebleu's name of the tokenizer of BLEU.
    """

    def __init__(
        self,
        utterances: "Sequence[Utterance]",
        normalizer: str = "verbatim",
        bleu_tokenizer: str = "13a",
    ) -> None:
        self.utterances = utterances
        self.normalizer = normalizer
        self.bleu_tokenizer = bleu_tokenizer

    @cached_property
    def error_rates(self) -> "ErrorRates":
        """Error rates with their alignments."""
        from asr_s2s.metrics.error_rate import score

        return score(self.utterances, self.normalizer)

    @property
    def hypotheses(self) -> list[str]:
        """Outputs as written."""
        return [utterance.hypothesis for utterance in self.utterances]

    @property
    def references(self) -> list[tuple[str, ...]]:
        """References of each output, one or more."""
        return [(u.reference, *u.alternatives) for u in self.utterances]


Report = Literal["error rates", "translation scores"]
"""Kind of report that contains a metric."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A way to measure outputs."""

    title: str
    """Name in printed reports."""
    field: str
    """Name in JSON reports and in metrics.jsonl."""
    unit: Literal["fraction", "points", "none"]
    """`fraction`: 1.0 is 100 % and is printed so; `points`: 0 to 100; `none`: without an upper
    limit."""
    lower_is_better: bool = True
    compute: Callable[[Scored], float] | None = None
    """Computes the value; None if it is not computed from outputs."""
    report: Report | None = None
    """Report that contains it; None if it is in none, so that it cannot be chosen."""
    logged_with: tuple[str, ...] = ()
    """Further metrics that validation logs with this one."""

    def error(self, value: float) -> float:
        """Convert a value to an error, of which lower is better: 0.05 for a WER of 5 %, 0.7 for a
        BLEU of 30."""
        fraction = value / 100 if self.unit == "points" else value
        return fraction if self.lower_is_better else 1 - fraction

    @property
    def of_translations(self) -> bool:
        """Whether it measures translations rather than transcripts."""
        return self.report == "translation scores"

    @property
    def scale(self) -> float:
        """Factor from a value to the printed number."""
        return 100.0 if self.unit == "fraction" else 1.0

    def number(self, value: float) -> str:
        """Format a value as it is printed, such as `5.07 %`."""
        return f"{self.scale * value:.2f}{' %' if self.unit == 'fraction' else ''}"

    def format(self, value: float) -> str:
        """Format a value with the metric's title, such as `WER 5.07 %`."""
        return f"{self.title} {self.number(value)}"


def _bleu(scored: Scored) -> float:
    from asr_s2s.metrics.translation import bleu

    return bleu(scored.hypotheses, scored.references, scored.bleu_tokenizer).value


def _chrf(scored: Scored) -> float:
    from asr_s2s.metrics.translation import chrf

    return chrf(scored.hypotheses, scored.references).value


def _ter(scored: Scored) -> float:
    from asr_s2s.metrics.translation import ter

    return ter(scored.hypotheses, scored.references, scored.bleu_tokenizer).value


METRICS = {
    "wer": Metric(
        title="WER",
        field="word_error_rate",
        unit="fraction",
        compute=lambda scored: scored.error_rates.word_error_rate,
        report="error rates",
        logged_with=("cer",),
    ),
    "cer": Metric(
        title="CER",
        field="character_error_rate",
        unit="fraction",
        compute=lambda scored: scored.error_rates.character_error_rate,
        report="error rates",
        logged_with=("wer",),
    ),
    "ser": Metric(
        title="SER",
        field="sentence_error_rate",
        unit="fraction",
        compute=lambda scored: scored.error_rates.sentence_error_rate,
        report="error rates",
    ),
    # The share of outputs equal to a reference. Error rates ignore the amount of space between
    # words, and so does this.
    "accuracy": Metric(
        title="accuracy",
        field="exact_match_accuracy",
        unit="fraction",
        lower_is_better=False,
        compute=lambda scored: 1 - scored.error_rates.sentence_error_rate,
        report="error rates",
    ),
    "bleu": Metric(
        title="BLEU",
        field="bleu",
        unit="points",
        lower_is_better=False,
        compute=_bleu,
        report="translation scores",
    ),
    "chrf": Metric(
        title="chrF",
        field="chrf",
        unit="points",
        lower_is_better=False,
        compute=_chrf,
        report="translation scores",
    ),
    "ter": Metric(
        title="TER", field="ter", unit="points", compute=_ter, report="translation scores"
    ),
    "perplexity": Metric(title="perplexity", field="perplexity", unit="none"),
}
"""Metrics by the name that configurations and options use."""


def metric_names(report: Report | None = None) -> list[str]:
    """Return the names of the metrics that can be chosen, or of those in a report."""
    return [
        name
        for name, metric in METRICS.items()
        if metric.report is not None and report in (None, metric.report)
    ]


def find_metric(name: str, where: str = "text.metric") -> Metric:
    """Return a metric that can be chosen.

    Args:
        where: key or option that names it.

    Raises:
        ConfigError: there is no such metric.
    """
    return find_entry({name: METRICS[name] for name in metric_names()}, name, where)


def measure(metric: Metric, scored: Scored) -> dict[str, float]:
    """Compute a metric and those logged with it, by their fields."""
    several = (metric, *(METRICS[name] for name in metric.logged_with))
    return {one.field: one.compute(scored) for one in several if one.compute is not None}
