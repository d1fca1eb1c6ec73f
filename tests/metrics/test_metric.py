"""Metrics of the table, computed from outputs."""

import pytest

from asr_s2s.errors import ConfigError
from asr_s2s.metrics.error_rate import Utterance, score
from asr_s2s.metrics.metric import METRICS, Scored, find_metric, measure, metric_names
from asr_s2s.metrics.translation import score_translations

UTTERANCES = [
    Utterance("a", "the cat sat on the mat", "the cat sat on the mat"),
    Utterance("b", "a dog ran over the hill", "a dog runs over hill"),
    Utterance("c", "it rains  today", "it rains today"),
    Utterance("d", "color", "colour", alternatives=("colour",)),
]


def test_values_are_those_of_the_reports() -> None:
    scored, rates = Scored(UTTERANCES), score(UTTERANCES)
    translation = score_translations(scored.hypotheses, scored.references)
    expected = {
        "wer": rates.word_error_rate,
        "cer": rates.character_error_rate,
        "ser": rates.sentence_error_rate,
        "accuracy": 0.75,  # all but b
        "bleu": translation.bleu.value,
        "chrf": translation.chrf.value,
        "ter": translation.ter.value,
    }
    texts = ["rouge1", "rouge2", "rougel", "distinct1", "distinct2", "perplexity"]
    assert [*expected, *texts] == metric_names()
    for name, value in expected.items():
        assert measure(METRICS[name], scored)[METRICS[name].field] == value, name


@pytest.mark.parametrize(
    # Those that compare outputs with references; ROUGE-2 of a single word is 0.
    "name",
    [
        name
        for name in metric_names()
        if not METRICS[name].units and not METRICS[name].needs_model and name != "rouge2"
    ],
)
def test_better_outputs_have_a_lower_error(name: str) -> None:
    metric = find_metric(name)
    perfect = [Utterance(u.id, u.reference, u.reference) for u in UTTERANCES]
    worse, best = (
        metric.error(measure(metric, Scored(several))[metric.field])
        for several in (UTTERANCES, perfect)
    )
    assert best == pytest.approx(0.0, abs=1e-9)
    assert 0 < worse < 1


def test_printed_values_have_their_unit() -> None:
    assert METRICS["wer"].format(0.0507) == "WER 5.07 %"
    assert METRICS["bleu"].format(30.0) == "BLEU 30.00"


def test_unknown_metrics_are_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="accuracy") as caught:
        find_metric("wers")
    assert caught.value.where == "text.metric"
