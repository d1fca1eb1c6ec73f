"""Reports of scores of summaries, replies and other texts: text, and JSON."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_s2s.evaluate.report import Decoding, Expectation, TextDecoding, finite, plural, table
from asr_s2s.metrics.metric import METRICS, Metric, Scored, metric_names
from asr_s2s.metrics.significance import Interval, interval, sample_ratios


@dataclass(frozen=True)
class TextScore:
    """A metric of a test set."""

    metric: Metric
    value: float
    interval: Interval | None
    """95 % confidence interval by bootstrap over outputs; None for metrics without parts, and for a
    single output."""


def text_scores(scored: Scored) -> list[TextScore]:
    """Compute all metrics of this report, except those whose log-probabilities are unknown."""
    metrics = [METRICS[name] for name in metric_names("text scores")]
    metrics = [one for one in metrics if scored.has_log_probs or not one.needs_model]
    parts = [one.parts(scored) for one in metrics if one.parts is not None]
    drawn = iter(sample_ratios(parts) if len(scored.utterances) > 1 else [])
    found = []
    for one in metrics:
        ratios = next(drawn, None) if one.parts is not None else None
        limits = None
        if ratios is not None:
            limits = Interval(*map(one.from_ratio, interval(ratios)))
        assert one.compute is not None
        found.append(TextScore(one, one.compute(scored), limits))
    return found


def output_scores(scored: Scored, metric: Metric) -> tuple[Metric, NDArray[np.float64]]:
    """Return the values `(outputs,)` of a metric for each output, and the metric: ROUGE-L for
    metrics of whole sets of outputs."""
    if metric.parts is None:
        metric = METRICS["rougel"]
    assert metric.parts is not None
    above, below = metric.parts(scored).T
    ratios = above / np.maximum(below, 1e-9)
    return metric, np.array([metric.from_ratio(float(ratio)) for ratio in ratios])


def text_report(
    scored: Scored,
    metric: Metric,
    decoding: Decoding | TextDecoding | None = None,
    worst: int = 5,
) -> str:
    """Table of the scores, and the worst outputs.

    Args:
        scored: outputs with their references.
        metric: metric that orders the outputs.
        decoding: amount and speed of decoding; None for existing hypotheses.
        worst: number of outputs to show.
    """
    rows = [("", "score", "95 % interval", "signature")]
    rows += [
        (
            one.metric.title,
            one.metric.number(one.value),
            _interval(one),
            one.metric.signature(scored),
        )
        for one in text_scores(scored)
    ]
    lines = [*table(rows), plural(len(scored.utterances), "output")]
    if decoding is not None:
        lines.append(str(decoding))
    by, values = output_scores(scored, metric)
    for index in _worst(by, values, worst):
        utterance = scored.utterances[index]
        lines += ["", f"{utterance.id}: {by.format(values[index])}"]
        if utterance.source is not None:
            lines.append(f"  SRC: {utterance.source}")
        lines += [f"  REF: {reference}" for reference in scored.references[index]]
        lines.append(f"  HYP: {utterance.hypothesis}".rstrip())
    return "\n".join(lines)


def json_report(
    scored: Scored,
    metric: Metric,
    decoding: Decoding | TextDecoding | None = None,
    worst: int = 5,
    expectation: Expectation | None = None,
) -> dict[str, Any]:
    """The report as a JSON object; ROUGE is in points, distinct-n a fraction."""
    report: dict[str, Any] = {}
    confidence: dict[str, Any] = {}
    signatures: dict[str, str] = {}
    for one in text_scores(scored):
        signatures[one.metric.field] = one.metric.signature(scored)
        report[one.metric.field] = finite(one.value)
        limits = one.interval
        confidence[one.metric.field] = (
            None if limits is None else {"low": finite(limits.low), "high": finite(limits.high)}
        )
    by, values = output_scores(scored, metric)
    report |= {
        "confidence": confidence,
        "signatures": signatures,
        "outputs": len(scored.utterances),
        "worst": [
            {
                "id": scored.utterances[index].id,
                "source": scored.utterances[index].source,
                "references": list(scored.references[index]),
                "hypothesis": scored.utterances[index].hypothesis,
                by.field: finite(values[index]),
            }
            for index in _worst(by, values, worst)
        ],
    }
    if decoding is not None:
        report |= decoding.as_json()
    if expectation is not None:
        report["expected"] = expectation.as_json()
    return report


def _worst(metric: Metric, values: NDArray[np.float64], count: int) -> list[int]:
    order = np.argsort([-metric.error(value) for value in values], kind="stable")
    return [int(index) for index in order[:count] if metric.error(values[index]) > 0]


def _interval(score: TextScore) -> str:
    if score.interval is None:
        return ""
    low, high = (score.metric.scale * limit for limit in score.interval)
    return f"{low:.2f} to {high:.2f}"
