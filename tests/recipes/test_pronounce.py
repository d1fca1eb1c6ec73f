"""Tests of the script that makes the lexicon of the English recipe."""

import json
import subprocess
from pathlib import Path

from asr_s2s.text.phonemes import read_lexicon
from tests.support.commands import run_script

SCRIPT = Path(__file__).parents[2] / "recipes" / "english" / "pronounce.py"
DICTIONARY = """\
THE\tDH AH
THE\tDH IY
CAT\tK AE T
HORSE\tHH AO R S
SAT\tS AE T
SCHOOLHOUSE\tS K UW L HH AW S
"""


def pronounce(folder: Path, dictionary: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the script on two lines of text; all words are in the dictionary or possessives."""
    (folder / "text.txt").write_text("the cat sat\nthe cat's the horse's\n")
    (folder / "dictionary.tsv").write_text(dictionary)
    files = ("--text", folder / "text.txt", "--output", folder / "lexicon.txt")
    return run_script(SCRIPT, folder / "dictionary.tsv", "--g2p", "none", *files, *options)


def test_lexicon_has_the_words_of_dictionaries_texts_and_manifests(tmp_path: Path) -> None:
    row = {"id": "a", "audio": "a.wav", "duration": 1.0, "speaker": "s", "corpus": "c"}
    manifest = tmp_path / "train.jsonl"
    manifest.write_text(json.dumps(row | {"text": "schoolhouse's"}) + "\n")
    result = pronounce(tmp_path, DICTIONARY, "--manifest", str(manifest))
    assert result.returncode == 0, result.stderr
    lexicon = read_lexicon(tmp_path / "lexicon.txt")
    assert next(iter(lexicon)) == "the"  # the most frequent word
    assert lexicon["the"] == ["dh ah", "dh iy"]
    assert lexicon["cat's"] == ["k ae t s"]
    assert lexicon["horse's"] == ["hh ao r s ah z"]
    assert lexicon["schoolhouse's"] == ["s k uw l hh aw s ah z"]
    assert lexicon["schoolhouse"] == ["s k uw l hh aw s"]


def test_invalid_line_of_a_dictionary_is_named(tmp_path: Path) -> None:
    result = pronounce(tmp_path, DICTIONARY + "no phonemes\n")
    assert result.returncode == 1
    assert "dictionary.tsv:7: " in result.stderr
    assert "Traceback" not in result.stderr
