"""What the guard finds wrong with outputs, and what is done about it: on the shipped model."""

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
def sound(sample: Path) -> Waveform:
    return read_audio(sample)


@pytest.fixture(scope="module")
def expected(sample: Path) -> str:
    return sample.with_suffix(".txt").read_text().strip()


def judge(recognizer: Transcriber, samples: Waveform, *texts: str) -> list[Verdict]:
    """What CTC says of texts for one recording."""
    tokens = [recognizer.output.tokenizer.encode(text) for text in texts]
    waveforms = torch.from_numpy(samples).expand(len(texts), -1)
    with torch.inference_mode():
        memory = recognizer.model.encode(
            "speech", waveforms, torch.full((len(texts),), len(samples))
        )
        ctc = recognizer.model.ctc_frames(memory)
    assert ctc is not None
    return examine_by_ctc(ctc, tokens, 0.04)


def tampered(*, end: float, ctc: bool = True) -> Transcriber:
    """The shipped model, but so much readier to end, or less ready."""
    broken = asr_s2s.load("digits", device="cpu")
    output = broken.model.decoder.output
    assert output is not None
    with torch.no_grad():
        output.bias[EOS] += end
    if not ctc:
        broken.model.ctc = None
    return broken


def only(result: Transcript) -> Segment:
    (segment,) = result.segments
    return segment


# What CTC says


def test_what_was_said_is_not_doubted(
    recognizer: Transcriber, sound: Waveform, expected: str
) -> None:
    (verdict,) = judge(recognizer, sound, expected)
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
def test_what_is_wrong_is_named(
    recognizer: Transcriber, sound: Waveform, text: str, reason: str, cut: str | None
) -> None:
    (verdict,) = judge(recognizer, sound, text)
    assert verdict.reason == reason
    if cut is not None:
        assert recognizer.output.tokenizer.decode(verdict.cut) == cut


def test_a_single_word_is_not_cut(recognizer: Transcriber, sound: Waveform) -> None:
    text = "three one four one six five nine"
    (verdict,) = judge(recognizer, sound, text)
    assert recognizer.output.tokenizer.decode(verdict.cut) == text


