"""Length, duration and file formats of subtitle cues."""

import re
from itertools import pairwise

import pytest

from asr_s2s.pipeline import Segment, Transcript
from asr_s2s.subtitles import (
    LINE_WIDTH,
    LONGEST_CUE,
    SHORTEST_CUE,
    Word,
    cues,
    cut_words,
    to_srt,
    to_vtt,
)

TALK = (
    "Good morning, and thank you all for coming on such a rainy day. We have a great deal to talk "
    "about, so let us begin with the bridge & the river: is 3 < 5 > 2? Nobody knows -- yes."
)


def transcript(*segments: tuple[float, float, str]) -> Transcript:
    rows = tuple(Segment(start, end, text, -1.0) for start, end, text in segments)
    return Transcript("talk.wav", rows[-1].end + 1.0, " ".join(s.text for s in rows), -1.0, rows)


LONG = transcript(
    (0.5, 14.0, TALK), (14.2, 14.5, "Yes."), (15.0, 16.0, "No?"), (3700.0, 3720.0, TALK)
)


def parse(text: str, point: str) -> list[tuple[float, float, str]]:
    """Parse a subtitle file strictly; returns start, end and text of each cue."""
    clock = rf"(\d\d):([0-5]\d):([0-5]\d){re.escape(point)}(\d\d\d)"
    found = []
    for block in text.removeprefix("WEBVTT\n\n").split("\n\n")[:-1]:
        lines = block.split("\n")
        if point == ",":
            assert lines.pop(0) == str(len(found) + 1)
        times = re.fullmatch(f"{clock} --> {clock}", lines.pop(0))
        assert times is not None
        h, m, s, ms, *end = map(int, times.groups())
        start = 3600 * h + 60 * m + s + ms / 1000
        h, m, s, ms = end
        assert 1 <= len(lines) <= 2
        found.append((start, 3600 * h + 60 * m + s + ms / 1000, "\n".join(lines)))
    return found


def test_cues_are_short_and_do_not_overlap() -> None:
    found = cues(LONG)
    for cue in found:
        assert SHORTEST_CUE - 1e-6 <= cue.end - cue.start <= LONGEST_CUE
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < len(line) <= LINE_WIDTH for line in cue.lines)
    for one, other in pairwise(found):
        assert one.end <= other.start
    assert " ".join(line for cue in found for line in cue.lines) == LONG.text


def test_close_cues_are_shorter_than_the_minimum_and_do_not_overlap() -> None:
    found = cues(transcript((1.0, 1.2, "one"), (1.3, 1.5, "two"), (1.6, 1.7, "three")))
    assert [cue.lines for cue in found] == [["one"], ["two"], ["three"]]
    for one, other in pairwise(found):
        assert one.start < one.end <= other.start


def test_cues_stay_within_their_segments() -> None:
    starts = [cue.start for cue in cues(LONG)]
    assert starts[0] == 0.5 and 3700.0 in starts
    assert all(3700 <= s < 3720 for s in starts if s > 20)


def test_srt_and_vtt_have_the_same_cues() -> None:
    srt, vtt = to_srt(LONG), to_vtt(LONG)
    assert vtt.startswith("WEBVTT\n\n00:00:00.500 --> ")
    assert srt.startswith("1\n00:00:00,500 --> ")
    assert "01:01:40,000 --> " in srt
    plain = [
        (start, end, text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        for start, end, text in parse(vtt, ".")
    ]
    assert parse(srt, ",") == plain
    assert len(plain) == len(cues(LONG))
    assert "3 &lt; 5 &gt; 2" in " ".join(vtt.split()) and "bridge &amp; the" in " ".join(
        vtt.split()
    )


def test_cues_take_the_times_of_their_words() -> None:
    words = [Word("one", 1.0, 1.2), Word(" two", 1.3, 2.0), Word(" three", 8.0, 8.5)]
    assert [(c.start, c.end, c.lines) for c in cut_words(words)] == [
        (1.0, 2.0, ["one two"]),
        (8.0, 8.5, ["three"]),
    ]


@pytest.mark.parametrize("text", ["我今天去商店买东西。" * 20, "w" * 300, "ロー" * 50])
def test_text_without_spaces_is_split(text: str) -> None:
    found = cues(transcript((0.0, 30.0, text)))
    assert "".join(line for cue in found for line in cue.lines) == text
    wide = 1 if text.startswith("w") else 2
    assert all(wide * len(line) <= LINE_WIDTH + wide for cue in found for line in cue.lines)


def test_empty_segments_have_no_cues() -> None:
    assert to_srt(Transcript("a.wav", 3.0, "", 0.0)) == ""
    assert to_vtt(Transcript("a.wav", 3.0, "", 0.0)) == "WEBVTT\n\n"
    assert to_srt(transcript((0.0, 2.0, ""), (3.0, 4.0, "yes"))).count("-->") == 1
