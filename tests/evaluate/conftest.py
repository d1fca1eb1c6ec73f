"""Fixtures for tests of evaluation."""

import pytest

from asr_s2s.metrics.error_rate import ErrorRates, Utterance, score


@pytest.fixture
def rates() -> ErrorRates:
    """Error rates of three short utterances."""
    return score(
        [
            Utterance("a", "one two three four", "one too three four five"),
            Utterance("b", "five six", "five six"),
            Utterance("c", "seven eight nine", "nine"),
        ]
    )
