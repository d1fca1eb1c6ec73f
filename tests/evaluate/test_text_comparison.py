"""Reports and comparisons of ROUGE and distinct-n."""

import json

import numpy as np
import pytest

from asr_s2s.evaluate.comparison_report import Files, json_report, text_report
from asr_s2s.evaluate.report import Expectation
from asr_s2s.evaluate.text_comparison import compare_texts
from asr_s2s.evaluate.text_score_report import json_report as scores_json
from asr_s2s.evaluate.text_score_report import text_report as scores_text
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.metrics.metric import METRICS, Scored

WORDS = ["contract", "meeting", "budget", "lunch", "report", "schedule", "gas", "power"]


def systems(count: int = 60) -> tuple[list[Utterance], list[Utterance]]:
    """Outputs of a dull system, and of one that is right in half of its words."""
    random = np.random.default_rng(3)
    dull, better = [], []
    for number in range(count):
        reference = " ".join(random.choice(WORDS, 4))
        kept = [w if random.random() < 0.7 else "note" for w in reference.split()]
        fields = {"folder": "inbox" if number % 2 else "sent"}
        dull.append(Utterance(str(number), reference, "the meeting", fields=fields))
        better.append(Utterance(str(number), reference, " ".join(kept), fields=fields))
    return dull, better


def test_a_better_system_is_significantly_better() -> None:
    found = compare_texts(*systems(), METRICS["rouge1"], ["folder"])
    names = [pair.name for pair in found.scores]
    assert names == ["ROUGE-1", "ROUGE-2", "ROUGE-L", "distinct-1", "distinct-2"]
    for pair in found.scores:
        assert pair.better == "B" and pair.significant, pair
    first = found.scores[0]
    for interval, value in ((first.interval_a, first.a), (first.interval, first.difference)):
        assert interval is not None and interval.low < value < interval.high
    assert found.scores[3].interval is None
    assert "rouge-score" in first.signature and "exchanges" in found.scores[3].signature
    parts = found.parts["folder"]
    assert [part.utterances for part in parts] == [30, 30]
    mean = sum(part.score.b for part in parts) / 2
    assert mean == pytest.approx(first.b)
    largest = found.changes[0]
    assert found.by == "ROUGE-1" and largest.score_b - largest.score_a == max(
        change.score_b - change.score_a for change in found.changes
    )
    files = Files("a", "b", "c")
    assert "B is significantly better: ROUGE-1" in text_report(found, files, 2)
    assert (
        json.loads(json.dumps(json_report(found, files, 2)))["scores"]["ROUGE-L"]["better"] == "B"
    )


def test_equal_systems_do_not_differ() -> None:
    dull, _ = systems()
    for pair in compare_texts(dull, dull, METRICS["distinct1"]).scores:
        assert pair.better is None and pair.p_value == 1.0


def test_both_reports_have_values_intervals_and_the_worst_outputs() -> None:
    _, better = systems()
    scored = Scored(better)
    value = METRICS["rouge2"].compute(scored)
    record = json.loads(json.dumps(scores_json(scored, METRICS["rouge2"], worst=3)))
    assert record["rouge2"] == pytest.approx(value)
    low, high = record["confidence"]["rouge2"]["low"], record["confidence"]["rouge2"]["high"]
    assert low < value < high
    assert record["confidence"]["distinct1"] is None
    assert "perplexity" not in record
    worst = [row["rouge2"] for row in record["worst"]]
    assert len(worst) == 3 and worst == sorted(worst)
    text = scores_text(scored, METRICS["rouge2"], worst=3)
    assert f"{value:.2f}" in text and f"{low:.2f} to {high:.2f}" in text
    assert text.count("HYP:") == 3


def test_perplexity_has_an_interval_around_its_value() -> None:
    random = np.random.default_rng(0)
    utterances = [
        Utterance(str(i), "a b", "a b", log_prob=-float(random.gamma(4)), tokens=3)
        for i in range(50)
    ]
    record = scores_json(Scored(utterances), METRICS["perplexity"])
    limits = record["confidence"]["perplexity"]
    assert 1 < limits["low"] < record["perplexity"] < limits["high"]
    metric = METRICS["perplexity"]
    assert Expectation(metric, 10.0, 0.0, record["perplexity"]).met
    assert not Expectation(metric, 1.0, 0.0, record["perplexity"]).met
