"""`asr-s2s evaluate` of several test sets, languages, fields and metrics, run as a process."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asr_s2s.translator import Translator
from tests.support.limits import TIMEOUT
from tests.support.text_models import write_text_model


def evaluate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asr_s2s", "evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    text = {"further_metrics": ("chrf", "perplexity"), "bleu_tokenizer": "char"}
    write_text_model(folder / "model", "de", "fr", text={**text, "languages": ("de", "fr")})
    (folder / "a.tsv").write_text("x y\tab c\tnews\nz\tb\tmail\nzz x\tcab\tnews\n")
    (folder / "b.tsv").write_text("y\tac\tmail\nx z\tbb\tnews\n")
    (folder / "recipe.yaml").write_text(
        "data:\n  test:\n"
        "  - {manifest: a.tsv, language: de, columns: [source, target, kind]}\n"
        "  - {manifest: b.tsv, language: fr, columns: [source, target, kind]}\n"
    )
    return folder


def fields(parts: list[dict[str, Any]], field: str) -> dict[str, Any]:
    return {part["name"]: part[field] for part in parts}


def test_scores_by_test_set_language_and_field(folder: Path) -> None:
    arguments = "--config", folder / "recipe.yaml", "--model", folder / "model", "--device", "cpu"
    done = evaluate(*arguments, "--by", "kind", "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report["parts"]) == ["language", "corpus", "kind"]
    assert fields(report["parts"]["language"]["parts"], "utterances") == {"de": 3, "fr": 2}
    assert fields(report["parts"]["corpus"]["parts"], "utterances") == {"a.tsv": 3, "b.tsv": 2}
    assert fields(report["parts"]["kind"]["parts"], "utterances") == {"news": 3, "mail": 2}
    for one in report["parts"].values():
        for field in ("bleu", "chrf", "perplexity"):
            values = fields(one["parts"], field).values()
            assert one["mean"][field] == pytest.approx(sum(values) / 2)

    translator = Translator.load(folder / "model", "cpu")
    german = [line.split("\t") for line in (folder / "a.tsv").read_text().splitlines()]
    scores = translator.score(
        [row[0] for row in german], [row[1] for row in german], languages="de"
    )
    expected = math.exp(-sum(s.total for s in scores) / sum(len(s.tokens) for s in scores))
    by_language = fields(report["parts"]["language"]["parts"], "perplexity")
    assert by_language["de"] == pytest.approx(expected, rel=1e-4)

    text = evaluate(*arguments)
    assert text.returncode == 0, text.stderr
    for words in ("By language", "By corpus", "mean", "perplexity"):
        assert words in text.stdout
    one = evaluate(folder / "a.tsv", *arguments[2:], "--language", "de", "--format", "json")
    assert json.loads(one.stdout)["bleu"]["value"] == pytest.approx(
        fields(report["parts"]["corpus"]["parts"], "bleu")["a.tsv"]
    )


def test_metrics_of_the_command_line_replace_those_of_the_model(folder: Path) -> None:
    arguments = (folder / "a.tsv", "--model", folder / "model", "--language", "de")
    done = evaluate(
        *arguments, "--metric", "rouge1", "--metric", "distinct2", "--metric", "accuracy",
        "--expect", "0", "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    for field in ("rouge1", "rouge2", "rougeL", "distinct2", "exact_match_accuracy"):
        assert 0 <= report[field] <= 100
    assert "bleu" not in report and "perplexity" not in report
    assert report["outputs"] == 3 and report["expected"]["success"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.tsv", "--config", "recipe.yaml", "--model", "model"], "--config: MANIFEST is given"),
        (["a.tsv", "--model", "model", "--language", "de", "--by", "size"], "--by size"),
        (["--hypothesis", "h.txt", "--reference", "h.txt", "--metric", "perplexity"], "--metric"),
        (["--config", "none.yaml", "--model", "model"], "data.test"),
    ],
)
def test_mistakes_give_one_clear_error(folder: Path, arguments: list[str], words: str) -> None:
    (folder / "h.txt").write_text("a b\nc\n")
    (folder / "none.yaml").write_text("data: {train: [a.tsv]}\n")
    named = [folder / one if (folder / one).exists() else one for one in arguments]
    done = evaluate(*named)
    assert done.returncode == 1
    assert words in done.stderr and done.stderr.count("\n") == 1


def test_outputs_in_files_are_compared_by_rouge(folder: Path) -> None:
    (folder / "ref.txt").write_text("a b\nc d\n")
    (folder / "one.txt").write_text("a b\nc c\n")
    (folder / "two.txt").write_text("b\nc d\n")
    command = [sys.executable, "-m", "asr_s2s", "compare", folder / "one.txt", folder / "two.txt",
               "--reference", folder / "ref.txt", "--format", "json", "--metric"]  # fmt: skip
    done = subprocess.run([*command, "rougel"], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["scores"]) >= {"ROUGE-L", "distinct-1"}
    refused = subprocess.run(
        [*command, "perplexity"], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert refused.returncode == 1 and "--metric" in refused.stderr
