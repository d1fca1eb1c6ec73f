"""Reports of error rates: text, and JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from rich.cells import cell_len, set_cell_size

from asr_s2s.evaluate.breakdown import LengthPart, Part, SpeakerPart, by_length, by_speaker
from asr_s2s.evaluate.report import Decoding, Expectation, TextDecoding, finite, plural, table
from asr_s2s.metrics.error_rate import Counts, ErrorRates, UtteranceErrors
from asr_s2s.metrics.metric import METRICS
from asr_s2s.metrics.significance import FEW, LEVEL, Confidence, Interval, Resampling

WER, CER, SER = METRICS["wer"], METRICS["cer"], METRICS["ser"]
FREQUENT = 5
"""Number of most frequent errors of each kind in a report."""
SPEAKERS = 5
"""Number of speakers in a text report, worst first."""
NAME_WIDTH = 24
"""Maximum columns of a speaker's name; some corpora have names of a hundred letters."""
KINDS: tuple[tuple[Literal["substitute", "delete", "insert"], str], ...] = (
    ("substitute", "substitutions"),
    ("delete", "deletions"),
    ("insert", "insertions"),
)


def text_report(
    rates: ErrorRates,
    confidence: Confidence | None,
    decoding: Decoding | TextDecoding | None = None,
    worst: int = 5,
) -> str:
    """Table of the rates, breakdowns, frequent errors and the worst utterances.

    Args:
        rates: error rates.
        confidence: confidence intervals of the rates, if known.
        decoding: amount and speed of decoding; None for existing hypotheses.
        worst: number of utterances to show with their alignments.
    """
    lines = _rates(rates, confidence)
    if decoding is not None:
        lines.append(str(decoding))
    lines.append(rates.signature)
    if rates.words.errors:
        lines += _breakdowns(rates)
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
    confidence: Confidence | None,
    decoding: Decoding | TextDecoding | None = None,
    worst: int = 5,
    expectation: Expectation | None = None,
) -> dict[str, Any]:
    """The report as a JSON object; rates are fractions (1.0 is 100 %), null if not finite."""
    report: dict[str, Any] = {
        "signature": rates.signature,
        WER.field: finite(rates.word_error_rate),
        CER.field: finite(rates.character_error_rate),
        SER.field: finite(rates.sentence_error_rate),
        METRICS["accuracy"].field: 1 - rates.sentence_error_rate,
        "confidence": None if confidence is None else _confidence_json(confidence),
        "utterances": len(rates.utterances),
        "words": _counts(rates.words),
        "characters": _counts(rates.characters),
        "by_length": [_length(part) for part in by_length(rates)],
        "by_speaker": [_speaker(part) for part in by_speaker(rates)],
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


_COUNTED = ("errors", "sub", "del", "ins", "of")


def _rates(rates: ErrorRates, confidence: Confidence | None) -> list[str]:
    """Table of the whole set, and the method of its intervals."""
    wrong = sum(utterance.words.errors > 0 for utterance in rates.utterances)
    words, characters, sentences = (
        (confidence.words, confidence.characters, confidence.sentences)
        if confidence is not None
        else (None, None, None)
    )
    lines = table(
        [
            ("", "rate %", "95 % interval", *_COUNTED),
            (
                WER.title,
                _percent(rates.word_error_rate),
                _interval(words),
                *_numbers(rates.words),
                plural(rates.words.reference, "word"),
            ),
            (
                CER.title,
                _percent(rates.character_error_rate),
                _interval(characters),
                *_numbers(rates.characters),
                plural(rates.characters.reference, "character"),
            ),
            (
                SER.title,
                _percent(rates.sentence_error_rate),
                _interval(sentences),
                f"{wrong:,}",
                *("", "", ""),
                plural(len(rates.utterances), "utterance"),
            ),
        ]
    )
    if confidence is not None and wrong:
        lines.append(f"Intervals by {resampling_text(confidence.resampling, 'bootstrap')}")
    return lines


def _numbers(counts: Counts) -> tuple[str, ...]:
    numbers = (counts.errors, counts.substitutions, counts.deletions, counts.insertions)
    return tuple(f"{n:,}" for n in numbers)


def _breakdowns(rates: ErrorRates) -> list[str]:
    """Tables by length and by speaker, if there are several lengths or speakers."""
    lines = []
    lengths, speakers = by_length(rates), by_speaker(rates)
    if len(lengths) > 1:
        rows = [_part_row(f"{part.name} words", part) for part in lengths]
        lines += ["", "By length of the reference", *_part_table(rows)]
    if len(speakers) > 1:
        shown = speakers[:SPEAKERS]
        named = sum(part.speaker is not None for part in speakers)
        rows = [_part_row(_name(part.speaker), part) for part in shown]
        shown_of = f", the worst {SPEAKERS} of {named:,}" if named > SPEAKERS else ""
        lines += ["", f"By speaker{shown_of}", *_part_table(rows)]
    return lines


def _part_table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"  {line}" for line in table([("", f"{WER.title} %", *_COUNTED), *rows])]


