"""ROUGE, distinct-n and perplexity, and tests of the difference of two systems."""

import math

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from asr_s2s.errors import UserError
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.metrics.metric import METRICS, Scored, measure
from asr_s2s.metrics.significance import exchange_p_value
from asr_s2s.metrics.summaries import ngrams, rouge

HYPOTHESES = ["The cats sat on a mat.", "", "contract for signature"]
REFERENCES = [["the cat sat on the mat"], ["nothing"], ["signing the contract", "a contract"]]


def test_rouge_equals_that_of_the_package_with_the_best_reference() -> None:
    found = rouge(HYPOTHESES, REFERENCES)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for index, (text, several) in enumerate(zip(HYPOTHESES, REFERENCES, strict=True)):
        for name, values in found.f1.items():
            best = max(scorer.score(one, text)[name].fmeasure for one in several)
            assert values[index] == pytest.approx(best)
    assert "tok:rouge-score" in found.signature and "porter" in found.signature


def test_rouge_of_chinese_counts_characters() -> None:
    found = rouge(["函谷壮皇居。"], [["函谷壮帝居"]])
    assert found.f1["rouge1"][0] == pytest.approx(0.8)
    assert found.f1["rouge2"][0] == pytest.approx(0.5)
    assert "tok:words" in found.signature


def test_distinct_is_the_share_of_distinct_ngrams() -> None:
    outputs = ["I do not know.", "I do not know", "Yes"]
    scored = Scored([Utterance(str(i), "", text) for i, text in enumerate(outputs)])
    assert measure(METRICS["distinct1"], scored)["distinct1"] == 5 / 9
    assert measure(METRICS["distinct2"], scored)["distinct2"] == 3 / 6
    assert ngrams("Yes", 2) == []


def test_perplexity_is_that_of_all_tokens_together() -> None:
    utterances = [
        Utterance("a", "x", "", log_prob=-6.0, tokens=2),
        Utterance("b", "y", "", log_prob=-3.0, tokens=7),
        Utterance("unreadable", "z", ""),
    ]
    assert measure(METRICS["perplexity"], Scored(utterances))["perplexity"] == math.exp(1.0)
    with pytest.raises(UserError) as caught:
        measure(METRICS["perplexity"], Scored(utterances[2:]))
    assert caught.value.where == "perplexity"


def test_exchanging_outputs_tells_a_difference_from_chance() -> None:
    random = np.random.default_rng(0)
    varied = [[int(random.integers(5000))] * 3 for _ in range(300)]
    similar = [[int(random.integers(5000))] * 3 for _ in range(300)]
    dull = [[int(random.integers(20))] * 3 for _ in range(300)]
    assert exchange_p_value(varied, dull) < 0.01
    assert exchange_p_value(varied, similar) > 0.05
    assert exchange_p_value(varied, varied) == 1.0
