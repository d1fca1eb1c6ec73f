"""Recordings that ship with the project give the same text and score alone, padded and in any
batch, with every model of speech that ships with it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asr_s2s.audio.decode import read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.model.folder import find_model, load_model, pretrained_names, read_config
from asr_s2s.pipeline import Transcriber
from asr_s2s.search.decode import decode

MODELS = [
    (name, exact)
    for name in pretrained_names()
    if "speech" in read_config(find_model(name)).model.encoders
    for exact in (False, True)
]
"""Shipped models of speech, each in its own precision and in float32."""
SAMPLES = sorted((Path(__file__).parent.parent / "docs" / "samples").glob("*.wav"))
SPANS = ((0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.2, 0.45), (0.6, 0.95))
"""Parts of a recording, as fractions of its duration."""
TOLERANCE = 1e-4
"""Largest difference of scores, which float32 sums in another order if the padding differs."""


@dataclass(frozen=True)
class Alone:
    """A model, recordings, and their transcripts when each is transcribed alone."""

    transcriber: Transcriber
    waveforms: list[NDArray[np.float32]]
    texts: list[str]
    scores: list[float]


@pytest.fixture(scope="module", params=MODELS, ids=lambda m: f"{m[0]}{'-exact' * m[1]}")
def alone(request: pytest.FixtureRequest) -> Alone:
    name, exact = request.param
    transcriber = Transcriber(load_model(name, exact=exact), torch.device("cpu"))
    waveforms = [
        whole[int(start * len(whole)) : int(end * len(whole))]
        for whole in map(read_audio, SAMPLES)
        for start, end in SPANS
    ]
    results = [transcriber.transcribe(one, sample_rate=SAMPLE_RATE) for one in waveforms]
    texts, scores = [r.text for r in results], [r.score for r in results]
    return Alone(transcriber, waveforms, texts, scores)


def test_the_shipped_models_transcribe_the_samples(alone: Alone) -> None:
    assert len(set(alone.texts)) > len(SAMPLES)
    own = [path for path in SAMPLES if path.stem == alone.transcriber.folder.name]
    for path in own:
        expected = path.with_suffix(".txt").read_text().strip()
        assert alone.transcriber.transcribe(path).text.casefold() == expected.casefold().strip(".")


@pytest.mark.parametrize(("seed", "batch_seconds"), [(0, 1000.0), (1, 6.0)])
def test_text_and_score_are_the_same_alone_and_in_any_batch(
    alone: Alone, seed: int, batch_seconds: float
) -> None:
    order = np.random.default_rng(seed).permutation(len(alone.waveforms))
    results = alone.transcriber.transcribe(
        [alone.waveforms[index] for index in order],
        sample_rate=SAMPLE_RATE,
        batch_seconds=batch_seconds,
    )
    for index, result in zip(order, results, strict=True):
        assert result.text == alone.texts[index]
        assert result.score == pytest.approx(alone.scores[index], abs=TOLERANCE)


@torch.inference_mode()
def test_outputs_and_scores_do_not_depend_on_padding(alone: Alone) -> None:
    model, search = alone.transcriber.model, alone.transcriber.config.search
    language_models = alone.transcriber.language_models
    for waveform in map(torch.from_numpy, alone.waveforms[1:3]):
        length = torch.tensor([len(waveform)])
        hypotheses = []
        for padding in (0, 1, 5000, 40_000):
            padded = torch.nn.functional.pad(waveform, (0, padding))[None]
            memory = model.encode("speech", padded, length)
            (found,) = decode(model, "speech", memory, search, language_models=language_models)
            hypotheses.append(found[0])
        assert {tuple(hypothesis.tokens) for hypothesis in hypotheses} == {tuple(found[0].tokens)}
        for hypothesis in hypotheses:
            assert hypothesis.score == pytest.approx(hypotheses[0].score, abs=TOLERANCE)
