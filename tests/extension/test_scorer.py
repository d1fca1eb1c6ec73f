"""A scorer added to beam search from outside the package: one class, and one entry of a table or an
argument of `decode`."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from asr_s2s.audio.decode import read_audio
from asr_s2s.model.folder import load_model
from asr_s2s.pipeline import Transcriber
from asr_s2s.search.decode import decode
from asr_s2s.search.judges import JUDGES


class Previous(NamedTuple):
    """State of `NoRepetition`."""

    token: Tensor


class NoRepetition:
    """Judge that gives a log-probability of -1 to candidates equal to the token before."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def start(self, beam_size: int) -> Previous:
        return Previous(torch.zeros(self.batch * beam_size, dtype=torch.long))

    def judge(
        self, previous: Tensor, state: Previous, candidates: Tensor
    ) -> tuple[Tensor, Previous]:
        return -(candidates == previous[:, None]).float(), Previous(previous)


def test_a_scorer(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transcriber = Transcriber.load("digits", device="cpu")
    plain = transcriber.transcribe(sample)
    assert "three" in plain.text
    monkeypatch.setitem(JUDGES, "no_repetition", lambda inputs: None)
    assert transcriber.transcribe(sample) == plain
    monkeypatch.setitem(JUDGES, "no_repetition", lambda inputs: (NoRepetition(inputs.batch), 100.0))
    judged = transcriber.transcribe(sample)
    assert judged.text and all(a != b for a, b in pairwise(judged.text))


@pytest.mark.parametrize("beam_size", [1, 8])
def test_a_scorer_of_one_call(sample: Path, beam_size: int) -> None:
    loaded = load_model("digits")
    waveform = torch.from_numpy(read_audio(sample))[None]
    memory = loaded.model.encode("speech", waveform, torch.tensor([waveform.size(1)]))
    config = replace(loaded.config.search, beam_size=beam_size)
    ((plain, *_),) = decode(loaded.model, "speech", memory, config)
    assert "three" in loaded.tokenizer.decode(plain.tokens)
    judge = NoRepetition(len(memory.lengths))
    ((unweighted, *_),) = decode(loaded.model, "speech", memory, config, further=[(judge, 0.0)])
    assert unweighted.tokens == plain.tokens
    ((judged, *_),) = decode(loaded.model, "speech", memory, config, further=[(judge, 100.0)])
    assert all(a != b for a, b in pairwise(judged.tokens))
