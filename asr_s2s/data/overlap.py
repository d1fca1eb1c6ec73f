"""Text that training must not have seen: words in a row shared with held-out transcripts."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from asr_s2s.data.check import Finding
from asr_s2s.data.manifest import cut_text, read_manifest
from asr_s2s.data.parallel import is_one_side, is_parallel, read_lines, read_parallel
from asr_s2s.errors import ManifestError
from asr_s2s.text.normalize import english

SHARED_WORDS = 7
"""Words in a row that two texts share by copying rather than by chance."""
FEWEST_WORDS = 4
"""Texts with fewer are greetings and numbers, which anyone says."""


class Overlap(NamedTuple):
    """What a text shares with a held-out transcript."""

    words: str
    transcript: int
    """The first transcript that holds them, counted from 0."""


class HeldOut:
    """The transcripts of validation and test data.

    A text overlaps if it shares `SHARED_WORDS` words in a row with one of them, or, where it is
    shorter than that but of `FEWEST_WORDS` at least, is one of them. Case, punctuation and accents
    count for nothing; only words in Latin letters are compared.

    What is kept grows with the held-out transcripts alone, not with the texts compared with them.
    """

    def __init__(self, transcripts: Iterable[str]) -> None:
        self._transcripts: dict[tuple[str, ...], int] = {}
        for place, transcript in enumerate(transcripts):
            for run in _runs(transcript):
                self._transcripts.setdefault(run, place)

    def overlap(self, text: str) -> Overlap | None:
        """The first words that a text shares with a transcript, if it does."""
        for run in _runs(text):
            place = self._transcripts.get(run)
            if place is not None:
                return Overlap(" ".join(run), place)
        return None


def read_held_out(paths: Iterable[Path]) -> tuple[HeldOut, list[str]]:
    """The transcripts of manifests, of both sides of parallel text, and of files of lines.

    Returns:
        What texts may not overlap, and the place of each of its transcripts: the file, and the id
        or the line.

    Raises:
        ManifestError: a file, or a row of it, cannot be used, or holds no word in Latin letters.
    """
    transcripts: list[str] = []
    places: list[str] = []
    for path in paths:
        texts = list(_read(path))
        if not any(english(text) for _, text in texts):
            raise ManifestError(
                path,
                "it holds no word in Latin letters, and no others are compared",
                "Name transcripts that do",
            )
        places += [place for place, _ in texts]
        transcripts += [text for _, text in texts]
    return HeldOut(transcripts), places


def check_overlap(
    items: Iterable[tuple[str, Sequence[str]]], held_out: HeldOut, places: Sequence[str]
) -> Iterator[Finding]:
    """Find what overlaps held-out transcripts, each item once.

    Args:
        items: the place of each, and its text or texts.
        places: of the held-out transcripts, as from `read_held_out`.
    """
    for where, texts in items:
        shared = next(filter(None, map(held_out.overlap, texts)), None)
        if shared is not None:
            yield Finding(
                "held-out text",
                where,
                f"'{shared.words}' stands in {places[shared.transcript]}",
                "Leave it out of training, or the score is not that of new sentences",
            )


def _read(path: Path) -> Iterator[tuple[str, str]]:
    if is_parallel(path):
        for pair in read_parallel(path):
            yield f"{path}: {pair.id}", pair.source
            yield f"{path}: {pair.id}", pair.target
    elif is_one_side(path):
        for number, line in enumerate(read_lines(path), start=1):
            yield f"{path}:{number}", line
    else:
        for cut in read_manifest(path):
            yield f"{path}: {cut.id}", cut_text(cut)


def _runs(text: str) -> list[tuple[str, ...]]:
    """What two texts must share: words in a row, or all words of a shorter text."""
    words = tuple(english(text).split())
    if len(words) < SHARED_WORDS:
        return [words] if len(words) >= FEWEST_WORDS else []
    return [words[i : i + SHARED_WORDS] for i in range(len(words) - SHARED_WORDS + 1)]
