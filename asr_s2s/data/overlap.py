"""Overlap of training text with held-out transcripts: shared runs of words."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from asr_s2s.data.check import Finding
from asr_s2s.data.manifest import cut_text, read_manifest
from asr_s2s.data.parallel import is_one_side, is_parallel, read_parallel
from asr_s2s.errors import ManifestError
from asr_s2s.text.normalize import english
from asr_s2s.text_files import read_lines

SHARED_WORDS = 7
"""Length of a run of words that two texts hardly share by chance."""
MIN_WORDS = 4
"""Minimum words of a text that is compared; shorter ones, such as greetings and numbers, are shared
by chance."""


class Overlap(NamedTuple):
    """Words that a text shares with a held-out transcript."""

    words: str
    transcript: int
    """Index of the first transcript that contains the words."""


class HeldOut:
    """Index of the transcripts of validation and test data.

    A text overlaps if it shares `SHARED_WORDS` consecutive words with a transcript or, for texts of
    `MIN_WORDS` to `SHARED_WORDS` - 1 words, equals one. Case, punctuation and accents are ignored;
    only words in Latin letters are compared.

    Memory grows with the held-out transcripts, not with the texts compared with them.
    """

    def __init__(self, transcripts: Iterable[str]) -> None:
        self._transcripts: dict[tuple[str, ...], int] = {}
        for place, transcript in enumerate(transcripts):
            for run in _word_runs(transcript):
                self._transcripts.setdefault(run, place)

    def overlap(self, text: str) -> Overlap | None:
        """Return the first words that a text shares with a transcript, or None."""
        for run in _word_runs(text):
            place = self._transcripts.get(run)
            if place is not None:
                return Overlap(" ".join(run), place)
        return None


def read_held_out(paths: Iterable[Path]) -> tuple[HeldOut, list[str]]:
    """Read transcripts from manifests, both sides of parallel text, and plain text files.

    Returns:
        The index of transcripts, and the location of each one: file and id, or file:line.

    Raises:
        ManifestError: a file or row cannot be used, or a file contains no word in Latin letters.
    """
    transcripts: list[str] = []
    places: list[str] = []
    for path in paths:
        texts = list(_read_texts(path))
        if not any(english(text) for _, text in texts):
            raise ManifestError(
                path,
                "it contains no word in Latin letters, and only those are compared",
                "Give transcripts in Latin letters",
            )
        places += [place for place, _ in texts]
        transcripts += [text for _, text in texts]
    return HeldOut(transcripts), places


def check_overlap(
    items: Iterable[tuple[str, Sequence[str]]], held_out: HeldOut, places: Sequence[str]
) -> Iterator[Finding]:
    """Report items that overlap held-out transcripts, each at most once.

    Args:
        items: location and texts of each item.
        places: locations of the held-out transcripts, from `read_held_out`.
    """
    for where, texts in items:
        shared = next(filter(None, map(held_out.overlap, texts)), None)
        if shared is not None:
            yield Finding(
                "held-out text",
                where,
                f"'{shared.words}' also appears in {places[shared.transcript]}",
                "Leave it out of training; otherwise the score is too optimistic",
            )


def _read_texts(path: Path) -> Iterator[tuple[str, str]]:
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


def _word_runs(text: str) -> list[tuple[str, ...]]:
    """Return all runs of `SHARED_WORDS` words, or all words of a shorter text."""
    words = tuple(english(text).split())
    if len(words) < SHARED_WORDS:
        return [words] if len(words) >= MIN_WORDS else []
    return [words[i : i + SHARED_WORDS] for i in range(len(words) - SHARED_WORDS + 1)]