def _part_row(name: str, part: Part) -> tuple[str, ...]:
    words, utterances = plural(part.words.reference, "word"), plural(part.utterances, "utterance")
    return (
        name,
        _percent(part.words.rate),
        *_numbers(part.words),
        f"{words} in {utterances}",
    )


def _name(speaker: str | None) -> str:
    if speaker is None:
        return "(unknown)"
    if cell_len(speaker) <= NAME_WIDTH:
        return speaker
    return set_cell_size(speaker, NAME_WIDTH - 3) + "..."


def resampling_text(resampling: Resampling, kind: str) -> str:
    """Description of the resampling, such as "10,000 bootstrap samples of 30 speakers".

    Args:
        resampling: drawn units and samples.
        kind: kind of samples, such as "bootstrap".
    """
    drawn = []
    if resampling.speakers:
        drawn.append(plural(resampling.speakers, "speaker"))
    if resampling.utterances:
        alone = " of unknown speakers" if resampling.speakers else ""
        drawn.append(plural(resampling.utterances, "utterance") + alone)
    narrow = f"; fewer than {FEW} make them too narrow" if resampling.few else ""
    return f"{resampling.samples:,} {kind} samples of {' and '.join(drawn)}{narrow}"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{_percent(interval.low)} to {_percent(interval.high)}"


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f}"


def _confusion(error: tuple[str, str, int]) -> str:
    reference, hypothesis, times = error
    words = " -> ".join(word for word in (reference, hypothesis) if word)
    return f"{words} ({times:,})"


def _counts(counts: Counts) -> dict[str, int]:
    return {**asdict(counts), "reference": counts.reference}


def _confidence_json(confidence: Confidence) -> dict[str, Any]:
    return {
        WER.field: _interval_json(confidence.words),
        CER.field: _interval_json(confidence.characters),
        SER.field: _interval_json(confidence.sentences),
        **_resampling_json(confidence.resampling),
    }


def _interval_json(interval: Interval | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    return {"low": finite(interval.low), "high": finite(interval.high)}


def _resampling_json(resampling: Resampling) -> dict[str, Any]:
    resampled = "speakers" if resampling.speakers else "utterances"
    return {"level": LEVEL, "resampled": resampled, "bootstrap": asdict(resampling)}


def _length(part: LengthPart) -> dict[str, Any]:
    return {"shortest": part.shortest, "longest": part.longest, **_part(part)}


def _speaker(part: SpeakerPart) -> dict[str, Any]:
    return {"speaker": part.speaker, **_part(part)}


def _part(part: Part) -> dict[str, Any]:
    return {
        WER.field: finite(part.words.rate),
        "utterances": part.utterances,
        "words": _counts(part.words),
    }


def _utterance(utterance: UtteranceErrors) -> dict[str, Any]:
    return {
        "id": utterance.id,
        "speaker": utterance.speaker,
        "reference": utterance.reference,
        "hypothesis": utterance.hypothesis,
        "words": _counts(utterance.words),
        "alignment": utterance.alignment(),
    }
