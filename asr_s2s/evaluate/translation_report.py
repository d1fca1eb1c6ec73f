"""Reports of translation scores: text, and JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from asr_s2s.evaluate.report import Decoding, Expectation, TextDecoding, plural, table
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.metrics.metric import METRICS
from asr_s2s.metrics.translation import Score, SentenceScore, TranslationScores

BLEU, CHRF, TER = METRICS["bleu"], METRICS["chrf"], METRICS["ter"]


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
        lines += ["", f"{utterance.id}: {CHRF.title} {sentence.chrf:.1f}"]
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
    expectation: Expectation | None = None,
) -> dict[str, Any]:
    """The report as a JSON object; scores are in points."""
    report: dict[str, Any] = {
        BLEU.field: asdict(scores.bleu),
        CHRF.field: asdict(scores.chrf),
        TER.field: asdict(scores.ter),
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
        BLEU.title: scores.bleu,
        f"{BLEU.title} lc": scores.lowercase_tokenized_bleu,
        CHRF.title: scores.chrf,
        TER.title: scores.ter,
    }


def _sentence(sentence: SentenceScore, utterance: Utterance) -> dict[str, Any]:
    return {
        "id": utterance.id,
        "source": utterance.source,
        "references": list(sentence.references),
        "hypothesis": sentence.hypothesis,
        CHRF.field: sentence.chrf,
    }
