"""Subtitles: a transcript's words in cues that a viewer has time to read, as SubRip and WebVTT."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from asr_s2s.pipeline import Segment, Transcript
from asr_s2s.text.words import split_words

LINE_WIDTH = 42
"""Columns; wide characters, as those of Chinese, take two."""
LINES = 2
LONGEST_CUE = 6.0
SHORTEST_CUE = 0.8
"""Seconds, where the next cue leaves them."""


class Word(NamedTuple):
    """A word and when it was spoken."""

    text: str
    """With the blank before it, where the script has blanks."""
    start: float
    end: float


class Cue(NamedTuple):
    """Lines that are shown together."""

    start: float
    end: float
    lines: list[str]


def to_srt(transcript: Transcript) -> str:
    """A SubRip file."""
    blocks = [
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n" + "\n".join(cue.lines)
        for number, cue in enumerate(cues(transcript), start=1)
    ]
    return "".join(f"{block}\n\n" for block in blocks)


def to_vtt(transcript: Transcript) -> str:
    """A WebVTT file."""
    blocks = [
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n"
        + escape("\n".join(cue.lines), quote=False)
        for cue in cues(transcript)
    ]
    return "WEBVTT\n\n" + "".join(f"{block}\n\n" for block in blocks)


def cues(transcript: Transcript) -> list[Cue]:
    """Cues in order, none overlapping, each within a segment unless it would be too short."""
    found = [cue for segment in transcript.segments for cue in cut_words(timed_words(segment))]
    for index, cue in enumerate(found):
        earliest = found[index - 1].end if index else 0.0
        latest = found[index + 1].start if index + 1 < len(found) else transcript.duration
        end = max(cue.end, min(cue.start + SHORTEST_CUE, latest))
        start = min(cue.start, max(end - SHORTEST_CUE, earliest))
        found[index] = cue._replace(start=start, end=end)
    return found


def timed_words(segment: Segment) -> list[Word]:
    """A segment's words and their times; where these are not known, words are taken to last as long
    as they are, in characters."""
    texts = split_words(segment.text)
    if not segment.words:
        return _spread(texts, segment.start, segment.end)
    timed = zip(texts, segment.words, strict=True)
    return [Word(text, word.start, word.end) for text, word in timed]


def cut_words(words: Iterable[Word]) -> list[Cue]:
    """Timed words in cues of at most `LINES` lines and `LONGEST_CUE` seconds."""
    found: list[Cue] = []
    cue: Cue | None = None
    for word in (part for whole in words for part in _no_wider(whole)):
        lines = _with_word(cue.lines if cue else [], word.text)
        if cue is None or len(lines) > LINES or word.end - cue.start > LONGEST_CUE:
            if cue is not None:
                found.append(cue)
            lines = _with_word([], word.text)
            cue = Cue(word.start, min(word.end, word.start + LONGEST_CUE), lines)
        else:
            cue = Cue(cue.start, word.end, lines)
    return [*found, cue] if cue is not None else found


def _spread(texts: Sequence[str], start: float, end: float) -> list[Word]:
    sizes = [len(text.strip()) for text in texts]
    words, before, total = [], 0, sum(sizes)
    for text, size in zip(texts, sizes, strict=True):
        begin, before = before, before + size
        span = end - start
        words.append(Word(text, start + span * begin / total, start + span * before / total))
    return words


def _no_wider(word: Word) -> list[Word]:
    """The word, in parts if it is wider than a line."""
    if _width(word.text.strip()) <= LINE_WIDTH:
        return [word]
    parts = [""]
    for character in word.text:
        if _width(parts[-1].strip() + character) > LINE_WIDTH:
            parts.append("")
        parts[-1] += character
    return _spread(parts, word.start, word.end)


def _with_word(lines: list[str], text: str) -> list[str]:
    """The lines with another word, on a new line if the last has no room."""
    blank, bare = " " if re.match(r"\s", text) else "", text.strip()
    if lines and _width(lines[-1] + blank + bare) <= LINE_WIDTH:
        return [*lines[:-1], lines[-1] + blank + bare]
    return [*lines, bare]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _clock(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and milliseconds, as 01:02:03,456."""
    rest, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}{point}{milliseconds:03}"
