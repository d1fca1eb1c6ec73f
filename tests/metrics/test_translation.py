"""BLEU, chrF and TER, their comparison by bootstrap, and reports."""

import json
import sys

import pytest
import sacrebleu
from sacremoses import MosesPunctNormalizer, MosesTokenizer

from asr_s2s.errors import TextError
from asr_s2s.evaluate.report import Expectation, TextDecoding
from asr_s2s.evaluate.translation_report import json_report, text_report
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.metrics.metric import METRICS
from asr_s2s.metrics.translation import (
    Score,
    TranslationScores,
    check_settings,
    compare_translations,
    score_translations,
)

REFERENCES = [
    "Der Zug nach Bremen fährt heute von Gleis sieben.",
    "„Komm doch herein“, sagte die alte Frau.",
    "Im Garten stehen z.B. drei hohe Birken.",
    "Niemand wusste, wo der Schlüssel lag.",
]
HYPOTHESES = [
    "Der Zug nach Bremen fährt heute von Gleis acht.",
    '"komm doch herein", sagte eine alte Frau.',
    "Im Garten stehen z.B. drei Bäume.",
    "",
]
SINGLE = [(reference,) for reference in REFERENCES]


@pytest.fixture
def scores() -> TranslationScores:
    return score_translations(HYPOTHESES, SINGLE, lowercase_tokenized="de")


def test_scores_equal_those_of_sacrebleu(scores: TranslationScores) -> None:
    assert scores.bleu.value == sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert scores.chrf.value == sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score
    assert scores.ter.value == sacrebleu.corpus_ter(HYPOTHESES, [REFERENCES]).score
    assert 0 < scores.bleu.value < 100


def test_signatures_have_everything_the_scores_depend_on(scores: TranslationScores) -> None:
    version = f"version:{sacrebleu.__version__}"
    assert scores.bleu.signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|{version}"
    assert scores.chrf.signature == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|{version}"
    assert scores.ter.signature.startswith("nrefs:1|case:lc|tok:tercom|")


def test_lowercase_tokenized_bleu_uses_moses_tokens(scores: TranslationScores) -> None:
    normalizer, tokenizer = MosesPunctNormalizer("de"), MosesTokenizer("de")

    def prepare(text: str) -> str:
        return " ".join(tokenizer.tokenize(normalizer.normalize(text).lower()))

    assert prepare(REFERENCES[1]).startswith("&quot; komm doch herein &quot; ,")
    by_hand = sacrebleu.corpus_bleu(
        list(map(prepare, HYPOTHESES)), [list(map(prepare, REFERENCES))], tokenize="none"
    )
    older = scores.lowercase_tokenized_bleu
    assert older is not None
    assert older.value == by_hand.score > scores.bleu.value
    assert "|tok:none|" in older.signature
    assert "|prep:moses-de-lc|sacremoses:" in older.signature


def test_lowercase_tokenized_bleu_is_computed_only_on_request() -> None:
    assert score_translations(HYPOTHESES, SINGLE).lowercase_tokenized_bleu is None


def test_sentences_may_have_different_numbers_of_references() -> None:
    hypotheses = ["The shop is shut.", "I read a long book."]
    references = [["The store is closed.", "The shop is shut."], ["I read a thick book."]]
    scores = score_translations(hypotheses, references)
    first = [several[0] for several in references]
    by_hand = sacrebleu.corpus_bleu(hypotheses, [first, ["The shop is shut.", None]])
    assert scores.bleu.value == by_hand.score > sacrebleu.corpus_bleu(hypotheses, [first]).score
    assert scores.bleu.signature.startswith("nrefs:var|")


def test_tokenizer_of_bleu_can_be_chosen() -> None:
    hypothesis, reference = ["我今天在家看书。"], ["我今天在学校看书。"]
    chinese = score_translations(hypothesis, [reference], tokenizer="zh")
    by_hand = sacrebleu.corpus_bleu(hypothesis, [reference], tokenize="zh")
    assert chinese.bleu.value == by_hand.score
    assert "|tok:zh|" in chinese.bleu.signature
    assert score_translations(hypothesis, [reference]).bleu.value < chinese.bleu.value


def test_ter_counts_chinese_characters_as_words() -> None:
    hypotheses, references = ["我今天在家看书。"], [["我今天在店看书。"]]
    chinese = score_translations(hypotheses, references, tokenizer="zh").ter
    assert chinese.value == pytest.approx(100 / 8)
    assert "|norm:yes|punct:yes|asian:yes|" in chinese.signature
    assert score_translations(hypotheses, references, tokenizer="char").ter == chinese
    assert score_translations(hypotheses, references).ter.value == 100


@pytest.mark.parametrize(
    ("tokenizer", "language", "words"),
    [
        ("13b", None, "13b: expected one of sacrebleu's tokenizers, none, zh, 13a"),
        ("13a", "german", "german: expected one of Moses' languages, as, bn, ca"),
    ],
)
def test_unknown_settings_are_rejected_with_the_choices(
    tokenizer: str, language: str | None, words: str
) -> None:
    with pytest.raises(TextError, match=words):
        check_settings(tokenizer, language)


def test_tokenizer_that_is_not_installed_is_reported_with_the_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "MeCab", None)  # cannot be imported
    with pytest.raises(TextError, match=r"pip install sacrebleu\[ja\]"):
        score_translations(HYPOTHESES, SINGLE, tokenizer="ja-mecab")


