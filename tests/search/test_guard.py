"""Reasons that the guard finds, and remedies, with a shipped model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import asr_s2s
from asr_s2s.audio.decode import read_audio
from asr_s2s.audio.segment import middle_cut
from asr_s2s.audio.waveform import Waveform
from asr_s2s.model.ctc import CTCFrames
from asr_s2s.pipeline import Segment, Transcriber, Transcript
from asr_s2s.search.guard import (
    Reason,
    Repetition,
    Verdict,
    ctc_likelihoods,
    examine_by_attention,
    examine_by_ctc,
    examine_by_probability,
    find_repetition,
)
from asr_s2s.search.recognize import Remedy
from asr_s2s.text.tokenizer import BLANK, EOS
from asr_s2s.writers import to_record

RATE = 16_000


@pytest.fixture(scope="module")
def recognizer() -> Transcriber:
    return asr_s2s.load("digits", device="cpu")


@pytest.fixture(scope="module")
def recording(sample: Path) -> Waveform:
    return read_audio(sample)


@pytest.fixture(scope="module")
def expected(sample: Path) -> str:
    return sample.with_suffix(".txt").read_text().strip()


def examine(recognizer: Transcriber, samples: Waveform, *texts: str) -> list[Verdict]:
    """Examine texts as outputs for one recording."""
    tokens = [recognizer.output.tokenizer.encode(text) for text in texts]
    waveforms = torch.from_numpy(samples).expand(len(texts), -1)
    with torch.inference_mode():
        memory = recognizer.model.encode(
            "speech", waveforms, torch.full((len(texts),), len(samples))
        )
        ctc = recognizer.model.ctc_frames(memory)
    assert ctc is not None
    return examine_by_ctc(ctc, tokens, 0.04)


def load_with_end_bias(*, end: float, ctc: bool = True) -> Transcriber:
    """Load the shipped model with a changed bias of the end token, with or without CTC."""
    changed = asr_s2s.load("digits", device="cpu")
    output = changed.model.decoder.output
    assert output is not None
    with torch.no_grad():
        output.bias[EOS] += end
    if not ctc:
        changed.model.ctc = None
    return changed


def only(result: Transcript) -> Segment:
    (segment,) = result.segments
    return segment


# Examination by CTC


def test_a_right_output_has_no_reason(
    recognizer: Transcriber, recording: Waveform, expected: str
) -> None:
    (verdict,) = examine(recognizer, recording, expected)
    assert verdict.reason is None
    assert recognizer.output.tokenizer.decode(verdict.cut) == expected


@pytest.mark.parametrize(
    ("text", "reason", "cut"),
    [
        ("three one four one five nine" + " five nine" * 6, "loop", "three one four one five nine"),
        ("three one four one one one one one five nine", "loop", "three one four one five nine"),
        ("three one", "early_end", None),
        ("", "early_end", None),
        ("three five nine", "gap", None),
        ("five nine", "gap", None),
        ("zero zero zero", "gap", None),
        ("three one four one five nine eight two", "unspoken", "three one four one five nine"),
        ("threx oen fuor one fivv nineh", "unsure", None),
    ],
)
def test_wrong_outputs_have_the_right_reason(
    recognizer: Transcriber, recording: Waveform, text: str, reason: str, cut: str | None
) -> None:
    (verdict,) = examine(recognizer, recording, text)
    assert verdict.reason == reason
    if cut is not None:
        assert recognizer.output.tokenizer.decode(verdict.cut) == cut


def test_a_single_wrong_word_is_not_cut(recognizer: Transcriber, recording: Waveform) -> None:
    text = "three one four one six five nine"
    (verdict,) = examine(recognizer, recording, text)
    assert recognizer.output.tokenizer.decode(verdict.cut) == text


def test_spoken_repetitions_are_no_loop(recognizer: Transcriber, shared_data: Path) -> None:
    word = read_audio(shared_data / "fsdd" / "recordings" / "7_jackson_3.wav")
    again = np.tile(np.concatenate([word, np.zeros(RATE // 5, np.float32)]), 5)
    result = recognizer.transcribe(again)
    assert result.text == " ".join(["seven"] * 5)
    assert only(result).reason is None


@pytest.mark.parametrize(
    ("count", "odds", "reason"),
    [(3, 3.7, None), (3, 3.3, "unspoken"), (30, 3.0, None), (30, 2.7, "unspoken")],
)
def test_long_outputs_need_lower_odds_per_token_than_short_ones(
    count: int, odds: float, reason: str | None
) -> None:
    tokens = [4 + index % 2 for index in range(count)]
    frames = torch.full((1, 2 * count + 1, 6), -20.0)
    frames[0, ::2, BLANK] = 0.0
    for index, token in enumerate(tokens):
        frames[0, 2 * index + 1, [BLANK, token]] = torch.tensor([0.0, odds])
    ctc = CTCFrames(frames.log_softmax(-1), torch.tensor([2 * count + 1]))
    (verdict,) = examine_by_ctc(ctc, [tokens], 0.04)
    assert verdict.reason == reason


def test_batching_does_not_change_verdicts(
    recognizer: Transcriber, recording: Waveform, expected: str
) -> None:
    texts = (expected, "three one", "", expected + " five nine" * 8)
    together = examine(recognizer, recording, *texts)
    for text, verdict in zip(texts, together, strict=True):
        (alone,) = examine(recognizer, recording, text)
        assert (alone.reason, alone.cut) == (verdict.reason, verdict.cut)
        assert alone.fit == pytest.approx(verdict.fit, abs=1e-4)


def test_ctc_likelihoods_sum_over_all_alignments() -> None:
    probabilities = torch.tensor([[[0.5, 0, 0, 0, 0.5], [0.25, 0, 0, 0, 0.75], [1.0, 0, 0, 0, 0]]])
    frames = CTCFrames(probabilities.log(), torch.tensor([2]))
    found = ctc_likelihoods(frames, [0, 0, 0], [[], [4], [4, 4]])
    assert np.exp(found) == pytest.approx([0.125, 0.875, 0.0])  # the last needs a third frame
    assert ctc_likelihoods(frames, [], []) == []


# Examination by attention, without CTC


def attention_at(attended: list[int], frames: int) -> torch.Tensor:
    weights = torch.zeros(1, len(attended), frames)
    weights[0, torch.arange(len(attended)), torch.tensor(attended, dtype=torch.long)] = 1.0
    return weights


@pytest.mark.parametrize(
    ("attended", "reason"),
    [
        ([10, 15, 20, 25, 30, 35, 40, 45], None),
        ([10, 15, 11, 15, 10, 15, 11, 15], "loop"),
        ([10, 15, 16, 16, 16, 16, 16, 16, 16, 16], "loop"),
    ],
)
def test_repetitions_are_a_loop_if_attention_does_not_advance(
    attended: list[int], reason: str | None
) -> None:
    hum = np.sin(np.arange(5 * RATE // 2)).astype(np.float32)
    (verdict,) = examine_by_attention(
        attention_at(attended, 50),
        [[4, 5] * (len(attended) // 2)],
        [-0.1],
        [hum],
        lambda frame: 0.05 * frame,
    )
    assert verdict.reason == reason
    assert len(verdict.cut) == (2 if reason else len(attended))


@pytest.mark.parametrize(
    ("attended", "reason"),
    [
        ([10, 30, 50, 70, 90], None),
        ([10, 30, 90], "gap"),
        ([10, 30], "early_end"),
        ([], "early_end"),
    ],
)
def test_speech_without_attention_is_skipped(attended: list[int], reason: str | None) -> None:
    rng = np.random.default_rng(0)
    bursts = np.tile(np.repeat([1e-4, 0.1, 0.1, 1e-4], RATE // 10), 13)[: 5 * RATE]
    speech = (bursts * rng.standard_normal(len(bursts))).astype(np.float32)
    tokens = list(range(4, 4 + len(attended)))
    (verdict,) = examine_by_attention(
        attention_at(attended, 100), [tokens], [-0.1], [speech], lambda frame: 0.05 * frame
    )
    assert verdict.reason == reason


def test_silence_without_attention_is_not_skipped_speech() -> None:
    silence = 1e-4 * np.random.default_rng(0).standard_normal(3 * RATE)
    speech = 0.1 * np.random.default_rng(1).standard_normal(RATE // 2)
    samples = np.concatenate([speech, silence, speech]).astype(np.float32)
    (verdict,) = examine_by_attention(
        attention_at([4, 78], 80), [[4, 5]], [-0.1], [samples], lambda frame: 0.05 * frame
    )
    assert verdict.reason is None


def test_without_ctc_and_attention_improbable_outputs_are_unsure() -> None:
    verdicts = examine_by_probability([[4], [4], []], [-0.5, -1.6, -0.1])
    assert [verdict.reason for verdict in verdicts] == [None, Reason.unsure, Reason.unspoken]


def test_the_longest_repetition_is_found() -> None:
    assert find_repetition([]) is None
    assert find_repetition([4, 4, 4]) is None
    assert find_repetition([4, 4, 4, 4]) == Repetition(0, 4, 1)
    assert find_repetition([9, *[4, 5, 6] * 4, 4, 8]) == Repetition(1, 14, 3)
    assert find_repetition([4] * 4 + [5, 6] * 5) == Repetition(4, 14, 2)


# Remedies


def test_a_loop_is_replaced_by_the_output_of_ctc(recording: Waveform, expected: str) -> None:
    segment = only(load_with_end_bias(end=-20.0).transcribe(recording, words=True))
    assert (segment.text, segment.reason, segment.remedy) == (expected, "loop", "ctc")
    assert [word.text for word in segment.words] == expected.split()


def test_without_ctc_a_loop_is_cut(recording: Waveform, expected: str) -> None:
    segment = only(load_with_end_bias(end=-20.0, ctc=False).transcribe(recording))
    assert (segment.text, segment.reason, segment.remedy) == (expected, "loop", "cut")


def test_without_ctc_a_right_output_is_kept(recording: Waveform, expected: str) -> None:
    segment = only(load_with_end_bias(end=0.0, ctc=False).transcribe(recording))
    assert (segment.text, segment.reason, segment.remedy) == (expected, None, None)


def test_the_reason_is_reported_even_if_no_remedy_helps(recording: Waveform) -> None:
    segment = only(load_with_end_bias(end=20.0, ctc=False).transcribe(recording))
    assert (segment.text, segment.reason, segment.remedy) == ("", "early_end", None)


def test_batching_does_not_change_remedies(recording: Waveform, expected: str) -> None:
    changed = load_with_end_bias(end=-20.0)
    sources = [recording, recording[: len(recording) // 2], np.tile(recording, 2)]
    together = changed.transcribe(sources)
    assert together[2].text == f"{expected} {expected}"
    for source, batched in zip(sources, together, strict=True):
        alone = changed.transcribe(source)
        assert (alone.text, only(alone).reason) == (batched.text, only(batched).reason)
        assert alone.score == pytest.approx(batched.score, abs=1e-4)


def test_decoding_with_ctc_only(
    recognizer: Transcriber, recording: Waveform, expected: str
) -> None:
    alone = asr_s2s.load("digits", device="cpu")
    alone.config = replace(alone.config, search=replace(alone.config.search, ctc_weight=1.0))
    assert alone.transcribe(recording).text == expected
    many = alone.transcribe([recording[: len(recording) // 3], recording], n_best=3)
    assert many[1].text == expected
    assert len(many[1].alternatives) == 3


def test_audio_is_split_at_its_quietest_point() -> None:
    loud = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    pause = np.zeros(RATE // 2, np.float32)
    cut = middle_cut(np.concatenate([pause, loud, pause, loud]))
    assert len(pause) + len(loud) <= cut <= len(pause) + len(loud) + len(pause)


# Audio without speech


def white(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    return rng.standard_normal(len(time))


def pink(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(len(time)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(time))
    return noise / noise.std()


def tone(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    return 1.4 * np.sin(2 * np.pi * rng.uniform(60, 3000) * time)


def silence(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    return np.eye(1, len(time), 100)[0]  # one click, as all-zero audio is rejected


@pytest.mark.parametrize("kind", [white, pink, tone, silence])
def test_noise_gives_no_words_and_a_warning(
    recognizer: Transcriber, kind: Callable[..., np.ndarray]
) -> None:
    rng = np.random.default_rng(5)
    recordings = [
        np.clip(level * kind(rng, np.arange(round(seconds * RATE)) / RATE), -1, 1).astype("f4")
        for level in (0.3, 0.01)
        for seconds in (0.7, 4.0)
    ]
    for result in recognizer.transcribe(recordings):
        segment = only(result)
        assert (result.text, result.score) == ("", 0.0)
        assert (segment.reason, segment.remedy) == (Reason.unspoken, Remedy.cut)
        assert result.warning is not None and "no speech" in str(result.warning)


def test_babble_gives_no_words(recognizer: Transcriber, recording: Waveform) -> None:
    rng = np.random.default_rng(2)
    backwards = recording[::-1]
    babble = sum(np.roll(backwards, rng.integers(len(recording))) for _ in range(16))
    result = recognizer.transcribe((0.02 * babble).astype(np.float32))
    assert (result.text, only(result).reason) == ("", Reason.unspoken)


def test_noise_after_speech_adds_no_words(
    recognizer: Transcriber, recording: Waveform, expected: str
) -> None:
    noise = 0.1 * np.random.default_rng(4).standard_normal(8 * RATE)
    result = recognizer.transcribe(np.concatenate([recording, noise.astype(np.float32)]))
    assert result.text == expected


def test_json_contains_the_reason_and_the_remedy(
    recording: Waveform, recognizer: Transcriber
) -> None:
    looped = json.loads(json.dumps(to_record(load_with_end_bias(end=-20.0).transcribe(recording))))
    assert looped["segments"][0]["reason"] == "loop"
    assert looped["segments"][0]["remedy"] == "ctc"
    assert not {"reason", "remedy"} & set(
        to_record(recognizer.transcribe(recording))["segments"][0]
    )
