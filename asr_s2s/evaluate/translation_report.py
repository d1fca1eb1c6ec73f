"""Translation scores as a text report for people and as a JSON object for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from asr_s2s.evaluate.error_rate import Utterance
from asr_s2s.evaluate.report import Decoding, TextDecoding, plural, table
from asr_s2s.evaluate.translation import Score, SentenceScore, TranslationScores


@dataclass(frozen=True)
class BleuExpectation:
    """The BLEU that a result must reach; all in points."""

    points: float
    tolerance: float
    measured: float

    @property
    def met(self) -> bool:
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
    """A table of the scores with their signatures, and the worst sentences.

    Args:
        scores: what was measured.
        utterances: what the scores are of, in the same order.
        decoding: adds a line with what was decoded and how fast.
        worst: how many sentences to show, by their own chrF.
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
    """The same as plain values, in points."""
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
