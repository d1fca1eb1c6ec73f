"""Word times from CTC, from attention, and with boundaries moved to pauses."""

import math
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import asr_s2s
from asr_s2s.audio.decode import read_audio
from asr_s2s.pipeline import Transcriber
from asr_s2s.search.align import (
    STEP,
    Alignment,
    Span,
    align_words,
    attention_spans,
    ctc_spans,
    settle_bounds,
)
from asr_s2s.text.tokenizer import WordTokenizer

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


@pytest.fixture(scope="module")
def recognizer() -> Transcriber:
    return asr_s2s.load("digits", device="cpu")


def log_probs(labels: list[int], vocabulary: int = 6) -> torch.Tensor:
    """Log-probabilities of frames that have nearly all probability on their label."""
    scores = torch.full((len(labels), vocabulary), 0.01)
    scores[torch.arange(len(labels)), labels] = 1.0
    return scores.log().log_softmax(-1)


def test_ctc_finds_the_frames_of_each_token() -> None:
    frames = log_probs([0, 4, 4, 0, 0, 4, 5, 0])
    assert ctc_spans(frames, [4, 4, 5]) == [Span(1, 3), Span(5, 6), Span(6, 7)]


def test_ctc_aligns_empty_outputs_and_none_that_are_too_long() -> None:
    assert ctc_spans(log_probs([0, 0]), []) == []
    assert ctc_spans(log_probs([4, 4]), [4, 4]) is None  # equal tokens need a blank in between
    assert ctc_spans(log_probs([4, 0, 4]), [4, 4]) == [Span(0, 1), Span(2, 3)]


def test_attention_spans_are_monotone() -> None:
    weights = torch.tensor(
        [
            [0.9, 0.8, 0.1, 0.0, 0.0],
            [0.1, 0.1, 0.8, 0.1, 0.7],  # attends to the end again
            [0.0, 0.1, 0.1, 0.9, 0.9],
        ]
    )
    assert attention_spans(weights) == [Span(0, 2), Span(2, 3), Span(3, 5)]
    assert attention_spans(torch.zeros(0, 4)) == []
    assert attention_spans(torch.full((4, 2), 0.5)) == [
        Span(0, 1),
        Span(0, 1),
        Span(1, 2),
        Span(1, 2),
    ]


def test_word_boundaries_move_to_the_edges_of_pauses_or_to_the_quietest_point() -> None:
    rng = np.random.default_rng(0)
    loud = 0.3 * rng.standard_normal(8000)
    dip = np.concatenate([loud, 0.1 * rng.standard_normal(480), loud])  # 0.5 s, 30 ms, 0.5 s
    pause = 1e-4 * rng.standard_normal(4800)
    samples = np.concatenate([pause, dip, pause, loud, pause]).astype(np.float32)
    marks = [(0.42, 0.6), (0.95, 1.2), (1.75, 2.0)]
    settled = settle_bounds(marks, samples)
    expected = [(0.3, 0.815), (0.815, 1.33), (1.63, 2.13)]
    assert np.abs(np.subtract(settled, expected)).max() < 0.03


def test_words_that_one_token_spells_share_its_time(recognizer: Transcriber) -> None:
    tokenizer = WordTokenizer(["\u4f60\u597d", "\u5417", "\u518d\u89c1\u554a"])
    tokens = tokenizer.encode("\u4f60\u597d \u5417 \u518d\u89c1\u554a")
    spans = [Span(2, 8), Span(10, 12), Span(15, 30)]
    alignment = Alignment(spans, 1, [-0.1, -0.2, -0.3], [-0.1, -0.2, -0.3])
    samples = np.random.default_rng(0).standard_normal(64_000).astype(np.float32)
    words = align_words(recognizer.model, tokenizer, tokens, alignment, samples)
    assert "".join(word.text for word in words) == "\u4f60\u597d\u5417\u518d\u89c1\u554a"
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert words[0].evidence == words[1].evidence != words[2].evidence
    starts = [recognizer.model.frame_time(frame) for frame in (2, 5, 10, 15, 20, 25)]
    # Boundaries move to the quietest point between the end of a word and the start of the next.
    found = [word.start for word in words]
    assert found[1] == pytest.approx(starts[1], abs=STEP)
    assert found[4:] == pytest.approx(starts[4:], abs=STEP)


def test_times_of_concatenated_digits_are_accurate(
    recognizer: Transcriber, shared_data: Path
) -> None:
    rng = random.Random(7)
    errors: list[float] = []
    for _ in range(24):
        speaker = rng.choice(SPEAKERS)
        parts, bounds, position = [], [], 0
        digits = [rng.randrange(10) for _ in range(5)]
        for digit in digits:
            name = f"{digit}_{speaker}_{rng.randrange(5)}.wav"
            word = read_audio(shared_data / "fsdd" / "recordings" / name)
            pause = np.zeros(rng.choice((0, 1600, 4800)), np.float32)
            start = position + len(pause)
            position = start + len(word)
            bounds.append((start / 16000, position / 16000))
            parts += [pause, word]
        result = recognizer.transcribe(np.concatenate(parts), beam_size=1, words=True)
        (segment,) = result.segments
        if result.text != " ".join(DIGITS[digit] for digit in digits):
            continue
        assert [word.text for word in segment.words] == result.text.split()
        found = [(word.start, word.end) for word in segment.words]
        errors += np.abs(np.subtract(found, bounds)).flatten().tolist()
    assert len(errors) > 150
    assert np.median(errors) <= 0.06


def test_words_are_ordered_within_their_segment_and_confident(
    recognizer: Transcriber, sample: Path
) -> None:
    result = recognizer.transcribe(sample, words=True)
    (segment,) = result.segments
    assert " ".join(word.text for word in segment.words) == result.text
    times = [time for word in segment.words for time in (word.start, word.end)]
    assert all(a <= b for a, b in pairwise([segment.start, *times, segment.end]))
    assert all(0.5 < word.confidence <= 1.0 for word in segment.words)


def test_batching_does_not_change_times(recognizer: Transcriber, sample: Path) -> None:
    whole = read_audio(sample)
    sources = [whole, whole[: len(whole) // 2], np.tile(whole, 2)]
    together = recognizer.transcribe(sources, words=True)
    for source, batched in zip(sources, together, strict=True):
        alone = recognizer.transcribe(source, words=True).segments[0].words
        for a, b in zip(alone, batched.segments[0].words, strict=True):
            assert (a.text, a.start, a.end) == (b.text, b.start, b.end)
            assert math.isclose(a.confidence, b.confidence, abs_tol=1e-4)


def test_silence_has_no_words(recognizer: Transcriber) -> None:
    assert recognizer.transcribe(np.zeros(16000, np.float32), words=True).segments == ()
