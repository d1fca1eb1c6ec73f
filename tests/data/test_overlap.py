"""Text that shares words in a row with held-out transcripts is named."""

from asr_s2s.data.overlap import HeldOut

HELD_OUT = HeldOut(
    [
        "The quiet river bends twice before it reaches the old mill.",
        "open the window please",
        "good morning",
    ]
)


def test_seven_words_in_a_row_are_an_overlap_whatever_their_case() -> None:
    shared = HELD_OUT.overlap("They say: the RIVER bends twice, before it reaches the town")
    assert shared == "river bends twice before it reaches the"


def test_six_words_in_a_row_are_not() -> None:
    assert HELD_OUT.overlap("They say the river bends twice before it goes on") is None


def test_a_whole_transcript_of_four_words_is() -> None:
    assert HELD_OUT.overlap("Open the window, please!") == "open the window please"
    assert HELD_OUT.overlap("Open the window please and leave") is None


def test_a_greeting_is_no_copy() -> None:
    assert HELD_OUT.overlap("Good morning!") is None
