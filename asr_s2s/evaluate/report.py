"""Error rates as a text report for people and as a JSON object for programs."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from asr_s2s.evaluate.error_rate import Counts, ErrorRates, UtteranceErrors

FREQUENT = 5
"""Most frequent errors shown of each kind."""
KINDS: tuple[tuple[Literal["substitute", "delete", "insert"], str], ...] = (
    ("substitute", "substitutions"),
    ("delete", "deletions"),
    ("insert", "insertions"),
)


@dataclass(frozen=True)
class Decoding:
    """What it took to transcribe recordings."""

    audio_seconds: float
    """Length of the recordings that could be decoded."""
    seconds: float
    """Wall-clock time, reading the audio included, loading the model not."""

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for one second of audio."""
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
            "real_time_factor": _finite(self.real_time_factor),
        }


@dataclass(frozen=True)
class TextDecoding:
    """What it took to translate text."""

    sentences: int
    seconds: float
    """Wall-clock time, loading the model not included."""

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


@dataclass(frozen=True)
class Expectation:
    """The word error rate that a result must not exceed."""

    percent: float
    tolerance: float
    """Percentage points."""
    measured: float
    """Percent."""

    @property
    def met(self) -> bool:
        # 7 errors in 100 words are 7.000000000000001 % in floating point.
        return self.measured <= self.percent + self.tolerance + 1e-9

    def __str__(self) -> str:
        return (
            f"expected WER <= {self.percent:.2f} % (+{self.tolerance:.2f}): "
            f"measured {self.measured:.2f} %: {'success' if self.met else 'failure'}"
        )

    def as_json(self) -> dict[str, float | bool]:
        return {
            "word_error_rate": self.percent / 100,
            "tolerance": self.tolerance / 100,
            "success": self.met,
        }


def text_report(
    rates: ErrorRates, decoding: Decoding | TextDecoding | None = None, worst: int = 5
) -> str:
    """A table of the rates, the most frequent errors and the worst utterances.

    Args:
        rates: what was measured.
        decoding: adds a line with what was decoded and how fast.
        worst: how many utterances to show with their alignments.
    """
    wrong = sum(utterance.words.errors > 0 for utterance in rates.utterances)
    rows = [
        ("", "rate %", "errors", "sub", "del", "ins", "of"),
        _rate_row("WER", rates.words, "words"),
        _rate_row("CER", rates.characters, "characters"),
        (
            "SER",
            _percent(rates.sentence_error_rate),
            f"{wrong:,}",
            "",
            "",
            "",
            f"{len(rates.utterances):,} utterances",
        ),
    ]
    lines = table(rows)
    if decoding is not None:
        lines.append(str(decoding))
    lines.append(rates.signature)
    if rates.words.errors:
        lines += ["", "Most frequent errors"]
        for kind, name in KINDS:
            frequent = rates.most_frequent(kind, FREQUENT)
            if frequent:
                lines.append(f"  {name:<14} {', '.join(map(_confusion, frequent))}")
    for utterance in rates.worst(worst):
        lines += [
            "",
            f"{utterance.id}: {plural(utterance.words.errors, 'error')} in "
            f"{plural(utterance.words.reference, 'word')}",
        ]
        lines += [f"  {line}".rstrip() for line in utterance.alignment(98).split("\n")]
    return "\n".join(lines)


def json_report(
    rates: ErrorRates,
    decoding: Decoding | TextDecoding | None = None,
    worst: int = 5,
    expectation: Expectation | None = None,
) -> dict[str, Any]:
    """The same as plain values; rates are fractions (1.0 is 100 %), null where not finite."""
    report: dict[str, Any] = {
        "signature": rates.signature,
        "word_error_rate": _finite(rates.word_error_rate),
        "character_error_rate": _finite(rates.character_error_rate),
        "sentence_error_rate": _finite(rates.sentence_error_rate),
        "utterances": len(rates.utterances),
        "words": _counts(rates.words),
        "characters": _counts(rates.characters),
        "most_frequent": {
            name: [
                {"reference": reference, "hypothesis": hypothesis, "times": times}
                for reference, hypothesis, times in rates.most_frequent(kind, FREQUENT)
            ]
            for kind, name in KINDS
        },
        "worst": [_utterance(utterance) for utterance in rates.worst(worst)],
    }
    if decoding is not None:
        report |= decoding.as_json()
    if expectation is not None:
        report["expected"] = expectation.as_json()
    return report


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table: first and last column left-aligned, the numbers between right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i in (0, len(row) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _rate_row(name: str, counts: Counts, unit: str) -> tuple[str, ...]:
    numbers = (counts.errors, counts.substitutions, counts.deletions, counts.insertions)
    return (
        name,
        _percent(counts.rate),
        *(f"{n:,}" for n in numbers),
        f"{counts.reference:,} {unit}",
    )


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f}"


def _confusion(error: tuple[str, str, int]) -> str:
    reference, hypothesis, times = error
    words = " -> ".join(word for word in (reference, hypothesis) if word)
    return f"{words} ({times:,})"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _counts(counts: Counts) -> dict[str, int]:
    return {**asdict(counts), "reference": counts.reference}


def _utterance(utterance: UtteranceErrors) -> dict[str, Any]:
    return {
        "id": utterance.id,
        "reference": utterance.reference,
        "hypothesis": utterance.hypothesis,
        "words": _counts(utterance.words),
        "alignment": utterance.alignment(),
    }
