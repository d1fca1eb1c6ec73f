"""Reports of a comparison of two systems: text, and JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asr_s2s.evaluate.comparison import Change, Comparison, PartPair, ScorePair
from asr_s2s.evaluate.error_rate_report import KINDS
from asr_s2s.evaluate.report import finite, plural, table
from asr_s2s.metrics.error_rate import ErrorRates, UtteranceErrors
from asr_s2s.metrics.significance import FEW, Interval

FREQUENT = 5
"""Number of most frequent errors of each kind in a report."""
PARTS = 10
"""Maximum number of parts of a breakdown in the text report; JSON and HTML contain all."""


@dataclass(frozen=True)
class Files:
    """Names of the compared files, as given by the user."""

    a: str
    b: str
    reference: str


def verdict(pair: ScorePair) -> str:
    """One line that states whether a score differs significantly between the systems."""
    if pair.better is None:
        return f"A and B are equal in {pair.name}"
    values = f"{pair.name} {pair.a:.2f} (A) and {pair.b:.2f} (B)"
    if pair.p_value is None:
        return values
    result = f"{values}, p = {pair.p_value:.4f}"
    if pair.few:
        return f"Too few utterances or speakers for a conclusion (under {FEW}): {result}"
    if not pair.significant:
        return f"No significant difference: {result}"
    return f"{pair.better} is significantly better: {result}"


def few_note(comparison: Comparison) -> str:
    """Explanation of the asterisk beside p-values; empty if no part has one."""
    marked = any(part.score.few for parts in comparison.parts.values() for part in parts)
    if not marked:
        return ""
    return f"* Fewer than {FEW} utterances or speakers: the interval is too narrow, and p too low."


def text_report(comparison: Comparison, files: Files, changed: int) -> str:
    """Tables of scores and breakdowns, frequent errors, and changed utterances.

    Args:
        comparison: result of the comparison.
        files: names of the compared files.
        changed: number of changed utterances to show.
    """
    lines = [
        f"A: {files.a}",
        f"B: {files.b}",
        f"{plural(comparison.utterances, 'utterance')} of {files.reference}",
        "",
        *table([_HEADER, *(_row(pair.name, pair) for pair in comparison.scores)]),
        verdict(comparison.scores[0]),
        f"Intervals and p by {comparison.method}",
        *dict.fromkeys(pair.signature for pair in comparison.scores),
    ]
    main = comparison.scores[0].name
    for by, parts in comparison.parts.items():
        shown = f", {PARTS} of {len(parts)}" if len(parts) > PARTS else ""
        rows = [_part_row(part) for part in parts[:PARTS]]
        lines += ["", f"{main} by {by}{shown}", *table([("", *_HEADER[1:-1], "of"), *rows])]
    lines += ["", note] if (note := few_note(comparison)) else []
    for name, rates in (("A", comparison.rates_a), ("B", comparison.rates_b)):
        frequent = [
            f"  {kind:<14} {', '.join(f'{_error(r, h)} ({times:,})' for r, h, times in errors)}"
            for operation, kind in KINDS
            if (errors := rates.most_frequent(operation, FREQUENT))
        ]
        lines += ["", f"Most frequent errors of {name}", *frequent] if frequent else []
    lines += ["", _changed_counts(comparison)]
    for change in comparison.changes[:changed]:
        lines += ["", *_change_lines(change, comparison.by)]
    return "\n".join(lines)


def json_report(comparison: Comparison, files: Files, changed: int) -> dict[str, Any]:
    """The report as a JSON object, in percent and points; null for values that are not finite or
    unknown."""
    better = [change.better for change in comparison.changes]
    return {
        "a": files.a,
        "b": files.b,
        "reference": files.reference,
        "utterances": comparison.utterances,
        "scores": {pair.name: _pair_json(pair) for pair in comparison.scores},
        "method": comparison.method,
        "parts": {
            by: [
                {"name": p.name, "utterances": p.utterances, p.score.name: _pair_json(p.score)}
                for p in parts
            ]
            for by, parts in comparison.parts.items()
        },
        "most_frequent": {
            "a": _frequent_json(comparison.rates_a),
            "b": _frequent_json(comparison.rates_b),
        },
        "better": {"a": better.count("A"), "b": better.count("B")},
        "changed_by": comparison.by,
        "changed": [_change_json(change) for change in comparison.changes[:changed]],
    }


_HEADER = ("", "A", "95 % interval", "B", "95 % interval", "B - A", "95 % interval", "p", "")


def _row(name: str, pair: ScorePair, last: str = "") -> tuple[str, ...]:
    return (
        name,
        f"{pair.a:.2f}",
        _interval(pair.interval_a),
        f"{pair.b:.2f}",
        _interval(pair.interval_b),
        f"{pair.difference:+.2f}",
        _interval(pair.interval, "+.2f"),
        "" if pair.p_value is None else f"{pair.p_value:.4f}{'*' if pair.few else ''}",
        last,
    )


def _part_row(part: PartPair) -> tuple[str, ...]:
    return _row(f"  {part.name}", part.score, plural(part.utterances, "utterance"))


def _interval(interval: Interval | None, form: str = ".2f") -> str:
    return "" if interval is None else f"{interval.low:{form}} to {interval.high:{form}}"


def _error(reference: str, hypothesis: str) -> str:
    return " -> ".join(word for word in (reference, hypothesis) if word)


def _changed_counts(comparison: Comparison) -> str:
    better = [change.better for change in comparison.changes]
    a, b = better.count("A"), better.count("B")
    equal = comparison.utterances - len(better)
    return f"By {comparison.by}, B is better in {b:,}, A in {a:,}; equal in {equal:,}"


def _change_lines(change: Change, by: str) -> Sequence[str]:
    utterance = change.utterance
    lines = [f"{utterance.id}: {by} {_number(change.score_a)} -> {_number(change.score_b)}"]
    if utterance.source is not None:
        lines.append(f"  SRC: {utterance.source}")
    references = dict.fromkeys((change.a.reference, change.b.reference))
    lines += [f"  REF: {reference}".rstrip() for reference in references]
    lines += [f"  A:   {change.a.hypothesis}".rstrip(), f"  B:   {change.b.hypothesis}".rstrip()]
    return lines


def _number(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _pair_json(pair: ScorePair) -> dict[str, Any]:
    return {
        "a": finite(pair.a),
        "b": finite(pair.b),
        "difference": finite(pair.difference),
        "interval_a": _interval_json(pair.interval_a),
        "interval_b": _interval_json(pair.interval_b),
        "interval": _interval_json(pair.interval),
        "p_value": None if pair.p_value is None or math.isnan(pair.p_value) else pair.p_value,
        "better": pair.better,
        "signature": pair.signature,
    }


def _interval_json(interval: Interval | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    return {"low": finite(interval.low), "high": finite(interval.high)}


def _frequent_json(rates: ErrorRates) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [
            {"reference": reference, "hypothesis": hypothesis, "times": times}
            for reference, hypothesis, times in rates.most_frequent(kind, FREQUENT)
        ]
        for kind, name in KINDS
    }


def _change_json(change: Change) -> dict[str, Any]:
    def side(errors: UtteranceErrors, own: float) -> dict[str, Any]:
        return {
            "reference": errors.reference,
            "hypothesis": errors.hypothesis,
            "score": own,
            "alignment": errors.alignment(),
        }

    return {
        "id": change.utterance.id,
        "speaker": change.utterance.speaker,
        "source": change.utterance.source,
        "better": change.better,
        "a": side(change.a, change.score_a),
        "b": side(change.b, change.score_b),
    }
