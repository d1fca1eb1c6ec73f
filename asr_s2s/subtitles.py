"""Subtitles in SubRip and WebVTT format, with cues limited in length and duration."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from asr_s2s.text.words import split_words

if TYPE_CHECKING:
    from asr_s2s.pipeline import Segment, Transcript

LINE_WIDTH = 42
"""Maximum columns of a line; wide characters, such as Chinese ones, take two."""
LINES = 2
"""Maximum lines of a cue."""
LONGEST_CUE = 6.0
"""Maximum duration of a cue, in seconds."""
SHORTEST_CUE = 0.8
"""Minimum duration of a cue, in seconds, unless its neighbors leave less time."""


class Word(NamedTuple):
    """A word with its start and end times, in seconds."""

    text: str
    """Word with its preceding space, in scripts that use spaces."""
    start: float
    end: float


class Cue(NamedTuple):
    """Lines shown together, with start and end times in seconds."""

    start: float
    end: float
    lines: list[str]


def to_srt(transcript: "Transcript") -> str:
    """Convert a transcript to a SubRip file."""
    blocks = [
        f"{number}\n{_timestamp(cue.start, ',')} --> {_timestamp(cue.end, ',')}\n"
        + "\n".join(cue.lines)
        for number, cue in enumerate(cues(transcript), start=1)
    ]
    return "".join(f"{block}\n\n" for block in blocks)


def to_vtt(transcript: "Transcript") -> str:
    """Convert a transcript to a WebVTT file."""
    blocks = [
        f"{_timestamp(cue.start, '.')} --> {_timestamp(cue.end, '.')}\n"
        + escape("\n".join(cue.lines), quote=False)
        for cue in cues(transcript)
    ]
    return "WEBVTT\n\n" + "".join(f"{block}\n\n" for block in blocks)


def cues(transcript: "Transcript") -> list[Cue]:
    """Non-overlapping cues in order, each within a segment unless extended to `SHORTEST_CUE`."""
    found = [cue for segment in transcript.segments for cue in cut_words(timed_words(segment))]
    for index, cue in enumerate(found):
        earliest = found[index - 1].end if index else 0.0
        latest = found[index + 1].start if index + 1 < len(found) else transcript.duration
        end = max(cue.end, min(cue.start + SHORTEST_CUE, latest))
        start = min(cue.start, max(end - SHORTEST_CUE, earliest))
        found[index] = cue._replace(start=start, end=end)
    return found


def timed_words(segment: "Segment") -> list[Word]:
    """Words of a segment with their times, which are estimated from word lengths if unknown."""
    texts = split_words(segment.text)
    if not segment.words:
        return _spread(texts, segment.start, segment.end)
    timed = zip(texts, segment.words, strict=True)
    return [Word(text, word.start, word.end) for text, word in timed]


def cut_words(words: Iterable[Word]) -> list[Cue]:
    """Group timed words into cues of at most `LINES` lines and `LONGEST_CUE` seconds."""
    found: list[Cue] = []
    cue: Cue | None = None
    for word in (part for whole in words for part in _split_wide(whole)):
        lines = _add_word(cue.lines if cue else [], word.text)
        if cue is None or len(lines) > LINES or word.end - cue.start > LONGEST_CUE:
            if cue is not None:
                found.append(cue)
            lines = _add_word([], word.text)
            cue = Cue(word.start, min(word.end, word.start + LONGEST_CUE), lines)
        else:
            cue = Cue(cue.start, word.end, lines)
    return [*found, cue] if cue is not None else found


def _spread(texts: Sequence[str], start: float, end: float) -> list[Word]:
    """Divide a time span among words in proportion to their numbers of characters."""
    sizes = [len(text.strip()) for text in texts]
    words, before, total = [], 0, sum(sizes)
    for text, size in zip(texts, sizes, strict=True):
        begin, before = before, before + size
        span = end - start
        words.append(Word(text, start + span * begin / total, start + span * before / total))
    return words


def _split_wide(word: Word) -> list[Word]:
    """Split a word that is wider than a line into parts."""
    if _width(word.text.strip()) <= LINE_WIDTH:
        return [word]
    parts = [""]
    for character in word.text:
        if _width(parts[-1].strip() + character) > LINE_WIDTH:
            parts.append("")
        parts[-1] += character
    return _spread(parts, word.start, word.end)


def _add_word(lines: list[str], text: str) -> list[str]:
    """Append a word to lines, on a new line if it does not fit on the last."""
    space, bare = " " if re.match(r"\s", text) else "", text.strip()
    if lines and _width(lines[-1] + space + bare) <= LINE_WIDTH:
        return [*lines[:-1], lines[-1] + space + bare]
    return [*lines, bare]


def _width(text: str) -> int:
    """Width of a text, in columns."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _timestamp(seconds: float, point: str) -> str:
    """Format a time as hours, minutes, seconds and milliseconds, such as 01:02:03,456."""
    rest, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}{point}{milliseconds:03}"
