"""Table of all metrics: how each is computed from outputs, compared, printed and named.

Settings, validation, reports and the command line read this table, so a new metric is one entry.
Scoring libraries are imported when a metric is computed.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeAlias

from asr_s2s.config_file import find_entry
from asr_s2s.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asr_s2s.metrics.error_rate import ErrorRates, Utterance
    from asr_s2s.metrics.summaries import RougeScores

Parts: TypeAlias = "NDArray[np.float64]"
"""Numerator and denominator of each output, `(outputs, 2)`."""


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

    @cached_property
    def rouge(self) -> "RougeScores":
        """ROUGE of each output."""
        from asr_s2s.metrics.summaries import rouge

        return rouge(self.hypotheses, self.references)

    @property
    def has_log_probs(self) -> bool:
        """Whether the log-probabilities of references are known."""
        return any(u.log_prob is not None for u in self.utterances)

    @property
    def hypotheses(self) -> list[str]:
        """Outputs as written."""
        return [utterance.hypothesis for utterance in self.utterances]

    @property
    def references(self) -> list[tuple[str, ...]]:
        """References of each output, one or more."""
        return [(u.reference, *u.alternatives) for u in self.utterances]


Report = Literal["error rates", "translation scores", "text scores"]
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
    parts: Callable[[Scored], Parts] | None = None
    """Computes the parts of each output, for a metric that is determined by the ratio of their
    sums: reports then have intervals, and comparisons a paired bootstrap."""
    from_ratio: Callable[[float], float] = float
    """Converts the ratio of the sums of `parts` to the value."""
    units: Callable[[Scored], list[list[Hashable]]] | None = None
    """Computes the units of each output, for a metric that is the share of distinct ones among
    them: comparisons then exchange outputs of the two systems at random."""
    signature: Callable[[Scored], str] = lambda scored: ""
    """Returns what is needed to reproduce the value, in the format of sacrebleu's signatures; empty
    for metrics whose report has its own."""
    needs_model: bool = False
    """Whether it is computed from the log-probabilities of references, which only the model
    knows."""

    def error(self, value: float) -> float:
        """Convert a value to an error, of which lower is better: 0.05 for a WER of 5 %, 0.7 for a
        BLEU of 30."""
        fraction = value / 100 if self.unit == "points" else value
        return fraction if self.lower_is_better else 1 - fraction

    @property
    def of_texts(self) -> bool:
        """Whether it measures translations and other texts rather than transcripts."""
        return self.report != "error rates"

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


def _of_sums(
    parts: Callable[[Scored], Parts], from_ratio: Callable[[float], float]
) -> Callable[[Scored], float]:
    def compute(scored: Scored) -> float:
        above, below = parts(scored).sum(0)
        return from_ratio(float(above / below) if below else 0.0)

    return compute


def _exponential(value: float) -> float:
    return math.exp(min(value, 700.0))


def _percent(value: float) -> float:
    return 100 * value


def _rouge(name: str, title: str) -> Metric:
    def parts(scored: Scored) -> Parts:
        import numpy as np

        f1 = scored.rouge.f1[name]
        return np.stack([f1, np.ones_like(f1)], 1)

    return Metric(
        title=title,
        field=name,
        unit="points",
        lower_is_better=False,
        compute=_of_sums(parts, _percent),
        report="text scores",
        parts=parts,
        from_ratio=_percent,
        signature=lambda scored: scored.rouge.signature,
    )


def _distinct(order: int) -> Metric:
    def units(scored: Scored) -> list[list[Hashable]]:
        from asr_s2s.metrics.summaries import ngrams

        return [list(ngrams(text, order)) for text in scored.hypotheses]

    def compute(scored: Scored) -> float:
        found = list(chain.from_iterable(units(scored)))
        return len(set(found)) / max(1, len(found))

    return Metric(
        title=f"distinct-{order}",
        field=f"distinct{order}",
        unit="fraction",
        lower_is_better=False,
        compute=compute,
        report="text scores",
        units=units,
        signature=lambda scored: "tok:words",
    )


def _log_prob_parts(scored: Scored) -> Parts:
    import numpy as np

    if not scored.has_log_probs:
        raise UserError(
            "perplexity",
            "it is computed from the model's probabilities of the references, which are unknown",
            "Choose another metric",
        )
    return np.array([(-(u.log_prob or 0.0), u.tokens) for u in scored.utterances], np.float64)


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
    "rouge1": _rouge("rouge1", "ROUGE-1"),
    "rouge2": _rouge("rouge2", "ROUGE-2"),
    "rougel": _rouge("rougeL", "ROUGE-L"),
    "distinct1": _distinct(1),
    "distinct2": _distinct(2),
    # Per token of the reference under teacher forcing, including the end token.
    "perplexity": Metric(
        title="perplexity",
        field="perplexity",
        unit="none",
        compute=_of_sums(_log_prob_parts, _exponential),
        report="text scores",
        parts=_log_prob_parts,
        from_ratio=_exponential,
        needs_model=True,
    ),
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


def measure(metric: Metric, scored: Scored, further: Sequence[str] = ()) -> dict[str, float]:
    """Compute a metric, those logged with it, and further ones by name; returns values by field."""
    several = (metric, *(METRICS[name] for name in (*metric.logged_with, *further)))
    return {one.field: one.compute(scored) for one in several if one.compute is not None}
