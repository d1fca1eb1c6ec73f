"""Helpers shared by reports of error rates and of translation scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from asr_s2s.evaluate.breakdown import ScoreParts
from asr_s2s.metrics.metric import Metric


@dataclass(frozen=True)
class Expectation:
    """Value of a metric that a result must reach; all numbers as printed: percent or points."""

    metric: Metric
    expected: float
    tolerance: float
    """Amount by which the result may be worse."""
    measured: float

    @property
    def met(self) -> bool:
        """Whether the measured value is acceptable."""
        # 7 errors in 100 words are 7.000000000000001 % in floating point.
        margin = self.tolerance + 1e-9
        if self.metric.lower_is_better:
            return self.measured <= self.expected + margin
        return self.measured >= self.expected - margin

    def __str__(self) -> str:
        relation, sign = ("<=", "+") if self.metric.lower_is_better else (">=", "-")
        expected, measured = (
            self.metric.number(value / self.metric.scale)
            for value in (self.expected, self.measured)
        )
        return (
            f"expected {self.metric.title} {relation} {expected} ({sign}{self.tolerance:.2f}): "
            f"measured {measured}: {'success' if self.met else 'failure'}"
        )

    def as_json(self) -> dict[str, float | bool]:
        return {
            self.metric.field: self.expected / self.metric.scale,
            "tolerance": self.tolerance / self.metric.scale,
            "success": self.met,
        }


@dataclass(frozen=True)
class Decoding:
    """Amount of audio transcribed, and time taken."""

    audio_seconds: float
    """Total duration of the recordings that were transcribed."""
    seconds: float
    """Wall-clock time, including reading audio but not loading the model."""

    @property
    def real_time_factor(self) -> float:
        """Wall-clock time divided by duration of the audio."""
        return self.seconds / self.audio_seconds if self.audio_seconds else math.nan

    def __str__(self) -> str:
        return (
            f"{self.audio_seconds / 3600:.3f} h of audio decoded in {self.seconds:.1f} s: "
            f"real-time factor {self.real_time_factor:.4f}"
        )

    def as_json(self) -> dict[str, float | None]:
        return {
            "audio_seconds": self.audio_seconds,
            "decoding_seconds": self.seconds,
            "real_time_factor": finite(self.real_time_factor),
        }


@dataclass(frozen=True)
class TextDecoding:
    """Number of sentences translated, and time taken."""

    sentences: int
    seconds: float
    """Wall-clock time without loading the model."""

    def __str__(self) -> str:
        return (
            f"{plural(self.sentences, 'sentence')} translated in {self.seconds:.1f} s: "
            f"{self.sentences / self.seconds:.1f} a second"
        )

    def as_json(self) -> dict[str, float | None]:
        return {
            "decoding_seconds": self.seconds,
            "sentences_per_second": self.sentences / self.seconds,
        }


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Format a table: first and last columns left-aligned, others right-aligned."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            set_cell_size(cell, width) if i in (0, len(row) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def parts_report(by: str, parts: ScoreParts, metrics: Sequence[Metric]) -> list[str]:
    """Format scores broken down by a field as a table, whose last line has the macro averages.

    Args:
        by: name of the field.
        parts: scores of the parts.
        metrics: metrics of the values, in their order.
    """
    rows = [("", *(metric.title for metric in metrics), "of")]
    for name, values, of in (
        *((p.name, p.values, plural(p.utterances, "utterance")) for p in parts.parts),
        ("mean", parts.means, plural(len(parts.parts), "part")),
    ):
        numbers = (metric.number(value) for metric, value in zip(metrics, values, strict=True))
        rows.append((f"  {name}", *numbers, of))
    return [f"By {by}", *table(rows)]


def parts_json(parts: ScoreParts, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Convert scores broken down by a field, and their macro averages, to a JSON object."""

    def fields(values: Sequence[float]) -> dict[str, float | None]:
        return {m.field: finite(value) for m, value in zip(metrics, values, strict=True)}

    return {
        "parts": [
            {"name": part.name, "utterances": part.utterances, **fields(part.values)}
            for part in parts.parts
        ],
        "mean": fields(parts.means),
    }


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def finite(value: float) -> float | None:
    """The value, or None if it is not finite, as strict JSON has no such numbers."""
    return value if math.isfinite(value) else None
