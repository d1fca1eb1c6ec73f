"""Comparison of two systems by ROUGE and by the diversity of their outputs.

ROUGE is compared by the paired bootstrap, distinct-n by random exchanges of outputs between the two
systems (see `significance`).
"""

from collections.abc import Sequence

import numpy as np

from asr_s2s.evaluate.comparison import Change, Comparison, PartPair, ScorePair, part_groups
from asr_s2s.evaluate.text_score_report import output_scores
from asr_s2s.metrics.error_rate import Utterance, score
from asr_s2s.metrics.metric import METRICS, Metric, Scored, metric_names
from asr_s2s.metrics.significance import (
    EXCHANGES,
    FEW,
    SAMPLES,
    SEED,
    Interval,
    exchange_p_value,
    interval,
    p_value,
    sample_ratios,
)


def compare_texts(
    a: Sequence[Utterance], b: Sequence[Utterance], metric: Metric, fields: Sequence[str] = ()
) -> Comparison:
    """Compare two systems by the metrics of text scores that need no model.

    Args:
        a: references with the outputs of system A.
        b: the same in the same order with the outputs of system B.
        metric: main metric, for the breakdowns and the order of the changed outputs.
        fields: fields of the references to break the main metric down by.

    Raises:
        UserError: there are fewer than two outputs, or a field does not exist.
    """
    groups = part_groups(a, fields)
    scored_a, scored_b = Scored(a), Scored(b)
    others = (METRICS[name] for name in metric_names("text scores"))
    metrics = [metric, *(one for one in others if one is not metric and not one.needs_model)]

    def part(name: str, indices: list[int]) -> PartPair:
        some = (Scored([several[i] for i in indices]) for several in (a, b))
        return PartPair(name, len(indices), _pair(metric, *some))

    by, before = output_scores(scored_a, metric)
    _, after = output_scores(scored_b, metric)
    rates_a, rates_b = score(a), score(b)
    changes = [
        Change(u, x, y, float(s), float(t), "B" if by.error(t) < by.error(s) else "A")
        for u, x, y, s, t in zip(
            a, rates_a.utterances, rates_b.utterances, before, after, strict=True
        )
        if s != t
    ]
    return Comparison(
        tuple(_pair(one, scored_a, scored_b) for one in metrics),
        f"{SAMPLES:,} paired bootstrap samples of {len(a):,} outputs; p of distinct-n by "
        f"{EXCHANGES:,} random exchanges of outputs",
        {
            by_field: tuple(part(name, indices) for name, indices in one.items())
            for by_field, one in groups.items()
        },
        tuple(sorted(changes, key=lambda c: -abs(c.score_b - c.score_a))),
        by.title,
        rates_a,
        rates_b,
    )


def _pair(metric: Metric, a: Scored, b: Scored) -> ScorePair:
    """Score both systems by one metric; without intervals and p-value for one output."""
    assert metric.compute is not None
    value_a, value_b = metric.compute(a), metric.compute(b)
    outputs = len(a.utterances)
    intervals: dict[str, Interval] = {}
    p, method = None, []
    if metric.units is not None and outputs > 1:
        p = exchange_p_value(metric.units(a), metric.units(b))
        method = [f"exchanges:{EXCHANGES}", f"seed:{SEED}"]
    elif metric.parts is not None and outputs > 1:
        before, after = (
            np.array([metric.from_ratio(float(ratio)) for ratio in ratios])
            for ratios in sample_ratios([metric.parts(a), metric.parts(b)])
        )
        differences = after - before
        intervals = {
            name: Interval(*(metric.scale * limit for limit in interval(values)))
            for name, values in (
                ("interval_a", before), ("interval_b", after), ("interval", differences),
            )
        }  # fmt: skip
        p = 1.0 if value_a == value_b else p_value(value_b - value_a, differences)
        method = [f"bs:{SAMPLES}", f"seed:{SEED}"]
    return ScorePair(
        metric.title,
        metric.scale * value_a,
        metric.scale * value_b,
        "|".join(filter(None, (metric.signature(a), *method))),
        not metric.lower_is_better,
        p_value=p,
        few=1 < outputs < FEW,
        **intervals,
    )
