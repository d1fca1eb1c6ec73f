"""Reports of translation scores: text, and JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from asr_s2s.evaluate.report import Decoding, TextDecoding, plural, table
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.metrics.translation import Score, SentenceScore, TranslationScores


@dataclass(frozen=True)
class BleuExpectation:
    """BLEU that a result must reach; all values in points."""

    points: float
    tolerance: float
    """Points by which BLEU may be lower."""
    measured: float

    @property
    def met(self) -> bool:
        """Whether the measured BLEU is acceptable."""
        return self.measured >= self.points - self.tolerance - 1e-9

    def __str__(self) -> str:
        return (
            f"expected BLEU >= {self.points:.2f} (-{self.tolerance:.2f}): "
            f"measured {self.measured:.2f}: {'success' if self.met else 'failure'}"
        )

    def as_json(self) -> dict[str, float | bool]:
        return {"bleu": self.points, "tolerance": self.tolerance, "success": self.met}


def text_report(
    scores: TranslationScores,
    utterances: Sequence[Utterance],
    decoding: Decoding | TextDecoding | None = None,
    worst: int = 5,
) -> str:
    """Table of the scores with their signatures, and the worst sentences.

    Args:
        scores: translation scores.
        utterances: scored sentences in the same order.
        decoding: amount and speed of decoding; None for existing hypotheses.
        worst: number of sentences to show, lowest sentence-level chrF first.
    """
    rows = [("", "score", "signature")]
    rows += [
        (name, f"{score.value:.2f}", score.signature)
        for name, score in _named(scores).items()
        if score is not None
    ]
    lines = [*table(rows), plural(len(scores.sentences), "sentence")]
    if decoding is not None:
        lines.append(str(decoding))
    for sentence in scores.worst(worst):
        utterance = utterances[sentence.index]
        lines += ["", f"{utterance.id}: chrF {sentence.chrf:.1f}"]
        if utterance.source is not None:
            lines.append(f"  SRC: {utterance.source}")
        lines += [f"  REF: {reference}" for reference in sentence.references]
        lines.append(f"  HYP: {sentence.hypothesis}".rstrip())
    return "\n".join(lines)


def json_report(
    scores: TranslationScores,
    utterances: Sequence[Utterance],
    decoding: Decoding | TextDecoding | None = None,
    worst: int = 5,
    expectation: BleuExpectation | None = None,
) -> dict[str, Any]:
    """The report as a JSON object; scores are in points."""
    report: dict[str, Any] = {
        "bleu": asdict(scores.bleu),
        "chrf": asdict(scores.chrf),
        "ter": asdict(scores.ter),
        "sentences": len(scores.sentences),
        "worst": [_sentence(s, utterances[s.index]) for s in scores.worst(worst)],
    }
    if scores.lowercase_tokenized_bleu is not None:
        report["lowercase_tokenized_bleu"] = asdict(scores.lowercase_tokenized_bleu)
    if decoding is not None:
        report |= decoding.as_json()
    if expectation is not None:
        report["expected"] = expectation.as_json()
    return report


def _named(scores: TranslationScores) -> dict[str, Score | None]:
    return {
        "BLEU": scores.bleu,
        "BLEU lc": scores.lowercase_tokenized_bleu,
        "chrF": scores.chrf,
        "TER": scores.ter,
    }


def _sentence(sentence: SentenceScore, utterance: Utterance) -> dict[str, Any]:
    return {
        "id": utterance.id,
        "source": utterance.source,
        "references": list(sentence.references),
        "hypothesis": sentence.hypothesis,
        "chrf": sentence.chrf,
    }
