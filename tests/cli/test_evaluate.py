"""The command `asr-s2s evaluate`, run as a process."""

import gzip
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import soundfile

from asr_s2s.config import (
    Config,
    DecoderConfig,
    SpeechEncoderConfig,
    TextConfig,
)
from asr_s2s.data.parallel import TextPair
from asr_s2s.evaluate.decoding import translate_groups
from asr_s2s.metrics.metric import METRICS
from asr_s2s.model.folder import save_model
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.options import DecodeOptions
from asr_s2s.text.tokenizer import CharacterTokenizer
from asr_s2s.translator import Translator
from tests.support.commands import run_text_command
from tests.support.text_models import write_text_model


def evaluate(*arguments: str | float | Path) -> subprocess.CompletedProcess[str]:
    return run_text_command("evaluate", *arguments)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str | Path, ...]:
    """Options for scoring transcripts with one error in four words."""
    reference, hypothesis = tmp_path / "ref.tsv", tmp_path / "hyp.jsonl"
    reference.write_text("a\tOne two\nb\tthree four\n")
    hypothesis.write_text('{"id": "b", "text": "three for"}\n{"id": "a", "text": "One two"}\n')
    return "--reference", reference, "--hypothesis", hypothesis


def test_existing_transcripts_are_scored(pair: tuple[str | Path, ...]) -> None:
    result = evaluate(*pair, "--expect", "25")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert " ".join(lines[1].split()) == "WER 25.00 0.00 to 50.00 1 1 0 0 4 words"
    assert lines[-1] == "expected WER <= 25.00 % (+0.00): measured 25.00 %: success"


def test_missed_expectation_gives_exit_code_1(pair: tuple[str | Path, ...]) -> None:
    result = evaluate(*pair, "--expect", "20", "--tolerance", "4", "--worst", "0")
    assert result.returncode == 1
    last = result.stdout.splitlines()[-1]
    assert last == "expected WER <= 20.00 % (+4.00): measured 25.00 %: failure"


