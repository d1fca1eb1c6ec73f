"""Live transcription: words are committed once, the window is bounded, the text is as offline."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import asr_s2s
from asr_s2s.audio.decode import read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform
from asr_s2s.errors import AudioError, UserError
from asr_s2s.live import LiveStream, LiveTranscriber, LiveUpdate
from asr_s2s.pipeline import Segment, Transcriber, Word
from asr_s2s.search.confidence import Evidence


@pytest.fixture(scope="module")
def digits() -> Transcriber:
    return asr_s2s.load("digits", "cpu")


def blocks(samples: Waveform, seconds: float) -> Iterator[Waveform]:
    size = int(seconds * SAMPLE_RATE)
    for begin in range(0, len(samples), size):
        yield samples[begin : begin + size]


def run(live: LiveTranscriber, samples: Waveform, seconds: float) -> list[LiveUpdate]:
    return [*(live.add(block) for block in blocks(samples, seconds)), live.finish()]


def text(updates: list[LiveUpdate]) -> str:
    return " ".join(word.text for update in updates for word in update.committed)


@pytest.mark.parametrize("seconds", [0.1, 0.73, 30.0])
def test_text_is_that_of_the_whole_recording(
    digits: Transcriber, sample: Path, seconds: float
) -> None:
    updates = run(LiveTranscriber(digits), read_audio(sample), seconds)
    assert text(updates) == sample.with_suffix(".txt").read_text().strip()
    assert updates[-1].ended
    assert not updates[-1].tentative


def test_words_are_committed_in_order_and_before_the_end(digits: Transcriber, sample: Path) -> None:
    updates = run(LiveTranscriber(digits), read_audio(sample), 0.2)
    words = [word for update in updates for word in update.committed]
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert any(update.committed for update in updates[:-1])
    assert any(update.tentative for update in updates)


def test_samples_of_another_rate_and_type_are_converted(digits: Transcriber, sample: Path) -> None:
    samples = (np.repeat(read_audio(sample), 3) * 32767).astype(np.int16)
    live = LiveTranscriber(digits, sample_rate=3 * SAMPLE_RATE)
    updates = [*(live.add(samples[i : i + 9600]) for i in range(0, len(samples), 9600))]
    assert text([*updates, live.finish()]) == sample.with_suffix(".txt").read_text().strip()


def test_silence_finishes_an_utterance(digits: Transcriber, sample: Path) -> None:
    samples = read_audio(sample)
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    joined = np.concatenate([silence, samples, silence, samples, silence])
    joined += np.random.default_rng(0).normal(0.0, 1e-3, len(joined)).astype(np.float32)
    live = LiveTranscriber(digits)
    updates = [live.add(block) for block in blocks(joined, 0.5)]
    reference = sample.with_suffix(".txt").read_text().strip()
    assert text(updates) == f"{reference} {reference}"
    assert sum(update.ended for update in updates) >= 2
    assert not live.finish().committed


def test_a_stream_of_silence_has_no_words_and_is_not_decoded(digits: Transcriber) -> None:
    stream = LiveStream()
    for _ in range(20):
        stream.add(np.zeros(SAMPLE_RATE, np.float32))
        assert stream.next_piece() is None
    stream.close()
    assert stream.next_piece() is None


def word(number: int, start: float) -> Word:
    return Word(str(number), start, start + 0.4, 1.0, Evidence(0.0, 0.0, 0.0, 0.0))


def syllables(seconds: int) -> Waveform:
    """Noise with short dips, which a detector of silence takes for speech."""
    noise = np.random.default_rng(0).normal(0.0, 0.1, seconds * SAMPLE_RATE)
    loud = np.arange(len(noise)) % (SAMPLE_RATE // 2) < 0.4 * SAMPLE_RATE
    return (noise * np.where(loud, 1.0, 1e-3)).astype(np.float32)


def spoken(start: float, end: float) -> Segment:
    """Segment of a speaker who counts, a word each half second, without pauses."""
    numbers = range(int(np.ceil(2 * start - 1e-6)), int(2 * end))
    words = tuple(word(number, number / 2) for number in numbers if number / 2 + 0.4 <= end)
    return Segment(start, end, " ".join(w.text for w in words), 0.0, words=words)


@pytest.mark.parametrize("agrees", [True, False])
def test_the_window_is_bounded_without_silence(agrees: bool) -> None:
    stream = LiveStream(window=6.0)
    committed: list[str] = []
    decodings = 0
    for block in blocks(syllables(60), 0.5):
        stream.add(block)
        while (piece := stream.next_piece()) is not None:
            decodings += 1
            assert len(piece.samples) <= 6 * SAMPLE_RATE
            segment = spoken(piece.start, piece.start + len(piece.samples) / SAMPLE_RATE)
            if not agrees and decodings % 2 == 0:
                segment = Segment(segment.start, segment.end, "", 0.0)
            committed += [w.text for w in stream.accept(segment).committed]
    if agrees:
        first = int(committed[0])
        assert committed == [str(first + n) for n in range(len(committed))]
        assert int(committed[-1]) > 100
    assert 30 < decodings < 90


def test_a_committed_word_does_not_change() -> None:
    stream = LiveStream()
    found = []
    for block, names in zip(
        blocks(syllables(4), 1.0), ("a b", "a b c", "a x c d", ""), strict=True
    ):
        stream.add(block)
        piece = stream.next_piece()
        assert piece is not None
        words = tuple(
            Word(name, 0.5 + 0.5 * i, 0.9 + 0.5 * i, 1.0, Evidence(0.0, 0.0, 0.0, 0.0))
            for i, name in enumerate(names.split())
        )
        update = stream.accept(Segment(0.0, 4.0, names, 0.0, words=words))
        found.append((update.text, update.tentative_text))
    assert found == [("", "a b"), ("a b", "c"), ("c", "d"), ("", "")]


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 5), np.float32), np.zeros(5, np.int64), np.full(5, np.nan)]
)
def test_samples_that_cannot_be_used_are_refused(samples: Waveform) -> None:
    with pytest.raises(AudioError):
        LiveStream().add(samples)


def test_lengths_out_of_bounds_are_refused() -> None:
    for lengths in ({"window": 60.0}, {"interval": 0.0}, {"silence": 20.0}):
        with pytest.raises(UserError):
            LiveStream(**lengths)
