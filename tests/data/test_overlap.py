"""Text that shares words in a row with held-out transcripts is named."""

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


def test_seven_words_in_a_row_are_an_overlap_whatever_their_case() -> None:
    shared = HELD_OUT.overlap("They say: the RIVER bends twice, before it reaches the town")
    assert shared == ("river bends twice before it reaches the", 0)


def test_six_words_in_a_row_are_not() -> None:
    assert HELD_OUT.overlap("They say the river bends twice before it goes on") is None


def test_a_whole_transcript_of_four_words_is() -> None:
    assert HELD_OUT.overlap("Open the window, please!") == ("open the window please", 1)
    assert HELD_OUT.overlap("Open the window please and leave") is None


def test_a_greeting_is_no_copy() -> None:
    assert HELD_OUT.overlap("Good morning!") is None


def test_held_out_transcripts_come_from_every_kind_of_file(tmp_path: Path) -> None:
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
        ("0", f"'the ferry leaves at noon' stands in {manifest}: 1"),
        ("1", f"'five green bottles are left' stands in {lines}:3"),
        ("2", f"'mein regenschirm ist ganz nass' stands in {parallel}: test:1"),
    ]


def test_held_out_text_that_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dev.txt"
    path.write_text("\u4eca\u5929\u4e0b\u96e8\u4e86\n")
    with pytest.raises(ManifestError, match="no word in Latin letters"):
        read_held_out([path])
