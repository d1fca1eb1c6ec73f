"""Speech translation by the commands and in Python, with a model trained on tones."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asr_s2s.pipeline import Transcriber
from asr_s2s.search.guard import Reason
from tests.support.commands import run_text_command
from tests.support.runs import ENVIRONMENT
from tests.support.spoken import translate


@pytest.fixture(scope="module")
def transcriber(model: Path) -> Transcriber:
    return Transcriber.load(model, device="cpu")


@pytest.fixture(scope="module")
def rows(corpus: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (corpus / "valid.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def recordings(corpus: Path, rows: list[dict[str, str]]) -> list[Path]:
    return [corpus / row["audio"] for row in rows[::2]]


@pytest.fixture(scope="module")
def readable(transcriber: Transcriber, recordings: list[Path], rows: list[dict[str, str]]) -> Path:
    """A recording that the model translates correctly."""
    results = transcriber.transcribe(recordings, language="yy")
    wanted = [row["text"] for row in rows[1::2]]
    pairs = zip(recordings, results, wanted, strict=True)
    return next(path for path, result, text in pairs if result.text == text and len(text) == 4)


def records(*arguments: str | Path) -> list[dict[str, object]]:
    done = run_text_command(*arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_no_right_translation_is_called_unspoken(
    transcriber: Transcriber, recordings: list[Path], rows: list[dict[str, str]]
) -> None:
    results = transcriber.transcribe(recordings, language="yy")
    wanted = [row["text"] for row in rows[1::2]]
    right = [result for result, text in zip(results, wanted, strict=True) if result.text == text]
    assert len(right) > 0.6 * len(wanted)
    assert all(result.segments[0].reason is None for result in right)
    # A translation has no likelihood by CTC, which would call all of these unspoken.
    assert all(result.segments[0].remedy is None for result in right)


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_nothing_is_translated_without_speech(transcriber: Transcriber, noise: float) -> None:
    samples = noise * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    result = transcriber.transcribe(samples, language="yy")
    assert result.text == ""
    assert result.warning is not None
    assert all(segment.reason is Reason.unspoken for segment in result.segments)


def test_the_language_spoken_is_the_default(
    transcriber: Transcriber, readable: Path, model: Path
) -> None:
    spoken = transcriber.transcribe(readable)
    assert (spoken.language, spoken.task) == ("xx", "transcribe")
    assert spoken == transcriber.transcribe(readable, language="xx")
    (record,) = records("transcribe", readable, "--model", model)
    assert (record["language"], record["task"]) == ("xx", "transcribe")
    assert record["text"] == spoken.text


def test_transcribe_with_another_language_and_translate_do_the_same(
    readable: Path, model: Path
) -> None:
    (first,) = records("transcribe", readable, "--model", model, "--language", "yy")
    (second,) = records("translate", readable, "--model", model)
    (third,) = records("translate", readable, "--model", model, "--language", "yy")
    assert first == second == third
    assert (first["language"], first["task"]) == ("yy", "translate")
    with readable.open("rb") as file:
        piped = subprocess.run(
            [sys.executable, "-m", "asr_s2s", "translate", "-", "--model", str(model)],
            env=ENVIRONMENT, stdin=file, capture_output=True, text=True,
        )  # fmt: skip
    assert piped.stdout.strip() == first["text"]


def test_words_of_a_translation_have_times_by_attention_and_uncalibrated_confidence(
    transcriber: Transcriber, readable: Path
) -> None:
    result = transcriber.transcribe(readable, language="yy", words=True)
    (word,) = result.segments[0].words
    assert word.text == result.text
    assert 0.0 <= word.start < word.end <= result.duration
    assert word.evidence.ctc == word.evidence.mean
    assert word.confidence == pytest.approx(np.exp(word.evidence.mean))
    (word,) = transcriber.transcribe(readable, words=True).segments[0].words
    assert word.evidence.ctc != word.evidence.mean


def test_subtitles_can_be_in_another_language(readable: Path, model: Path) -> None:
    done = run_text_command(
        "transcribe", readable, "--model", model, "--language", "yy", "--format", "srt"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "-->" in done.stdout


def test_several_recordings_give_a_line_each_and_a_bad_one_does_not_stop_them(
    readable: Path, model: Path, tmp_path: Path
) -> None:
    for name in ("a", "c"):
        (tmp_path / f"{name}.wav").write_bytes(readable.read_bytes())
    (tmp_path / "b.wav").write_bytes(b"RIFF no audio")
    output = tmp_path / "out.txt"
    done = run_text_command("translate", tmp_path, "--model", model, "-o", output)
    assert done.returncode == 1
    assert done.stderr.count("b.wav") == 1 and "Traceback" not in done.stderr
    first, second = output.read_text().splitlines()
    assert first == second != ""
    (tmp_path / "empty").mkdir()
    done = run_text_command("translate", tmp_path / "empty", "--model", model)
    assert done.returncode == 1 and "no recordings" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--model", "en-de"), "asr-s2s transcribe"),
        (("--model", "digits"), "asr-s2s transcribe"),
        (("--language", "xx"), "--language"),
        (("--language", "zz"), "--language"),
        (("--replace-unknown",), "--replace-unknown"),
    ],
    ids=str,
)
def test_what_cannot_be_translated_is_refused(
    arguments: tuple[str, ...], named: str, readable: Path, model: Path
) -> None:
    own = () if "--model" in arguments else ("--model", model)
    done = run_text_command("translate", readable, *own, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert named in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_recording_is_not_translated_as_text(readable: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "talk"
    renamed.write_bytes(readable.read_bytes())
    done = run_text_command("translate", renamed)
    assert done.returncode == 1 and "asr-s2s transcribe" in done.stderr
    with readable.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "asr_s2s", "translate"],
            env=ENVIRONMENT, stdin=file, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert "asr-s2s transcribe" in done.stderr and "Traceback" not in done.stderr


def test_text_and_score_are_the_same_alone_and_in_any_batch(
    transcriber: Transcriber, recordings: list[Path]
) -> None:
    for language in ("xx", "yy"):
        alone = [transcriber.transcribe(path, language=language) for path in recordings]
        for seed, seconds in ((0, 1000.0), (1, 1.5)):
            order = np.random.default_rng(seed).permutation(len(recordings))
            together = transcriber.transcribe(
                [recordings[i] for i in order], language=language, batch_seconds=seconds
            )
            for index, result in zip(order, together, strict=True):
                assert result.text == alone[index].text
                assert result.score == pytest.approx(alone[index].score, abs=1e-4)


def test_evaluation_scores_each_language_by_its_own_metric(
    corpus: Path, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "hyp.jsonl"
    arguments = ("evaluate", corpus / "valid.jsonl", "--model", model)
    done = run_text_command(*arguments, "--format", "json", "--output", output)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    languages = report["languages"]
    assert languages.keys() == {"xx", "yy"}
    assert languages["xx"]["character_error_rate"] < 0.2
    assert languages["yy"]["chrf"]["value"] > 60
    assert "word_error_rate" not in languages["yy"] and "chrf" not in languages["xx"]
    assert report["audio_seconds"] > 0
    written = [json.loads(line) for line in output.read_text().splitlines()]
    order = [row["id"] for row in map(json.loads, (corpus / "valid.jsonl").open())]
    assert [row["id"] for row in written] == order
    assert [row["language"] for row in written] == ["xx", "yy"] * (len(order) // 2)

    done = run_text_command(*arguments, "--language", "yy", "--expect", "60", "--format", "json")
    assert done.returncode == 0, done.stderr
    alone = json.loads(done.stdout)
    assert alone["chrf"] == languages["yy"]["chrf"] and alone["expected"]["success"]
    done = run_text_command(*arguments, "--expect", "60")
    assert done.returncode == 1 and "--expect" in done.stderr
    done = run_text_command(*arguments, "--language", "zz")
    assert done.returncode == 1 and "none in zz" in done.stderr
    done = run_text_command(*arguments, "--metric", "cer", "--worst", "0")
    assert done.returncode == 0, done.stderr
    assert "CER" in done.stdout and "BLEU" in done.stdout


def test_tuning_and_calibration_use_what_they_can(corpus: Path, model: Path) -> None:
    done = run_text_command(
        "tune", corpus / "valid.jsonl", "--model", model, "--dry-run", "--beam-size", 1
    )
    assert done.returncode == 0, done.stderr
    assert "ctc_weight" in done.stdout.splitlines()[0]
    done = run_text_command("calibrate", corpus / "train.jsonl", "--model", model, "--dry-run")
    # Transcripts of 150 words have too few errors, or enough; translations are not counted.
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        assert done.stdout.startswith("150 words")


def test_a_recording_may_have_texts_in_several_languages(corpus: Path, tmp_path: Path) -> None:
    done = run_text_command("check", "--config", corpus / "config.yaml")
    assert done.returncode == 0, done.stdout
    rows = [json.loads(line) for line in (corpus / "valid.jsonl").read_text().splitlines()]
    copied = [{**rows[1], "id": "again"}, {**rows[3], "id": "other", "language": "zz"}]
    (corpus / "twice.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [*rows, *copied]))
    done = run_text_command(
        "check", corpus / "train.jsonl", corpus / "twice.jsonl", "--config",
        corpus / "config.yaml", "--format", "json",
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["kind"], one["where"].rpartition(" ")[2]) for one in found] == [
        ("duplicate", "again"), ("wrong language", "other"),
    ]  # fmt: skip
    assert translate("ab") == "xw"
