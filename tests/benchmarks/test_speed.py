"""Tests that the benchmarks run, at small sizes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *arguments: str) -> str:
    """Run a benchmark and return its standard output."""
    command = [sys.executable, str(FOLDER / script), *arguments]
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent)}
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout


def test_measuring_ours_keeps_other_content_of_the_results_file(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    results.write_text("# Written by hand\n")
    printed = run(
        "against_peers.py",
        *("--tiny", "--systems", "ours", "ours-int8", "--work", "asr_train", "text_decode"),
        *("--rounds", "2", "--threads", "1", "--results", str(results)),
    )
    written = results.read_text()
    assert written.startswith("# Written by hand\n\n<!-- against_peers -->\n# Speed compared")
    assert written.endswith("<!-- end of against_peers -->\n")
    assert printed.strip() in written
    times = re.findall(
        r"^\| (training step|decoding.*?) \| ([\d.e-]+) \|( [\d.e-]+ \([\d.]+\) \|)?$",
        written,
        re.M,
    )
    assert [name for name, _, _ in times] == ["training step", "decoding, batch 2, beam 5"]
    assert all(float(seconds) > 0 for _, seconds, _ in times)
    assert [bool(ratio) for _, _, ratio in times] == [False, True]  # no training in 8 bits
    memory = re.findall(r"^\| .*? \| (\d+) \((\d+)\) \|", written, re.M)
    assert len(memory) == 2
    assert all(int(peak) >= int(loaded) > 0 for peak, loaded in memory)


def test_loading_is_measured_for_each_augmentation(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    arguments = ("--recordings", "6", "--workers", "0", "--rounds", "1", "--results", str(results))
    printed = run("loading.py", *arguments)
    assert re.findall(r"^\| (.*?) \| \d+ \|$", printed, re.M) == [
        "nothing",
        "speed, gain",
        "speed, gain, noise",
    ]


def test_shares_of_the_time_add_up(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    arguments = ("--tiny", "--work", "asr_train", "text_decode", "--results", str(results))
    printed = run("where_time_goes.py", *arguments)
    rows = re.findall(r"^\| (?:speech|text), .*$", printed, re.M)
    assert len(rows) == 2
    for line in rows:
        parts = [int(part) for part in re.findall(r"(\d+)%", line)]
        assert sum(parts) == pytest.approx(100, abs=4)
        assert float(line.split(" | ")[1]) > 0


@pytest.fixture
def words(shared_data: Path, tmp_path: Path) -> Path:
    """Manifest of recordings of single digits."""
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    folder = shared_data / "fsdd" / "recordings"
    rows = [
        {"audio": str(folder / f"{digit}_george_{take}.wav"), "text": name, "speaker": "george"}
        for digit, name in enumerate(names)
        for take in range(2)
    ]
    manifest = tmp_path / "words.jsonl"
    manifest.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return manifest


def test_word_times_are_close_to_the_true_times(words: Path) -> None:
    printed = run("word_times.py", str(words), "--model", "digits", "--strings", "6")
    assert int(printed.split()[0]) >= 20, printed  # of 30 words
    times = [float(seconds) for seconds in re.findall(r"(\d\.\d+) s", printed)]
    assert len(times) == 2 and max(times) < 0.06


def test_each_part_of_the_recognizer_has_a_row(words: Path) -> None:
    printed = run("gains.py", str(words), "--model", "digits", "--trained", "trained=digits")
    rows = re.findall(r"^\| ([a-zA-Z+ ]+?) \| (\d+\.\d+)", printed, re.M)
    names = [name for name, _ in rows]
    assert names == ["trained", "attention", "+ CTC in the beam", "+ guards"], printed
    rates = [float(rate) for _, rate in rows]
    assert rates[0] == rates[1]  # the same model
    assert rates[-1] < 20.0


def test_live_transcription_commits_the_text_of_the_recording(sample: Path) -> None:
    printed = run("live.py", str(sample), "--model", "digits")
    assert re.search(r"^WER .*: 0\.00 %$", printed, re.M)
    assert re.search(r"^delay: median [\d.]+ s", printed, re.M)