@pytest.mark.parametrize("references", [[], SINGLE[:3], [*SINGLE[:3], ()]])
def test_each_hypothesis_needs_a_reference(references: list[tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match="found 4 hypotheses"):
        score_translations(HYPOTHESES, references)


def test_worst_sentences_come_first_without_correct_ones() -> None:
    scores = score_translations(
        ["one two three", "quite another", "one too three"],
        [["one two three"], ["four five six"], ["one two three"]],
    )
    assert [sentence.index for sentence in scores.worst(5)] == [1, 2]
    assert [sentence.index for sentence in scores.worst(1)] == [1]
    by_hand = sacrebleu.sentence_chrf("one too three", ["one two three"]).score
    assert scores.worst(5)[1].chrf == by_hand


WORDS = ("red", "blue", "green", "small", "large", "old", "new")
MANY = [
    (f"The {WORDS[i % 7]} house stands near the {WORDS[i * 3 % 5]} bridge number {i}.",)
    for i in range(60)
]
RIGHT = [several[0] for several in MANY]
POOR = [
    text if i % 4 == 3 else text.replace("house stands near", "home is by")
    for i, text in enumerate(RIGHT)
]


def test_equal_outputs_are_not_significantly_different() -> None:
    result = compare_translations(POOR, POOR, MANY, samples=200)
    for difference in (result.bleu, result.chrf):
        assert difference.difference == 0
        assert difference.p_value == 1
        assert difference.system == difference.baseline


def test_large_difference_is_significant() -> None:
    result = compare_translations(RIGHT, POOR, MANY, samples=200)
    assert result.bleu.system.value == pytest.approx(100)
    assert result.bleu.baseline.value == sacrebleu.corpus_bleu(POOR, [RIGHT]).score
    assert result.bleu.difference > 20
    assert result.bleu.p_value < 0.01
    assert result.chrf.difference > 5
    assert result.chrf.p_value < 0.01
    assert result.bleu.baseline.margin > 0
    assert "|bs:200|seed:12345|" in result.bleu.signature


def test_one_better_sentence_of_many_is_not_significant() -> None:
    result = compare_translations([RIGHT[0], *POOR[1:]], POOR, MANY, samples=200)
    assert result.bleu.difference > 0
    assert result.bleu.p_value > 0.05


def test_bootstrap_is_determined_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = [*RIGHT[:7], *POOR[7:]]
    once = compare_translations(mixed, POOR, MANY, samples=100, seed=7)
    monkeypatch.setenv("SACREBLEU_SEED", "none")
    assert compare_translations(mixed, POOR, MANY, samples=100, seed=7) == once
    assert compare_translations(mixed, POOR, MANY, samples=100, seed=8).bleu != once.bleu


def _utterances() -> list[Utterance]:
    return [
        Utterance(f"s{i}", reference, hypothesis, source=f"sentence {i}")
        for i, (reference, hypothesis) in enumerate(zip(REFERENCES, HYPOTHESES, strict=True))
    ]


def test_text_report_has_a_table_and_the_worst_sentences(scores: TranslationScores) -> None:
    decoding = TextDecoding(sentences=4, seconds=2.0)
    lines = text_report(scores, _utterances(), decoding, worst=1).split("\n")
    assert [line.split()[0] for line in lines[1:5]] == ["BLEU", "BLEU", "chrF", "TER"]
    assert lines[0].split() == ["score", "signature"]
    assert lines[1].split() == ["BLEU", f"{scores.bleu.value:.2f}", scores.bleu.signature]
    assert lines[5] == "4 sentences"
    assert lines[6] == "4 sentences translated in 2.0 s: 2.0 a second"
    assert lines[7:] == [
        "",
        "s3: chrF 0.0",
        "  SRC: sentence 3",
        "  REF: Niemand wusste, wo der Schlüssel lag.",
        "  HYP:",
    ]


def test_json_report_has_scores_signatures_and_sentences(scores: TranslationScores) -> None:
    expectation = Expectation(METRICS["bleu"], 10.0, 0.5, scores.bleu.value)
    report = json_report(
        scores, _utterances(), TextDecoding(4, 2.0), worst=2, expectation=expectation
    )
    assert Score(**report["bleu"]) == scores.bleu
    assert Score(**report["lowercase_tokenized_bleu"]) == scores.lowercase_tokenized_bleu
    assert report["sentences_per_second"] == 2.0
    assert report["worst"][0] == {
        "id": "s3",
        "source": "sentence 3",
        "references": [REFERENCES[3]],
        "hypothesis": "",
        "chrf": 0.0,
    }
    assert report["expected"] == {"bleu": 10.0, "tolerance": 0.5, "success": True}
    json.dumps(report, allow_nan=False)


def test_expected_bleu_must_be_reached_within_the_tolerance() -> None:
    assert Expectation(METRICS["bleu"], 30.0, 0.0, 30.0).met
    assert Expectation(METRICS["bleu"], 30.0, 0.5, 29.5).met
    assert not Expectation(METRICS["bleu"], 30.0, 0.5, 29.49).met
    assert str(Expectation(METRICS["bleu"], 30.0, 0.5, 31.0)) == (
        "expected BLEU >= 30.00 (-0.50): measured 31.00: success"
    )
