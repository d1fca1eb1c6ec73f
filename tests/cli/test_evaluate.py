"""`asr-s2s evaluate` as a process."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_s2s.config import Config, DecoderConfig, SpeechEncoderConfig, TextConfig
from asr_s2s.model.folder import save_model
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.tokenizer import CharacterTokenizer

PROGRAM = "from asr_s2s.cli.main import main; main()"


def evaluate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, "evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str | Path, ...]:
    """Options that score one error in four words."""
    reference, hypothesis = tmp_path / "ref.tsv", tmp_path / "hyp.jsonl"
    reference.write_text("a\tOne two\nb\tthree four\n")
    hypothesis.write_text('{"id": "b", "text": "three for"}\n{"id": "a", "text": "One two"}\n')
    return "--reference", reference, "--hypothesis", hypothesis


def test_existing_transcripts_are_scored(pair: tuple[str | Path, ...]) -> None:
    result = evaluate(*pair, "--expect", "25")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["WER", "25.00", "1", "1", "0", "0", "4", "words"]
    assert lines[-1] == "expected WER <= 25.00 % (+0.00): measured 25.00 %: success"


def test_missed_expectation_is_a_failure(pair: tuple[str | Path, ...]) -> None:
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
    assert "norm:lowercase" in report["signature"]
    assert report["expected"]["success"] is True
    assert report["worst"][0]["reference"] == "three four"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "found none of them"),
        (("--reference", "a.txt"), "found --reference"),
        (("a.jsonl", "--model", "m", "--hypothesis", "b.txt"), "MANIFEST and --model and"),
        (("--reference", "a.txt", "--hypothesis", "none.txt"), "a.txt: there is no such"),
    ],
)
def test_mistakes_are_one_line_on_stderr(arguments: tuple[str, ...], problem: str) -> None:
    result = evaluate(*arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model that was never trained: what it writes is scored all the same."""
    config = Config(
        text=TextConfig(normalizer="lowercase"),
        speech_encoder=SpeechEncoderConfig(layers=2, size=16, time_reduction=4),
        decoder=DecoderConfig(size=16, attention_size=16, embedding_size=8),
    )
    tokenizer = CharacterTokenizer("abc ")
    save_model(tmp_path / "model", config, tokenizer, Seq2Seq(config, len(tokenizer)).state_dict())
    return tmp_path / "model"


def test_model_is_evaluated_on_a_manifest_with_a_missing_recording(
    model: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(8000), 16000)
    manifest, output = tmp_path / "test.jsonl", tmp_path / "hyp.jsonl"
    # A stated duration keeps the manifest from opening the recording.
    manifest.write_text(
        '{"id": "a", "audio": "a.wav", "text": "One"}\n'
        '{"id": "b", "audio": "b.wav", "text": "Two"}\n'
        '{"id": "lost", "audio": "lost.wav", "text": "Three four", "duration": 0.5}\n'
        '{"id": "c", "audio": "c.wav", "text": "Five"}\n'
    )
    arguments = ("--model", model, "--device", "cpu", "--beam-size", "2", "--output", output)
    result = evaluate(manifest, *arguments, "--format", "json", "--worst", "9")
    assert result.returncode == 1
    missing, summary = result.stderr.splitlines()
    assert "lost.wav" in missing
    assert summary == (
        f"{manifest}: 1 of 4 recordings failed; all of their words count as deletions"
    )
    report = json.loads(result.stdout)
    assert "norm:lowercase" in report["signature"]
    assert report["words"]["reference"] == 5
    lost = next(utterance for utterance in report["worst"] if utterance["id"] == "lost")
    assert lost["hypothesis"] == ""
    assert lost["words"]["deletions"] == 2
    assert report["audio_seconds"] == 1.5
    assert report["real_time_factor"] > 0

    written = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["id"] for row in written] == ["a", "b", "lost", "c"]
    assert "lost.wav" in written[2]["error"]
    existing = ("--reference", manifest, "--hypothesis", output)
    again = evaluate(*existing, "--normalizer", "lowercase", "--format", "json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["words"] == report["words"]


def test_output_that_cannot_be_written_is_named(model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.1), 16000)
    (tmp_path / "test.jsonl").write_text('{"audio": "a.wav", "text": "One"}\n')
    result = evaluate(
        tmp_path / "test.jsonl", "--model", model, "--device", "cpu", "--output", tmp_path
    )
    assert result.returncode == 1
    assert f"{tmp_path}: cannot be written" in result.stderr
