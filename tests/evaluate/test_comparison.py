"""Comparison of two systems: scores, breakdowns, changed utterances and reports."""

import json
from dataclasses import replace

import pytest
import sacrebleu

from asr_s2s.errors import UserError
from asr_s2s.evaluate.breakdown import group_by_field, group_by_length
from asr_s2s.evaluate.comparison import Comparison, compare_recognition, compare_translation
from asr_s2s.evaluate.comparison_page import page, read_clips
from asr_s2s.evaluate.comparison_report import Files, json_report, text_report, verdict
from asr_s2s.metrics.error_rate import Utterance

FILES = Files("a.txt", "b.txt", "right.txt")
RIGHT = ["one two three", "four five", "six", "seven eight nine one two three", "two", "three one"]


def utterances(hypotheses: list[str]) -> list[Utterance]:
    return [
        Utterance(f"u{i}", right, found, speaker="ann" if i < 4 else "bob", fields={"place": i % 2})
        for i, (right, found) in enumerate(zip(RIGHT, hypotheses, strict=True))
    ]


A = utterances(["one two three", "four nine", "six", "seven eight one two", "two two", "three one"])
B = utterances(["one too three", "four five", "six", "seven eight nine one two three", "two", ""])


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare_recognition(A, B, "verbatim", ["place"])


def test_parts_have_the_scores_of_a_comparison_on_the_part_alone(comparison: Comparison) -> None:
    assert list(comparison.parts) == ["length", "speaker", "place"]
    own = [u for u in A if u.fields["place"] == 0], [u for u in B if u.fields["place"] == 0]
    alone = compare_recognition(*own, "verbatim")
    part = next(part for part in comparison.parts["place"] if part.name == "0")
    assert part.utterances == 3
    assert part.score == alone.scores[0]
    sizes = {part.name: part.utterances for part in comparison.parts["speaker"]}
    assert sizes == {"ann": 4, "bob": 2}


def test_better_system_and_changed_utterances(comparison: Comparison) -> None:
    wer = comparison.scores[0]
    assert (wer.a, wer.b) == (pytest.approx(100 * 4 / 15), 100 * 3 / 15)
    assert wer.difference == wer.b - wer.a
    assert (wer.better, wer.significant, wer.few) == ("B", False, True)
    assert verdict(replace(wer, p_value=0.0001)).startswith("Too few utterances or speakers")
    changes = [
        (change.a.id, change.score_a, change.score_b, change.better)
        for change in comparison.changes
    ]
    assert changes == [
        ("u5", 0, 2, "A"), ("u3", 2, 0, "B"),
        ("u4", 1, 0, "B"), ("u1", 1, 0, "B"), ("u0", 0, 1, "A"),
    ]  # fmt: skip


def test_equal_systems_have_no_difference() -> None:
    for found in (compare_recognition(A, A, "verbatim"), compare_translation(A, A, "13a")):
        for pair in found.scores:
            assert (pair.difference, pair.p_value, pair.better) == (0, 1.0, None)
        assert found.changes == ()
        assert "equal in 6" in text_report(found, FILES, 5)


def test_bleu_of_parts_equals_sacrebleu() -> None:
    found = compare_translation(A, B, "13a", ["place"])
    for part in found.parts["place"]:
        own = [u for u in B if str(u.fields["place"]) == part.name]
        value = sacrebleu.corpus_bleu([u.hypothesis for u in own], [[u.reference for u in own]])
        assert part.score.b == pytest.approx(value.score)
    assert [pair.name for pair in found.scores] == ["BLEU", "chrF"]
    best = found.changes[0]
    assert best.score_b - best.score_a == -100 and best.better == "A"


def test_text_and_json_reports_agree(comparison: Comparison) -> None:
    lines = text_report(comparison, FILES, 2).split("\n")
    report = json.loads(json.dumps(json_report(comparison, FILES, 2), allow_nan=False))
    wer = report["scores"]["WER"]
    row = next(line for line in lines if line.startswith("WER ")).split()
    assert row[1] == f"{wer['a']:.2f}" and row[5] == f"{wer['b']:.2f}"
    assert row[-1] == f"{wer['p_value']:.4f}*"
    assert report["better"] == {"a": 2, "b": 3}
    assert "By word errors, B is better in 3, A in 2; equal in 1" in lines
    assert [change["id"] for change in report["changed"]] == ["u5", "u3"]
    assert lines[lines.index("u5: word errors 0 -> 2") + 1 :][:3] == [
        "  REF: three one",
        "  A:   three one",
        "  B:",
    ]
    assert any(line.startswith("* Fewer than 20 utterances") for line in lines)


def test_infinite_rates_and_parts_of_one_utterance_are_reported() -> None:
    empty = [Utterance("x", "", "oh"), Utterance("y", "", ""), Utterance("z", "one", "one")]
    quiet = [replace(u, hypothesis=u.reference) for u in empty]
    found = compare_recognition(empty, quiet, "verbatim")
    json.dumps(json_report(found, FILES, 9), allow_nan=False)
    text = page(found, FILES, found.changes, {})
    assert "\u221e" in text and "\u2212\u221e" in text
    assert next(part for part in found.parts["length"] if part.name == "1-5").score.p_value is None


def test_markup_in_texts_is_escaped_in_the_page(comparison: Comparison) -> None:
    bad = "<script>alert(1)</script>"
    a, b = (
        [replace(u, id=bad, reference=bad, source=bad, speaker=bad, hypothesis=t) for u in A]
        for t in (bad, f"x {bad}")
    )
    found = compare_recognition(a, b, "verbatim")
    assert len(found.changes) == 6
    text = page(found, Files(bad, bad, bad), found.changes, {})
    assert text.count("<script>") == 1
    assert bad not in text
    assert read_clips(comparison.changes) == ({}, [])


def test_fields_are_grouped_by_value_or_numeric_range() -> None:
    assert group_by_field(["b", "a", "b", None, ""]) == {"b": [0, 2], "a": [1], "(none)": [3, 4]}
    assert group_by_field([1, "1", True, ["x"]]) == {"1": [0, 1], '["x"]': [3], "true": [2]}
    seconds = [str(0.5 * i) for i in range(20)]
    ranges = group_by_field([*seconds, None])
    assert list(ranges) == ["0 to 2", "2.5 to 4.5", "5 to 7", "7.5 to 9.5", "(none)"]
    assert [len(group) for group in ranges.values()] == [5, 5, 5, 5, 1]
    assert group_by_length([0, 3, 25, 5]) == {"0": [0], "1-5": [1, 3], "21+": [2]}


def test_comparison_needs_two_utterances_and_existing_fields() -> None:
    for compare, setting in ((compare_recognition, "verbatim"), (compare_translation, "13a")):
        with pytest.raises(UserError, match="found 1"):
            compare(A[:1], B[:1], setting)
        with pytest.raises(UserError, match="no such field, only place"):
            compare(A, B, setting, ["plaec"])
