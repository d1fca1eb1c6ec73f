"""The command `asr-s2s compare`, run as a process on outputs of real models."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile

from tests.support.commands import run_text_command
from tests.support.two_systems import (
    SENTENCES,
    write_parallel,
    write_pruned,
    write_spoken,
    write_transcripts,
    write_translations,
)


def compare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_text_command("compare", *arguments)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Transcripts of two recognizers, and the manifest of the recordings."""
    folder = tmp_path_factory.mktemp("spoken")
    sample = Path(__file__).parent.parent.parent / "docs" / "samples" / "digits.wav"
    manifest = write_spoken(folder, sample)
    a, b = (
        write_transcripts(
            folder / f"{name}.jsonl", write_pruned(folder / name, "digits", share), manifest
        )
        for name, share in (("a", 0.5), ("b", 0.7))
    )
    return a, b, manifest


@pytest.fixture(scope="module")
def translated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Translations of two models, and the parallel text."""
    folder = tmp_path_factory.mktemp("translated")
    a = write_translations(folder / "a.txt", "en-de")
    b = write_translations(folder / "b.txt", write_pruned(folder / "model", "en-de", 0.3))
    return a, b, write_parallel(folder)


def texts(path: Path) -> list[str]:
    """Texts of JSON Lines with single spaces between words, as extra spaces are not scored."""
    lines = path.read_text().splitlines()
    return [" ".join(json.loads(line)["text"].split()) for line in lines]


def test_error_rates_equal_an_independent_calculation(
    spoken: tuple[Path, Path, Path],
) -> None:
    done = compare(*spoken[:2], "--reference", spoken[2], "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    a, b, right = map(texts, spoken)
    for name, measure in (("WER", jiwer.wer), ("CER", jiwer.cer)):
        assert report["scores"][name]["a"] == pytest.approx(100 * measure(right, a))
        assert report["scores"][name]["b"] == pytest.approx(100 * measure(right, b))

    def errors(hypotheses: list[str]) -> np.ndarray:
        found = [jiwer.process_words(r, h) for r, h in zip(right, hypotheses, strict=True)]
        return np.array([f.substitutions + f.deletions + f.insertions for f in found])

    random = np.random.default_rng(99)
    lengths = np.array([len(text.split()) for text in right])
    drawn = random.integers(len(right), size=(20_000, len(right)))
    rates = [100 * errors(one)[drawn].sum(1) / lengths[drawn].sum(1) for one in (a, b)]
    differences = rates[1] - rates[0]
    found = report["scores"]["WER"]
    expected = {"interval_a": rates[0], "interval_b": rates[1], "interval": differences}
    for name, values in expected.items():
        bounds = np.quantile(values, [0.025, 0.975])
        assert [found[name]["low"], found[name]["high"]] == pytest.approx(bounds, abs=1.0)
    chance = np.abs(differences - differences.mean())
    assert found["p_value"] == pytest.approx(np.mean(chance >= abs(found["difference"])), abs=0.01)
    assert "|jiwer:" in found["signature"] and "|bs:10000|seed:12345|" in found["signature"]


def test_bleu_and_its_p_value_equal_those_of_sacrebleu(
    translated: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    a, b, reference = translated
    done = compare(a, b, "--reference", reference, "--by", "about", "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    right = tmp_path / "right.txt"
    right.write_text("".join(f"{target}\n" for _, target in SENTENCES), "utf-8")
    options = ("-m", "bleu", "chrf", "--paired-bs", "-f", "text", "-w", "6", "--no-color")
    command = [sys.executable, "-m", "sacrebleu", str(right), "-i", str(a), str(b), *options]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    scores = [
        [float(number) for number in row]
        for row in re.findall(r"([\d.]+) \(([\d.]+) ± ([\d.]+)\)", table)
    ]
    p_values = [float(number) for number in re.findall(r"\(p = ([\d.]+)\)", table)]
    for column, name in enumerate(("BLEU", "chrF")):
        found = report["scores"][name]
        for side, (value, mean, margin) in (("a", scores[column]), ("b", scores[2 + column])):
            assert found[side] == pytest.approx(value, abs=1e-3)
            bounds = found[f"interval_{side}"]
            assert bounds["low"] == pytest.approx(mean - margin, abs=1e-3)
            assert bounds["high"] == pytest.approx(mean + margin, abs=1e-3)
        assert found["p_value"] == pytest.approx(p_values[column], abs=1e-4)
        assert found["signature"] in table
    parts = report["parts"]["about"]
    assert sorted((part["name"], part["utterances"]) for part in parts) == [
        ("animals", 4),
        ("people", 18),
    ]


class Page(HTMLParser):
    """Links, tags and visible text of an HTML page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[Any]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_page_is_self_contained(spoken: tuple[Path, Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    options = ("--changed", "3", "--by", "noise", "--html", path)
    done = compare(*spoken[:2], "--reference", spoken[2], *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"written to {path}\n"
    page = Page(path.read_text("utf-8"))
    assert len(page.addresses) == page.tags.count("audio") == page.tags.count("article") == 3
    assert "link" not in page.tags and "url(" not in path.read_text("utf-8")
    changed = re.findall(r"^(u\d+): word errors", done.stdout, re.MULTILINE)
    assert len(changed) == 3
    recording, rate = soundfile.read(spoken[2].parent / f"{changed[0]}.wav".replace("u", ""))
    kind, _, content = page.addresses[0].partition(",")
    assert kind == "data:audio/flac;base64"
    clip, clip_rate = soundfile.read(io.BytesIO(base64.b64decode(content)))
    assert clip_rate == 16_000
    assert len(clip) / clip_rate == pytest.approx(len(recording) / rate, abs=0.001)
    for word in ("By length", "By noise", "Substitutions", "Signatures", "jiwer:", *changed):
        assert word in page.text
    lines = done.stdout.splitlines()
    assert "WER by noise" in lines and "WER by length" in lines
    assert "Most frequent errors of B" in lines


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("a.txt", "lost.txt", "--reference", "a.txt"), "lost.txt: there is no such"),
        (
            ("a.txt", "short.txt", "--reference", "a.txt"),
            "a.txt holds 2 references and short.txt 1",
        ),
        (
            ("a.txt", "a.txt", "--reference", "test.jsonl", "--by", "accent"),
            "--by accent: the references have no such field, only language, domain",
        ),
        (
            ("a.txt", "a.txt", "--reference", "a.txt", "--bleu-tokenizer", "zh"),
            "--bleu-tokenizer: this option is for bleu",
        ),
        (
            ("a.txt", "a.txt", "--reference", "a.txt", "--html", "folder"),
            "folder: cannot be written",
        ),
    ],
)
def test_user_errors_are_one_line_on_stderr(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("a.txt").write_text("one two\nthree\n")
    Path("short.txt").write_text("one two\n")
    row = {"source": "x", "target": "one", "domain": "news"}
    Path("test.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
    done = compare(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1
