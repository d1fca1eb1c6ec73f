"""Text that training must not have seen: word n-grams shared with held-out transcripts."""

from collections.abc import Iterable

from asr_s2s.text.normalize import english

SHARED_WORDS = 7
"""Words in a row that two texts share by copying rather than by chance."""


class HeldOut:
    """The transcripts of validation and test data.

    A text overlaps if it shares `SHARED_WORDS` words in a row with one of them, or, where it is
    shorter than that but of four words at least, is one of them. Case and punctuation count for
    nothing.
    """

    def __init__(self, transcripts: Iterable[str]) -> None:
        self.grams: set[tuple[str, ...]] = set()
        self.short: set[tuple[str, ...]] = set()
        for transcript in transcripts:
            words = tuple(english(transcript).split())
            self.grams.update(_grams(words))
            if 4 <= len(words) < SHARED_WORDS:
                self.short.add(words)

    def overlap(self, text: str) -> str | None:
        """The words that a text shares with a transcript, if it does."""
        words = tuple(english(text).split())
        shared = words if words in self.short else None
        shared = next((gram for gram in _grams(words) if gram in self.grams), shared)
        return None if shared is None else " ".join(shared)


def _grams(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [words[i : i + SHARED_WORDS] for i in range(len(words) - SHARED_WORDS + 1)]
