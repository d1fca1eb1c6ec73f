"""Text and JSON reports of error rates."""

import json

import pytest

from asr_s2s.evaluate.error_rate_report import json_report, text_report
from asr_s2s.evaluate.report import Decoding, Expectation
from asr_s2s.metrics.error_rate import ErrorRates, Utterance, score
from asr_s2s.metrics.metric import METRICS
from asr_s2s.metrics.significance import confidence


def test_text_report_is_an_aligned_table(rates: ErrorRates) -> None:
    decoding = Decoding(audio_seconds=3600, seconds=36)
    lines = text_report(rates, confidence(rates), decoding, worst=1).split("\n")
    assert lines[:4] == [
        "     rate %   95 % interval  errors  sub  del  ins  of",
        "WER   44.44   0.00 to 66.67       4    1    2    1  9 words",
        "CER   42.86   0.00 to 75.00      18    1   12    5  42 characters",
        "SER   66.67  0.00 to 100.00       2                 3 utterances",
    ]
    assert lines[4] == (
        "Intervals by 10,000 bootstrap samples of 3 utterances; fewer than 20 make them too narrow"
    )
    assert lines[5] == "1.000 h of audio decoded in 36.0 s: real-time factor 0.0100"
    assert lines[6] == rates.signature
    assert "c: 2 errors in 3 words" in lines
    assert "a: 2 errors in 4 words" not in lines


def test_report_without_intervals_does_not_mention_them() -> None:
    for only in (Utterance("a", "one", "two"), Utterance("a", "one", "one")):
        rates = score([only])
        lines = text_report(rates, confidence(rates)).split("\n")
        assert lines[1].split()[2] == str(rates.words.errors)
        assert lines[4] == rates.signature
    right = score([Utterance("a", "one", "one"), Utterance("b", "two", "two")])
    assert text_report(right, confidence(right)).split("\n")[4:] == [right.signature]
    report = json_report(right, confidence(right))
    assert report["confidence"]["word_error_rate"] is None
    assert report["confidence"]["resampled"] == "utterances"


@pytest.fixture
def spoken() -> ErrorRates:
    """Seven speakers with increasing numbers of errors; the last has a very long name."""
    name = "long" * 10
    return score(
        [
            Utterance(f"{i}-{size}", "yes " * size, "no " * i + "yes " * (size - i), speaker=who)
            for i, who in enumerate(["ann", "bob", "cleo", "dan", "eve", "finn", name])
            for size in (6, 8)
        ]
        + [Utterance("last", "yes", "yes")]
    )


def test_text_report_shows_lengths_and_the_worst_speakers(spoken: ErrorRates) -> None:
    lines = text_report(spoken, confidence(spoken), worst=0).split("\n")
    assert "samples of 7 speakers and 1 utterance of unknown speakers; fewer" in lines[4]
    start = lines.index("By length of the reference")
    assert lines[start + 1 : start + 4] == [
        "              WER %  errors  sub  del  ins  of",
        "  1-5 words    0.00       0    0    0    0  1 word in 1 utterance",
        "  6-10 words  42.86      42   42    0    0  98 words in 14 utterances",
    ]
    start = lines.index("By speaker, the worst 5 of 7")
    assert lines[start + 2] == (
        "  longlonglonglonglongl...  85.71      12   12    0    0  14 words in 2 utterances"
    )
    assert [line.split()[0] for line in lines[start + 3 : start + 7]] == [
        "finn", "eve", "dan", "cleo",
    ]  # fmt: skip
    assert lines[start + 7] == ""


def test_single_speaker_and_single_length_are_not_broken_down() -> None:
    rates = score([Utterance(name, "one", "two", speaker="ann") for name in "ab"])
    report = text_report(rates, confidence(rates))
    assert "By " not in report


def test_json_report_has_every_speaker_and_length(spoken: ErrorRates) -> None:
    report = json_report(spoken, confidence(spoken))
    assert len(report["by_speaker"]) == 8
    for parts in (report["by_speaker"], report["by_length"]):
        assert sum(part["utterances"] for part in parts) == report["utterances"]
        for name, count in report["words"].items():
            assert sum(part["words"][name] for part in parts) == count
    assert report["by_speaker"][-1]["speaker"] is None
    assert report["by_length"][-1]["shortest"] == 6
    assert report["confidence"]["resampled"] == "speakers"
    assert report["confidence"]["bootstrap"] == {
        "samples": 10_000, "seed": 12345, "speakers": 7, "utterances": 1,
    }  # fmt: skip
    low, high = report["confidence"]["word_error_rate"].values()
    assert low < report["word_error_rate"] < high
    assert report["worst"][0]["speaker"] == "long" * 10


def test_json_report_is_strict_json() -> None:
    rates = score([Utterance("a", "", "oh")])
    report = json_report(rates, confidence(rates), Decoding(0, 1))
    assert report["confidence"] is None
    assert report["word_error_rate"] is None
    assert report["real_time_factor"] is None
    assert report["worst"][0]["words"]["insertions"] == 1
    json.dumps(report, allow_nan=False)


def test_expectation_is_met_within_its_tolerance() -> None:
    def expectation(expected: float, tolerance: float, measured: float) -> Expectation:
        return Expectation(METRICS["wer"], expected, tolerance, measured)

    assert expectation(1.0, 0.0, 100 * (1 / 100)).met
    assert expectation(7.0, 0.0, 100 * (7 / 100)).met
    assert expectation(1.0, 0.5, 1.5).met
    assert not expectation(1.0, 0.5, 1.51).met
    assert str(expectation(1.0, 0.0, 0.667)) == (
        "expected WER <= 1.00 % (+0.00): measured 0.67 %: success"
    )
    assert expectation(2.0, 0.5, 1.5).as_json() == {
        "word_error_rate": 0.02,
        "tolerance": 0.005,
        "success": True,
    }