def test_json_report_is_one_object_on_stdout(pair: tuple[str | Path, ...]) -> None:
    result = evaluate(
        *pair, "--format", "json", "--normalizer", "lowercase", "--expect", "30", "--worst", "1"
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["word_error_rate"] == 0.25
    assert "normalizer:lowercase|" in report["signature"]
    assert report["expected"]["success"] is True
    assert report["worst"][0]["reference"] == "three four"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "found none of them"),
        (("--reference", "a.txt"), "found --reference"),
        (("a.jsonl", "--model", "m", "--hypothesis", "b.txt"), "MANIFEST and --model and"),
        (("--reference", "a.txt", "--hypothesis", "none.txt"), "a.txt: there is no such"),
        (("--reference", "a", "--hypothesis", "b", "--language", "de"), "nothing is decoded"),
    ],
)
def test_user_errors_are_one_line_on_stderr(arguments: tuple[str, ...], problem: str) -> None:
    result = evaluate(*arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small untrained model; its outputs can still be scored."""
    config = Config(
        text=TextConfig(normalizer="lowercase"),
        speech_encoder=SpeechEncoderConfig(layers=2, size=16, time_reduction=4),
        decoder=DecoderConfig(size=16, attention_size=16, embedding_size=8),
    )
    tokenizer = CharacterTokenizer("abc ")
    weights = Seq2Seq(config, len(tokenizer)).state_dict()
    save_model(tmp_path / "model", config, tokenizer, None, weights)
    return tmp_path / "model"


def test_model_is_evaluated_on_a_manifest_with_a_missing_recording(
    model: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(8000), 16000)
    manifest, output = tmp_path / "test.jsonl", tmp_path / "hyp.jsonl"
    # With a duration in the manifest, the recording is not opened when the manifest is read.
    manifest.write_text(
        '{"id": "a", "audio": "a.wav", "text": "One"}\n'
        '{"id": "b", "audio": "b.wav", "text": "Two"}\n'
        '{"id": "lost", "audio": "lost:100:.wav", "text": "Three four", "duration": 0.5}\n'
        '{"id": "c", "audio": "c.wav", "text": "Five"}\n'
    )
    arguments = ("--model", model, "--device", "cpu", "--beam-size", "2", "--output", output)
    result = evaluate(manifest, *arguments, "--format", "json", "--worst", "9")
    assert result.returncode == 1
    *messages, summary = result.stderr.splitlines()
    assert any("lost:100:.wav" in message for message in messages)
    assert summary == (
        f"{manifest}: 1 of 4 recordings failed; all of their words count as deletions"
    )
    report = json.loads(result.stdout)
    assert "normalizer:lowercase|" in report["signature"]
    assert report["words"]["reference"] == 5
    lost = next(utterance for utterance in report["worst"] if utterance["id"] == "lost")
    assert lost["hypothesis"] == ""
    assert lost["words"]["deletions"] == 2
    assert report["audio_seconds"] == 1.5
    assert report["real_time_factor"] > 0

    written = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["id"] for row in written] == ["a", "b", "lost", "c"]
    assert "lost:100:.wav" in written[2]["error"]
    existing = ("--reference", manifest, "--hypothesis", output)
    again = evaluate(*existing, "--normalizer", "lowercase", "--format", "json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["words"] == report["words"]


def test_output_that_cannot_be_written_is_reported(model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.1), 16000)
    (tmp_path / "test.jsonl").write_text('{"audio": "a.wav", "text": "One"}\n')
    result = evaluate(
        tmp_path / "test.jsonl", "--model", model, "--device", "cpu", "--output", tmp_path
    )
    assert result.returncode == 1
    assert f"{tmp_path}: cannot be written" in result.stderr


REFERENCES = ["Die Katze schläft auf dem Dach.", "Wir gehen morgen ins Kino.", "Es regnet heute."]
HYPOTHESES = ["Die Katze schläft auf dem Haus.", "Wir gehen morgen ins Kino!", ""]


@pytest.fixture
def translations(tmp_path: Path) -> tuple[str | Path, ...]:
    """Options for scoring translations in text files, one of them compressed."""
    reference, hypothesis = tmp_path / "test.de.gz", tmp_path / "hyp.txt"
    reference.write_bytes(gzip.compress("".join(f"{line}\n" for line in REFERENCES).encode()))
    hypothesis.write_text("".join(f"{line}\n" for line in HYPOTHESES), "utf-8")
    return "--reference", reference, "--hypothesis", hypothesis, "--metric", "bleu"


def test_existing_translations_are_scored(translations: tuple[str | Path, ...]) -> None:
    by_hand = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    result = evaluate(*translations, "--lowercase-tokenized", "de", "--expect", by_hand)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[1].split()[:2] == ["BLEU", f"{by_hand:.2f}"]
    assert lines[2].startswith("BLEU lc")
    assert "prep:moses-de-lc" in lines[2]
    assert "3: chrF 0.0" in lines
    assert lines[-1] == f"expected BLEU >= {by_hand:.2f} (-0.00): measured {by_hand:.2f}: success"


def test_too_low_bleu_gives_exit_code_1(translations: tuple[str | Path, ...]) -> None:
    result = evaluate(*translations, "--expect", "90", "--tolerance", "1", "--worst", "0")
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].endswith(": failure")
    assert result.stderr == ""


def test_any_pronunciation_of_a_word_is_accepted(tmp_path: Path) -> None:
    reference, hypothesis = tmp_path / "test.tsv", tmp_path / "hyp.txt"
    reference.write_text("source\ttarget\nread\tR IY D\nread\tR EH D\ncat\tK AE T\n")
    hypothesis.write_text("R EH D\nK AE\n")
    options = ("--reference", reference, "--hypothesis", hypothesis, "--format", "json")
    result = evaluate(*options, "--any-reference")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["word_error_rate"] == 1 / 6
    assert report["sentence_error_rate"] == 1 / 2
    assert "holds 3 references and" in evaluate(*options).stderr


@pytest.mark.parametrize(
    ("metric", "expect", "code"),
    [("cer", "26", 0), ("accuracy", "50", 0), ("accuracy", "51", 1), ("chrf", "99", 1)],
)
def test_any_metric_of_the_table_can_be_expected(
    pair: tuple[str | Path, ...], metric: str, expect: str, code: int
) -> None:
    result = evaluate(*pair, "--metric", metric, "--expect", expect)
    assert result.returncode == code, result.stderr
    assert METRICS[metric].title in result.stdout.splitlines()[-1]
    report = json.loads(evaluate(*pair, "--metric", metric, "--format", "json").stdout)
    assert METRICS[metric].field in report


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_is_not_scored_as_an_utterance(tmp_path: Path, mark: str, ending: str) -> None:
    contents = {
        "ref.tsv": f"{mark}id\ttext{ending}a\tone two{ending}b\tthree{ending}",
        "hyp.csv": f"{mark}id,text{ending}a,one two{ending}b,four{ending}",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content.encode())
    files = "--reference", tmp_path / "ref.tsv", "--hypothesis", tmp_path / "hyp.csv"
    result = evaluate(*files, "--format", "json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["utterances"] == 2
    assert report["words"]["reference"] == 3 and report["words"]["substitutions"] == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--metric", "wers"), "--metric: expected one of wer"),
        (("--bleu-tokenizer", "zh"), "--bleu-tokenizer: this option is for bleu"),
        (("--lowercase-tokenized", "de"), "--lowercase-tokenized: this option is for bleu"),
        (("--metric", "bleu", "--normalizer", "verbatim"), "--normalizer: this option is for wer"),
        (("--metric", "bleu", "--bleu-tokenizer", "13b"), "13b: expected one of sacrebleu's"),
        (("--metric", "bleu", "--lowercase-tokenized", "xx"), "xx: expected one of Moses'"),
    ],
)
def test_options_of_the_other_metric_and_unknown_values_are_rejected(
    pair: tuple[str | Path, ...], arguments: tuple[str, ...], problem: str
) -> None:
    result = evaluate(*pair, *arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.fixture
def text_model(tmp_path: Path) -> Path:
    return write_text_model(tmp_path / "text-model")


def test_model_is_evaluated_on_parallel_text(text_model: Path, tmp_path: Path) -> None:
    (tmp_path / "test.en").write_text("x y\nzz\nx y\n")
    (tmp_path / "test.de").write_text("a b\nc\nb a\n")
    pairs, output = tmp_path / "test.{en,de}", tmp_path / "hyp.jsonl"
    arguments = ("--model", text_model, "--device", "cpu", "--any-reference", "--output", output)
    result = evaluate(pairs, *arguments, "--format", "json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["sentences"] == 2
    assert report["bleu"]["signature"].startswith("nrefs:var|case:mixed|eff:no|tok:char|")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(row["source"], list(row)) for row in rows] == [
        ("x y", ["id", "source", "text", "score"]),
        ("zz", ["id", "source", "text", "score"]),
    ]
    existing = ("--reference", pairs, "--hypothesis", output, "--any-reference")
    scoring = ("--metric", "bleu", "--bleu-tokenizer", "char", "--format", "json")
    again = evaluate(*existing, *scoring)
    assert again.returncode == 0, again.stderr
    for name in ("bleu", "chrf", "ter", "worst"):
        assert json.loads(again.stdout)[name] == report[name]


def test_language_of_parallel_files_is_an_option(tmp_path: Path) -> None:
    several, one = (
        write_text_model(tmp_path / name, *languages)
        for name, languages in (("several", ("de", "fr")), ("one", ()))
    )
    (tmp_path / "test.src").write_text("x y\nzz\n")
    (tmp_path / "test.tgt").write_text("a b\nc\n")
    options = (tmp_path / "test.{src,tgt}", "--device", "cpu", "--format", "json", "--model")
    result = evaluate(*options, several, "--language", "fr")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["sentences"] == 2
    rejected = evaluate(*options, one, "--language", "fr")
    assert rejected.returncode == 1
    assert "--language: this model writes one language only" in rejected.stderr


def test_mixed_languages_are_batched_by_language_and_keep_their_order(tmp_path: Path) -> None:
    folder = write_text_model(tmp_path / "model", "de", "fr")
    translator = Translator.load(folder, device="cpu")
    batches: list[int] = []
    translator.model.encoders["text"].register_forward_hook(lambda *_: batches.append(1))
    sources = ["x", "y z", "zz", "x y z", "z", "yy x"]
    languages = ["de", "fr"] * 3
    groups = [
        (TextPair(f"t:{number}", source, "a", language),)
        for number, (source, language) in enumerate(zip(sources, languages, strict=True))
    ]
    output = tmp_path / "hyp.jsonl"
    decoded = translate_groups(groups, translator, DecodeOptions(beam_size=2), output=output)
    assert len(batches) == 2
    expected = [
        translator.translate(source, language=language, beam_size=2).text
        for source, language in zip(sources, languages, strict=True)
    ]
    assert [utterance.hypothesis for utterance in decoded.utterances] == expected
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(row["source"], row["text"]) for row in rows] == [*zip(sources, expected, strict=True)]
    german = translate_groups(
        groups, translator, DecodeOptions(language="de", beam_size=2), output=None
    )
    assert german.utterances[1].hypothesis == translator.translate(
        sources[1], language="de", beam_size=2
    ).text  # fmt: skip


def test_speech_model_rejects_parallel_text(model: Path, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"source": "x", "target": "a"}\n')
    result = evaluate(tmp_path / "test.jsonl", "--model", model, "--device", "cpu")
    assert result.returncode == 1
    assert "this model reads speech, not text" in result.stderr
