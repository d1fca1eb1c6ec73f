"""Long recordings are cut at silences, without loss of speech."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asr_s2s.audio.decode import read_audio, stream_audio
from asr_s2s.audio.segment import (
    LONGEST,
    PADDING,
    EnergyDetector,
    SpeechDetector,
    SpeechSpan,
    find_detector,
    split_at_silences,
)
from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform, is_silent
from asr_s2s.errors import ConfigError
from tests.support.joined import write_joined


@pytest.fixture(params=["energy", "silero"])
def detector(request: pytest.FixtureRequest) -> SpeechDetector:
    return find_detector(request.param)


@pytest.fixture(scope="module")
def digits(sample: Path) -> Waveform:
    return read_audio(sample)


def seconds(span: SpeechSpan) -> tuple[float, float]:
    return span.start, span.start + len(span.samples) / SAMPLE_RATE


def in_blocks(samples: Waveform, size: int) -> Iterator[Waveform]:
    for begin in range(0, len(samples), size):
        yield samples[begin : begin + size]


def noise(count: int, level: float) -> Waveform:
    return (level * np.random.default_rng(0).standard_normal(count)).astype(np.float32)


def test_segments_match_the_times_of_speech(
    detector: SpeechDetector, sample: Path, tmp_path: Path
) -> None:
    path = tmp_path / "long.flac"
    spoken = write_joined(path, sample, times=9)
    found = [seconds(s) for s in split_at_silences(stream_audio(path), detector)]
    assert len(found) == len(spoken)
    for (start, end), (begins, ends) in zip(found, spoken, strict=True):
        assert begins - 2 * PADDING < start <= begins + 0.1
        assert ends - 0.25 <= end < ends + 2 * PADDING


@pytest.mark.parametrize("level", [0.001, 0.01, 0.03])
def test_speech_is_detected_in_noise_and_noise_alone_is_not(
    detector: SpeechDetector, digits: Waveform, level: float
) -> None:
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    clean = np.concatenate([silence, *[digits, silence] * 6])
    samples = clean + noise(len(clean), level)
    assert len(list(split_at_silences([samples], detector))) == 6
    assert not list(split_at_silences([samples - clean], detector))


@pytest.mark.parametrize("level", [-40, -50, -60])
@pytest.mark.parametrize("snr", [None, 30, 15])
@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_quiet_speech_is_detected_and_quiet_hiss_is_not(
    detector: SpeechDetector, digits: Waveform, level: float, snr: float | None, offset: float
) -> None:
    """Speech is as loud as in a recording made far from the microphone, in 16 bits."""
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    clean = np.concatenate([silence, *[digits, silence] * 3])
    rms = 10 ** (level / 20)
    clean = clean * np.float32(rms / np.sqrt(np.square(digits).mean()))
    background = noise(len(clean), 0.0 if snr is None else rms * 10 ** (-snr / 20))
    samples = np.round((clean + background + offset) * 32_768) / np.float32(32_768)
    assert not is_silent(samples)
    assert len(list(split_at_silences([samples.astype(np.float32)], detector))) == 3
    assert not list(split_at_silences([background], detector))


@pytest.mark.parametrize("level", [-66, -75, -85])
def test_hiss_next_to_digital_silence_is_not_speech(detector: SpeechDetector, level: float) -> None:
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    hiss = noise(3 * SAMPLE_RATE, 10 ** (level / 20))
    assert not list(split_at_silences([np.concatenate([silence, hiss, silence] * 4)], detector))


def test_segments_do_not_depend_on_the_block_size(
    detector: SpeechDetector, sample: Path, tmp_path: Path
) -> None:
    path = tmp_path / "long.flac"
    write_joined(path, sample, times=5)
    samples = read_audio(path)
    whole = list(split_at_silences([samples], detector))
    for size in (999, 70_000):
        again = list(split_at_silences(in_blocks(samples, size), detector))
        assert [s.start for s in again] == [s.start for s in whole]
        for one, other in zip(again, whole, strict=True):
            np.testing.assert_array_equal(one.samples, other.samples)


@pytest.mark.parametrize(("longest", "silence"), [(LONGEST, 0.5), (6.0, 0.5), (6.0, 0.1)])
def test_segments_contain_the_samples_at_their_times(
    detector: SpeechDetector, digits: Waveform, longest: float, silence: float
) -> None:
    samples = np.tile(digits, 20)  # few pauses, so segments end at their maximum length
    end = 0.0
    blocks = in_blocks(samples, 50_000)
    for span in split_at_silences(blocks, detector, longest=longest, silence=silence):
        start, stop = seconds(span)
        assert start >= end - 1e-6 and stop - start <= longest + 1e-6
        begin = round(start * SAMPLE_RATE)
        np.testing.assert_array_equal(samples[begin : begin + len(span.samples)], span.samples)
        end = stop
    assert end > len(samples) / SAMPLE_RATE - 1


def test_speech_without_a_pause_is_cut_at_the_quietest_positions(digits: Waveform) -> None:
    word = digits[9_000:17_000]  # never silent, so only the level determines the cut
    samples = np.tile(word, 240) + noise(240 * len(word), 0.001)
    quiet = round(17.0 * SAMPLE_RATE)
    samples[quiet : quiet + 3_200] *= 0.05
    first, second, *others = split_at_silences([samples], EnergyDetector())
    assert seconds(first)[1] == pytest.approx(17.1, abs=0.05)
    assert second.start == pytest.approx(seconds(first)[1], abs=0.001)
    spans = [first, second, *others]
    assert sum(len(s.samples) for s in spans) == pytest.approx(len(samples), abs=SAMPLE_RATE)
    assert all(LONGEST / 2 - 1 < len(s.samples) / SAMPLE_RATE <= LONGEST for s in spans[:-1])


def test_clicks_and_silence_give_no_segments(detector: SpeechDetector) -> None:
    samples = np.zeros(60 * SAMPLE_RATE, np.float32)
    assert not list(split_at_silences([samples], detector))
    samples[:: 7 * SAMPLE_RATE] = 0.9
    assert not list(split_at_silences([samples], detector))
    assert not list(split_at_silences([], detector))


def test_an_unknown_detector_is_rejected() -> None:
    with pytest.raises(ConfigError, match="no detector 'webrtc'"):
        find_detector("webrtc")  # type: ignore[arg-type]


def test_the_error_for_missing_silero_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad", None)  # cannot be imported
    with pytest.raises(ConfigError, match=r"asr-s2s\[vad\]"):
        find_detector("silero")
