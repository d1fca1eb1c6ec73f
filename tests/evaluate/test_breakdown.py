"""Error rates by speaker and by length."""

import pytest

from asr_s2s.evaluate.breakdown import LENGTHS, by_length, by_speaker
from asr_s2s.metrics.error_rate import Counts, ErrorRates, Utterance, score, total

LENGTHS_AND_SPEAKERS = [
    (0, "ann"), (1, "ann"), (5, "bob"), (6, None), (10, "bob"), (11, "cleo"), (20, None),
    (21, "cleo"), (60, "ann"),
]  # fmt: skip


@pytest.fixture
def rates() -> ErrorRates:
    """One inserted word per utterance; Bob's utterances lack all other words."""
    return score(
        [
            Utterance(
                f"u{i}",
                " ".join(["yes"] * words),
                "oh" if speaker == "bob" else " ".join(["oh"] + ["yes"] * words),
                speaker=speaker,
            )
            for i, (words, speaker) in enumerate(LENGTHS_AND_SPEAKERS)
        ]
    )


def test_parts_sum_to_the_whole_set(rates: ErrorRates) -> None:
    for parts in (by_speaker(rates), by_length(rates)):
        assert total(part.words for part in parts) == rates.words
        assert sum(part.utterances for part in parts) == len(rates.utterances)


def test_every_length_is_in_one_bin(rates: ErrorRates) -> None:
    parts = by_length(rates)
    assert [part.name for part in parts] == ["0", "1-5", "6-10", "11-20", "21+"]
    assert [(part.shortest, part.longest) for part in parts] == list(LENGTHS)
    assert [part.utterances for part in parts] == [1, 2, 2, 2, 2]
    assert parts[1].words.reference == 1 + 5
    assert parts[0].words == Counts(insertions=1)


def test_empty_bins_are_omitted() -> None:
    assert [part.name for part in by_length(score([Utterance("a", "one two", "one")]))] == ["1-5"]


def test_speakers_are_ordered_worst_first_and_unknown_last(rates: ErrorRates) -> None:
    parts = by_speaker(rates)
    # Bob has 15 errors in 15 words, Cleo 2 in 32, Ann 3 in 61.
    assert [part.speaker for part in parts] == ["bob", "cleo", "ann", None]
    assert [(part.words.errors, part.words.reference) for part in parts] == [
        (15, 15), (2, 32), (3, 61), (2, 26),
    ]  # fmt: skip


def test_breakdown_without_speakers_is_empty() -> None:
    assert by_speaker(score([Utterance("a", "one", "two")])) == []
