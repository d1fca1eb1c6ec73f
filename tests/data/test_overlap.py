"""Overlap of training text with held-out transcripts."""

import gzip
import json
from pathlib import Path

import pytest

from asr_s2s.data.overlap import HeldOut, check_overlap, read_held_out
from asr_s2s.errors import ManifestError

HELD_OUT = HeldOut(
    [
        "The quiet river bends twice before it reaches the old mill.",
        "open the window please",
        "good morning",
    ]
)


def test_seven_consecutive_words_overlap_regardless_of_case() -> None:
    shared = HELD_OUT.overlap("They say: the RIVER bends twice, before it reaches the town")
    assert shared == ("river bends twice before it reaches the", 0)


def test_six_consecutive_words_do_not_overlap() -> None:
    assert HELD_OUT.overlap("They say the river bends twice before it goes on") is None


def test_a_whole_transcript_of_four_words_overlaps() -> None:
    assert HELD_OUT.overlap("Open the window, please!") == ("open the window please", 1)
    assert HELD_OUT.overlap("Open the window please and leave") is None


def test_a_short_transcript_does_not_overlap() -> None:
    assert HELD_OUT.overlap("Good morning!") is None


def test_held_out_transcripts_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    manifest, lines = tmp_path / "dev.jsonl", tmp_path / "dev.txt.gz"
    texts = ["nobody heard the small bell ring", "the ferry leaves at noon"]
    rows = [{"audio": f"{i}.wav", "duration": 1.0, "text": text} for i, text in enumerate(texts)]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines.write_bytes(gzip.compress(b"all is well\n\nfive green bottles are left\n"))
    (tmp_path / "test.en").write_text("My umbrella is quite wet.\n")
    (tmp_path / "test.de").write_text("Mein Regenschirm ist ganz nass.\n")
    parallel = tmp_path / "test.{en,de}"
    held_out, places = read_held_out([manifest, lines, parallel])
    texts = [
        "The ferry leaves at noon.",
        "Five green bottles are left!",
        "mein regenschirm ist ganz nass",
        "The ferry leaves at ten.",
    ]
    found = list(
        check_overlap([(str(i), [text]) for i, text in enumerate(texts)], held_out, places)
    )
    assert [(finding.where, finding.problem) for finding in found] == [
        ("0", f"'the ferry leaves at noon' also appears in {manifest}: 1"),
        ("1", f"'five green bottles are left' also appears in {lines}:3"),
        ("2", f"'mein regenschirm ist ganz nass' also appears in {parallel}: test:1"),
    ]


def test_held_out_text_without_latin_letters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dev.txt"
    path.write_text("\u4eca\u5929\u4e0b\u96e8\u4e86\n")
    with pytest.raises(ManifestError, match="no word in Latin letters"):
        read_held_out([path])
