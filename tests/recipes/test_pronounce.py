"""Tests of the script that makes the lexicon, with the installed dictionary."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asr_s2s.text.phonemes import read_lexicon

ENGLISH = Path(__file__).parents[2] / "recipes" / "english"

needs_festival = pytest.mark.skipif(not shutil.which("festival"), reason="no Festival installed")


def pronounce(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "text.txt").write_text("the cat sat\nthe cat's o'clock\nthe 9th read record\n")
    command = [sys.executable, str(ENGLISH / "pronounce.py"), str(folder / "text.txt"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_festival
def test_lexicon_has_the_words_of_texts_and_manifests(tmp_path: Path) -> None:
    row = {"id": "a", "audio": "a.wav", "duration": 1.0, "speaker": "s", "corpus": "c"}
    manifest = tmp_path / "train.jsonl"
    manifest.write_text(json.dumps(row | {"text": "schoolhouse"}) + "\n")
    output = tmp_path / "lexicon.txt"
    result = pronounce(tmp_path, "--manifest", str(manifest), "--output", str(output))
    assert result.returncode == 0, result.stderr
    lexicon = read_lexicon(output)
    assert next(iter(lexicon)) == "the"  # the most frequent word
    assert lexicon["cat's"][0] == "k ae t s"
    assert lexicon["o'clock"][0] == "ax k l aa k"
    assert lexicon["schoolhouse"][0] == "s k uw l hh aw s"
    assert len(lexicon["read"]) == 2
    assert all(word.replace("'", "").isalpha() for word in lexicon)


def test_missing_dictionary_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = pronounce(tmp_path, "--output", str(tmp_path / "lexicon.txt"))
    assert result.returncode == 1
    assert result.stderr.startswith("pronounce: festival: it cannot look words up")
    assert "Traceback" not in result.stderr