def test_who_says_the_same_five_times_does_not_loop(
    recognizer: Transcriber, shared_data: Path
) -> None:
    word = read_audio(shared_data / "fsdd" / "recordings" / "7_jackson_3.wav")
    again = np.tile(np.concatenate([word, np.zeros(RATE // 5, np.float32)]), 5)
    result = recognizer.transcribe(again)
    assert result.text == " ".join(["seven"] * 5)
    assert only(result).reason is None


@pytest.mark.parametrize(
    ("count", "odds", "reason"),
    [(3, 3.7, None), (3, 3.3, "unspoken"), (30, 3.0, None), (30, 2.7, "unspoken")],
)
def test_words_must_be_likelier_than_silence_and_many_together_by_less(
    count: int, odds: float, reason: str | None
) -> None:
    tokens = [4 + place % 2 for place in range(count)]
    frames = torch.full((1, 2 * count + 1, 6), -20.0)
    frames[0, ::2, BLANK] = 0.0
    for place, token in enumerate(tokens):
        frames[0, 2 * place + 1, [BLANK, token]] = torch.tensor([0.0, odds])
    ctc = CTCFrames(frames.log_softmax(-1), torch.tensor([2 * count + 1]))
    (verdict,) = examine_by_ctc(ctc, [tokens], 0.04)
    assert verdict.reason == reason


def test_outputs_are_judged_alike_alone_and_in_a_batch(
    recognizer: Transcriber, sound: Waveform, expected: str
) -> None:
    texts = (expected, "three one", "", expected + " five nine" * 8)
    together = judge(recognizer, sound, *texts)
    for text, verdict in zip(texts, together, strict=True):
        (alone,) = judge(recognizer, sound, text)
        assert (alone.reason, alone.cut) == (verdict.reason, verdict.cut)
        assert alone.fit == pytest.approx(verdict.fit, abs=1e-4)


def test_ctc_knows_how_likely_an_output_is() -> None:
    probabilities = torch.tensor([[[0.5, 0, 0, 0, 0.5], [0.25, 0, 0, 0, 0.75], [1.0, 0, 0, 0, 0]]])
    frames = CTCFrames(probabilities.log(), torch.tensor([2]))
    found = ctc_likelihoods(frames, [0, 0, 0], [[], [4], [4, 4]])
    assert np.exp(found) == pytest.approx([0.125, 0.875, 0.0])  # the last needs a third frame
    assert ctc_likelihoods(frames, [], []) == []


# What attention says, without CTC


def looking_at(places: list[int], frames: int) -> torch.Tensor:
    weights = torch.zeros(1, len(places), frames)
    weights[0, torch.arange(len(places)), torch.tensor(places, dtype=torch.long)] = 1.0
    return weights


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ([10, 15, 20, 25, 30, 35, 40, 45], None),
        ([10, 15, 11, 15, 10, 15, 11, 15], "loop"),
        ([10, 15, 16, 16, 16, 16, 16, 16, 16, 16], "loop"),
    ],
)
def test_the_same_again_is_a_loop_where_attention_stays(
    places: list[int], reason: str | None
) -> None:
    hum = np.sin(np.arange(5 * RATE // 2)).astype(np.float32)
    (verdict,) = examine_by_attention(
        looking_at(places, 50),
        [[4, 5] * (len(places) // 2)],
        [-0.1],
        [hum],
        lambda frame: 0.05 * frame,
    )
    assert verdict.reason == reason
    assert len(verdict.cut) == (2 if reason else len(places))


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ([10, 30, 50, 70, 90], None),
        ([10, 30, 90], "gap"),
        ([10, 30], "early_end"),
        ([], "early_end"),
    ],
)
def test_sound_that_attention_does_not_read_is_skipped(
    places: list[int], reason: str | None
) -> None:
    rng = np.random.default_rng(0)
    bursts = np.tile(np.repeat([1e-4, 0.1, 0.1, 1e-4], RATE // 10), 13)[: 5 * RATE]
    speech = (bursts * rng.standard_normal(len(bursts))).astype(np.float32)
    tokens = list(range(4, 4 + len(places)))
    (verdict,) = examine_by_attention(
        looking_at(places, 100), [tokens], [-0.1], [speech], lambda frame: 0.05 * frame
    )
    assert verdict.reason == reason


def test_silence_need_not_be_read() -> None:
    silence = 1e-4 * np.random.default_rng(0).standard_normal(3 * RATE)
    speech = 0.1 * np.random.default_rng(1).standard_normal(RATE // 2)
    samples = np.concatenate([speech, silence, speech]).astype(np.float32)
    (verdict,) = examine_by_attention(
        looking_at([4, 78], 80), [[4, 5]], [-0.1], [samples], lambda frame: 0.05 * frame
    )
    assert verdict.reason is None


def test_without_more_evidence_the_improbable_is_unsure() -> None:
    verdicts = examine_by_probability([[4], [4], []], [-0.5, -1.6, -0.1])
    assert [verdict.reason for verdict in verdicts] == [None, Reason.unsure, Reason.unspoken]


def test_the_longest_repetition_is_found() -> None:
    assert find_repetition([]) is None
    assert find_repetition([4, 4, 4]) is None
    assert find_repetition([4, 4, 4, 4]) == Repetition(0, 4, 1)
    assert find_repetition([9, *[4, 5, 6] * 4, 4, 8]) == Repetition(1, 14, 3)
    assert find_repetition([4] * 4 + [5, 6] * 5) == Repetition(4, 14, 2)


# What is done about it


def test_a_decoder_that_cannot_end_is_replaced_by_ctc(sound: Waveform, expected: str) -> None:
    segment = only(tampered(end=-20.0).transcribe(sound, words=True))
    assert (segment.text, segment.reason, segment.remedy) == (expected, "loop", "ctc")
    assert [word.text for word in segment.words] == expected.split()


def test_without_ctc_a_loop_is_cut(sound: Waveform, expected: str) -> None:
    segment = only(tampered(end=-20.0, ctc=False).transcribe(sound))
    assert (segment.text, segment.reason, segment.remedy) == (expected, "loop", "cut")


def test_without_ctc_what_is_right_stays(sound: Waveform, expected: str) -> None:
    segment = only(tampered(end=0.0, ctc=False).transcribe(sound))
    assert (segment.text, segment.reason, segment.remedy) == (expected, None, None)


def test_where_nothing_helps_the_reason_is_named_all_the_same(sound: Waveform) -> None:
    segment = only(tampered(end=20.0, ctc=False).transcribe(sound))
    assert (segment.text, segment.reason, segment.remedy) == ("", "early_end", None)


def test_attention_that_lost_its_place_is_fixed_alike_alone_and_in_a_batch(
    sound: Waveform, expected: str
) -> None:
    broken = tampered(end=-20.0)
    sources = [sound, sound[: len(sound) // 2], np.tile(sound, 2)]
    together = broken.transcribe(sources)
    assert together[2].text == f"{expected} {expected}"
    for source, batched in zip(sources, together, strict=True):
        alone = broken.transcribe(source)
        assert (alone.text, only(alone).reason) == (batched.text, only(batched).reason)
        assert alone.score == pytest.approx(batched.score, abs=1e-4)


def test_ctc_alone_is_a_search_of_its_own(
    recognizer: Transcriber, sound: Waveform, expected: str
) -> None:
    alone = asr_s2s.load("digits", device="cpu")
    alone.config = replace(alone.config, search=replace(alone.config.search, ctc_weight=1.0))
    assert alone.transcribe(sound).text == expected
    many = alone.transcribe([sound[: len(sound) // 3], sound], n_best=3)
    assert many[1].text == expected
    assert len(many[1].alternatives) == 3


def test_sound_is_cut_in_two_where_it_is_quietest() -> None:
    loud = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    pause = np.zeros(RATE // 2, np.float32)
    cut = middle_cut(np.concatenate([pause, loud, pause, loud]))
    assert len(pause) + len(loud) <= cut <= len(pause) + len(loud) + len(pause)


# What nobody said


def white(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    return rng.standard_normal(len(time))


def pink(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(len(time)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(time))
    return noise / noise.std()


def tone(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    return 1.4 * np.sin(2 * np.pi * rng.uniform(60, 3000) * time)


def silence(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    return np.eye(1, len(time), 100)[0]  # a click, or else it were no recording


@pytest.mark.parametrize("kind", [white, pink, tone, silence])
def test_noise_gives_no_words_and_says_so(
    recognizer: Transcriber, kind: Callable[..., np.ndarray]
) -> None:
    rng = np.random.default_rng(5)
    sounds = [
        np.clip(level * kind(rng, np.arange(round(seconds * RATE)) / RATE), -1, 1).astype("f4")
        for level in (0.3, 0.01)
        for seconds in (0.7, 4.0)
    ]
    for result in recognizer.transcribe(sounds):
        segment = only(result)
        assert (result.text, result.score) == ("", 0.0)
        assert (segment.reason, segment.remedy) == (Reason.unspoken, Remedy.cut)
        assert result.warning is not None and "no speech" in str(result.warning)


def test_many_voices_at_once_are_not_taken_for_words(
    recognizer: Transcriber, sound: Waveform
) -> None:
    rng = np.random.default_rng(2)
    backwards = sound[::-1]
    babble = sum(np.roll(backwards, rng.integers(len(sound))) for _ in range(16))
    result = recognizer.transcribe((0.02 * babble).astype(np.float32))
    assert (result.text, only(result).reason) == ("", Reason.unspoken)


def test_noise_after_words_adds_none(
    recognizer: Transcriber, sound: Waveform, expected: str
) -> None:
    noise = 0.1 * np.random.default_rng(4).standard_normal(8 * RATE)
    result = recognizer.transcribe(np.concatenate([sound, noise.astype(np.float32)]))
    assert result.text == expected


def test_json_names_the_reason_and_the_remedy(sound: Waveform, recognizer: Transcriber) -> None:
    looped = json.loads(json.dumps(to_record(tampered(end=-20.0).transcribe(sound))))
    assert looped["segments"][0]["reason"] == "loop"
    assert looped["segments"][0]["remedy"] == "ctc"
    assert not {"reason", "remedy"} & set(to_record(recognizer.transcribe(sound))["segments"][0])
