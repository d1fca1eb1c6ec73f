"""A comparison of two systems as one HTML file, which asks nothing of any other place.

Recordings of the utterances shown are in it as FLAC, which every browser plays; scripts and styles
are inline, and a content security policy keeps it from loading anything.
"""

import base64
import io
import math
import os
from collections.abc import Sequence
from importlib import resources
from typing import Any

import soundfile
from jinja2 import Environment, StrictUndefined

from asr_s2s import __version__
from asr_s2s.audio.decode import read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.errors import AudioError
from asr_s2s.evaluate.comparison import Change, Comparison, ScorePair
from asr_s2s.evaluate.comparison_report import Files, few_note, verdict
from asr_s2s.evaluate.error_rate import ErrorRates
from asr_s2s.evaluate.error_rate_report import KINDS
from asr_s2s.evaluate.significance import Interval

LONGEST_CLIP = 30.0
"""Seconds of a recording that the page holds; about 0.5 MB."""
CONFUSIONS = 15
"""Most frequent errors of each kind and system."""
WIDTH, MARGIN = 176, 6
"""Of the picture of a score and its intervals, in its own units."""


def read_clips(changes: Sequence[Change]) -> tuple[dict[str, str], list[AudioError]]:
    """The recordings of utterances as addresses that hold their sound, by id.

    Returns:
        Those that could be read, at most `LONGEST_CLIP` of each, and the errors of the others;
        utterances that name no file are left out.
    """
    clips, errors = {}, []
    for change in changes:
        utterance = change.utterance
        # What stands for a source need be no path, and os.path takes any text.
        if utterance.recording is None or not os.path.isfile(utterance.recording):  # noqa: PTH113
            continue
        try:
            samples = read_audio(
                utterance.recording,
                start=utterance.start,
                duration=min(LONGEST_CLIP, utterance.duration or LONGEST_CLIP),
            )
        except AudioError as error:
            errors.append(error)
            continue
        file = io.BytesIO()
        soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        encoded = base64.b64encode(file.getvalue()).decode()
        clips[utterance.id] = f"data:audio/flac;base64,{encoded}"
    return clips, errors


def page(
    comparison: Comparison, files: Files, changes: Sequence[Change], clips: dict[str, str]
) -> str:
    """The whole page.

    Args:
        comparison: what was found.
        files: named at the top.
        changes: the utterances to show, of those of the comparison.
        clips: their recordings, as `read_clips` gives them.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "score": _score,
        "signed": _signed,
        "interval": _interval,
        "whole": _whole,
    }
    template = resources.files("asr_s2s.evaluate").joinpath("comparison.html").read_text("utf-8")
    better = [change.better for change in comparison.changes]
    return environment.from_string(template).render(
        files=files,
        comparison=comparison,
        verdict=verdict(comparison.scores[0]),
        rows=_rows(comparison.scores),
        parts={
            by: [
                row | {"name": part.name, "utterances": part.utterances}
                for part, row in zip(parts, _rows([p.score for p in parts]), strict=True)
            ]
            for by, parts in comparison.parts.items()
        },
        few=few_note(comparison),
        signatures=list(dict.fromkeys(pair.signature for pair in comparison.scores)),
        better={"A": better.count("A"), "B": better.count("B")},
        equal=comparison.utterances - len(better),
        changes=changes,
        clips=clips,
        confusions=_confusions(comparison.rates_a, comparison.rates_b),
        version=__version__,
    )


def _rows(pairs: Sequence[ScorePair]) -> list[dict[str, Any]]:
    """Scores of a table, each with the marks of its picture, all on the same axis."""
    sides = [{"a": (pair.a, pair.interval_a), "b": (pair.b, pair.interval_b)} for pair in pairs]
    bounds = [
        bound
        for one in sides
        for value, interval in one.values()
        for bound in (value, *(interval or ()))
        if math.isfinite(bound)
    ]
    low, high = min(bounds, default=0.0), max(bounds, default=1.0)
    scale = (WIDTH - 2 * MARGIN) / (high - low or 1.0)

    def place(value: float) -> float:
        return round(MARGIN + (min(max(value, low), high) - low) * scale, 1)

    return [
        {
            "name": pair.name,
            "pair": pair,
            "axis": f"{_score(low)} to {_score(high)}",
            "marks": [
                {
                    "side": side,
                    "x": place(value),
                    "low": place(interval.low if interval else value),
                    "high": place(interval.high if interval else value),
                    "y": y,
                }
                for (side, (value, interval)), y in zip(one.items(), (9, 19), strict=True)
            ],
        }
        for pair, one in zip(pairs, sides, strict=True)
    ]


def _confusions(a: ErrorRates, b: ErrorRates) -> list[dict[str, Any]]:
    """The most frequent errors of either system, of each kind, with how often each made them."""
    tables = []
    for operation, name in KINDS:
        before, after = (
            {(expected, found): times for expected, found, times in one.most_frequent(operation)}
            for one in (a, b)
        )
        frequent = dict.fromkeys([*list(before)[:CONFUSIONS], *list(after)[:CONFUSIONS]])
        rows = [(*error, before.get(error, 0), after.get(error, 0)) for error in frequent]
        rows.sort(key=lambda row: -row[2] - row[3])
        tables.append({"kind": operation, "name": name, "rows": rows})
    return tables


def _score(value: float) -> str:
    return (f"{value:.2f}" if math.isfinite(value) else f"{value:g}").replace("inf", "\u221e")


def _signed(value: float) -> str:
    if not math.isfinite(value):
        return "+\u221e" if value > 0 else "\u2212\u221e"
    return f"{value:+.2f}".replace("-", "\u2212") if value else "0.00"


def _whole(value: int) -> str:
    return f"{value:+d}".replace("-", "\u2212") if value else "0"


def _interval(interval: Interval | None, signed: bool = False) -> str:
    if interval is None:
        return ""
    form = _signed if signed else _score
    return f"{form(interval.low)} to {form(interval.high)}"
