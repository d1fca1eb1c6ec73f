"""Comparison of two systems as one self-contained HTML file.

Recordings of the utterances shown are embedded as FLAC, which every browser plays; scripts and
styles are inline, and a content security policy forbids loading anything else.
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
from asr_s2s.evaluate.error_rate_report import KINDS
from asr_s2s.metrics.error_rate import ErrorRates
from asr_s2s.metrics.significance import Interval

LONGEST_CLIP = 30.0
"""Maximum seconds of a recording in the page; about 0.5 MB."""
CONFUSIONS = 15
"""Number of most frequent errors shown for each kind and system."""
WIDTH, MARGIN = 176, 6
"""Width and margin of a plot of scores and intervals, in SVG units."""


def read_clips(changes: Sequence[Change]) -> tuple[dict[str, str], list[AudioError]]:
    """Read the recordings of utterances as data URLs.

    Returns:
        Data URLs by utterance id, of at most `LONGEST_CLIP` seconds, and the errors of recordings
        that could not be read. Utterances without an existing recording are skipped.
    """
    clips, errors = {}, []
    for change in changes:
        utterance = change.utterance
        # A source need not be a valid path, and Path.is_file raises an error for some text.
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
    """Render the page.

    Args:
        comparison: result of the comparison.
        files: names of the compared files.
        changes: changed utterances to show.
        clips: their recordings, from `read_clips`.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "score": _score,
        "signed": _signed,
        "interval": _interval,
        "signed_count": _signed_count,
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
    """Rows of a table of scores, with the coordinates of their plots on a common axis."""
    sides = [{"a": (pair.a, pair.interval_a), "b": (pair.b, pair.interval_b)} for pair in pairs]
    bounds = [
        bound
        for both in sides
        for value, interval in both.values()
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
                for (side, (value, interval)), y in zip(both.items(), (9, 19), strict=True)
            ],
        }
        for pair, both in zip(pairs, sides, strict=True)
    ]


def _confusions(a: ErrorRates, b: ErrorRates) -> list[dict[str, Any]]:
    """Most frequent errors of either system by kind, with their counts for both systems."""
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


def _signed_count(value: int) -> str:
    return f"{value:+d}".replace("-", "\u2212") if value else "0"


def _interval(interval: Interval | None, signed: bool = False) -> str:
    if interval is None:
        return ""
    form = _signed if signed else _score
    return f"{form(interval.low)} to {form(interval.high)}"
