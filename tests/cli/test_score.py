"""The command `asr-s2s score`, run as a process, and `Translator.score` and `Transcriber.score`."""

import json
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from asr_s2s.pipeline import Failure, Transcriber
from asr_s2s.search.forced import Likelihood
from asr_s2s.translator import Translator
from tests.support.limits import TIMEOUT
from tests.support.text_models import write_text_model

PAIRS = [("x y", "a b"), ("", ""), ("zzz x y y", "c"), ("x\u2028y\x0b", "abcabc cab"), ("z", "")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_model(tmp_path_factory.mktemp("score") / "model", "de", "fr")


def score(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asr_s2s", "score", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)


def test_scores_do_not_depend_on_the_batch(model: Path) -> None:
    translator = Translator.load(model, "cpu")
    rng = random.Random(0)
    pairs = [
        ("".join(rng.choices("xyz ", k=rng.randint(0, 30))),
         "".join(rng.choices("abc ", k=rng.randint(0, 30))))
        for _ in range(40)
    ]  # fmt: skip
    sources, targets = zip(*pairs, strict=True)
    together = translator.score(sources, targets, languages="de")
    for (source, target), one, small in zip(
        pairs,
        together,
        translator.score(sources, targets, languages="de", batch_tokens=40),
        strict=True,
    ):
        (alone,) = translator.score([source], [target], languages="de")
        assert alone.tokens == one.tokens == small.tokens
        assert one.log_probs == pytest.approx(alone.log_probs, abs=1e-5)
        assert small.log_probs == pytest.approx(alone.log_probs, abs=1e-5)
        assert alone.total == pytest.approx(math.fsum(alone.log_probs))
        assert alone.per_token == alone.total / len(alone.tokens)


def test_scores_are_those_of_the_search(model: Path) -> None:
    translator = Translator.load(model, "cpu")
    source = "x y z x"
    found = translator.translate(source, language="fr", beam_size=3, length_penalty=0.0)
    (one,) = translator.score([source], [found.text], languages="fr")
    assert one.total == pytest.approx(found.score, abs=1e-4)
    (other,) = translator.score([source], [found.text], languages="de")
    assert other.total != pytest.approx(one.total, abs=1e-4)


def test_line_i_is_about_line_i(model: Path, tmp_path: Path) -> None:
    (tmp_path / "test.src").write_text("".join(f"{source}\n" for source, _ in PAIRS))
    (tmp_path / "test.tgt").write_text("".join(f"{target}\n" for _, target in PAIRS))
    sides = tmp_path / "test.src", tmp_path / "test.tgt"
    done = score(*sides, "--model", model, "--language", "de")
    assert done.returncode == 0, done.stderr
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert header == ["id", "log_prob", "tokens", "per_token"]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    expected = Translator.load(model, "cpu").score(*zip(*PAIRS, strict=True), languages="de")
    for row, one in zip(rows, expected, strict=True):
        assert float(row[1]) == pytest.approx(one.total, abs=1e-3)
        assert int(row[2]) == len(one.tokens)
        assert float(row[3]) == pytest.approx(one.per_token, abs=1e-3)


def test_rows_of_a_table_are_scored_in_their_own_language(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "test.tsv"
    table.write_text("id\tlanguage\tsource\ttarget\na\tde\tx\tab\nb\tfr\tx\tab\n")
    done = score(table, "--model", model, "--format", "json", "-o", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["a", "b"]
    assert rows[0]["log_prob"] != rows[1]["log_prob"]
    for row in rows:
        assert [token["text"] for token in row["tokens"]] == ["a", "b", "</s>"]
        total = sum(token["log_prob"] for token in row["tokens"])
        assert row["log_prob"] == pytest.approx(total, abs=1e-3)


def test_recordings_are_scored_with_their_transcripts(sample: Path, tmp_path: Path) -> None:
    shutil.copy(sample, tmp_path / "a.wav")
    right = sample.with_suffix(".txt").read_text().strip()
    duration = soundfile.info(sample).duration
    rows = [
        {"id": "right", "audio": "a.wav", "text": right, "duration": duration},
        {"id": "missing", "audio": "no.wav", "text": right, "duration": duration},
        {"id": "wrong", "audio": "a.wav", "text": "nine nine", "duration": duration},
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = score(tmp_path / "test.jsonl", "--model", "digits", "--format", "json")
    assert done.returncode == 1
    assert "no.wav" in done.stderr and "Traceback" not in done.stderr
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert "error" in second and "log_prob" not in second
    assert first["per_token"] > third["per_token"]
    transcriber = Transcriber.load("digits", "cpu")
    found = transcriber.score([tmp_path / "a.wav", tmp_path / "no.wav"], [right, right])
    assert isinstance(found[0], Likelihood) and isinstance(found[1], Failure)
    assert found[0].total == pytest.approx(first["log_prob"], abs=1e-2)


def test_mistakes_give_one_clear_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "one.src").write_text("x\ny\n")
    (tmp_path / "one.tgt").write_text("a\n")
    for arguments, words in (
        (("one.src", "one.tgt"), "one.tgt: it has 1 lines"),
        (("one.src",), "TARGET"),
        (("missing.src", "one.tgt"), "missing.src"),
        (("one.tgt", "one.tgt"), "no language is given"),
        (("one.tgt", "one.tgt", "--language", "xx"), "xx is not a language"),
    ):
        paths = [tmp_path / a if "." in a else a for a in arguments]
        done = score(*paths, "--model", model)
        assert done.returncode == 1, arguments
        assert words in done.stderr and done.stderr.count("\n") == 1
        assert done.stdout == ""
