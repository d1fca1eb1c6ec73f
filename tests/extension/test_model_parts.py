"""An attention mechanism, a speech encoder and a decoder added from outside the package.

Each is one class and one entry in a table, and is selected by its name in the configuration.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.config import DecoderConfig, SpeechEncoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import (
    ATTENTION,
    AttendedMemory,
    Memory,
    SingleHeadAttention,
    attend,
)
from asr_s2s.model.decoder import Decoder
from asr_s2s.model.decoders import DECODERS
from asr_s2s.model.folder import read_config
from asr_s2s.model.seq2seq import SPEECH_ENCODERS
from asr_s2s.model.speech_encoder import SpeechEncoder
from asr_s2s.nn.masks import padding_mask
from asr_s2s.pipeline import Transcriber
from asr_s2s.text.tokenizer import BLANK, BOS
from tests.extension.conftest import Trainer


class CosineAttention(SingleHeadAttention):
    """Attention by the cosine of query and key."""

    def score(self, query: Tensor, keys: Tensor, alignment: Tensor) -> Tensor:
        return 5 * F.normalize(query, dim=-1) @ F.normalize(keys, dim=-1).transpose(1, 2)


class BlockEncoder(SpeechEncoder):
    """One linear layer over blocks of consecutive frames."""

    def __init__(self, config: SpeechEncoderConfig, mel_bins: int) -> None:
        super().__init__(config, mel_bins)
        self.layer = nn.Linear(config.time_reduction * mel_bins, config.size)
        self.output_size = config.size

    @staticmethod
    def check(config: SpeechEncoderConfig) -> None:
        if config.layers != 1:
            raise ConfigError("speech_encoder.layers", "blocks have one layer", "Set it to 1")

    def layer_outputs(self, features: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        missing = -features.size(1) % self.time_reduction
        blocks = F.pad(features, (0, 0, 0, missing)).unflatten(1, (-1, self.time_reduction))
        lengths = -(-lengths // self.time_reduction)
        hidden = self.layer(blocks.flatten(2)).relu()
        yield hidden.masked_fill(padding_mask(lengths, hidden.size(1))[:, :, None], 0.0), lengths

    def memory_of(self, outputs: Tensor, lengths: Tensor) -> Memory:
        return Memory(outputs, lengths, outputs.sum(1) / lengths[:, None])

    def frame_time(self, frame: float) -> float:
        return frame * self.time_reduction / 100

    def frame_center(self, frame: float) -> float:
        return self.frame_time(frame + 0.5)

    def frame_seconds(self, layer: int) -> float:
        return self.time_reduction / 100


class MarkovState(NamedTuple):
    """State of `MarkovDecoder`."""

    alignment: Tensor


class MarkovDecoder(Decoder[MarkovState, AttendedMemory]):
    """Decoder whose next token depends on the source and on the previous token only."""

    def __init__(self, vocabulary: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__(vocabulary, memory_size, config)
        self.embedding = nn.Embedding(vocabulary, memory_size, padding_idx=BLANK)
        self.output = nn.Linear(2 * memory_size, vocabulary)

    @staticmethod
    def check(config: DecoderConfig) -> None:
        if config.layers != 1:
            raise ConfigError("decoder.layers", "this decoder has one layer", "Set it to 1")

    def prepare(self, memory: Memory) -> AttendedMemory:
        padded = padding_mask(memory.lengths, memory.values.size(1))[:, None, :]
        return AttendedMemory(memory.values, memory.values, padded)

    def start(self, memory: Memory, beam_size: int = 1) -> MarkovState:
        batch, time, _ = memory.values.shape
        return MarkovState(memory.values.new_zeros(batch * beam_size, time))

    def step(
        self, previous: Tensor, state: MarkovState, memory: AttendedMemory
    ) -> tuple[Tensor, MarkovState]:
        logits, weights = self._predict(previous.view(len(memory.values), -1), memory)
        return logits.flatten(0, 1), MarkovState(weights.flatten(0, 1))

    def forward(self, prefix: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        return self._predict(prefix, self.prepare(memory))

    def _predict(self, previous: Tensor, memory: AttendedMemory) -> tuple[Tensor, Tensor]:
        queries, values = self.embedding(previous), memory.values[:, None]
        context, weights = attend(queries[:, None], values, values, memory.padded[:, None])
        return self.output(torch.cat([queries, context], -1)), weights[:, 0]


def assert_contracts_hold(model: Path, corpus: Path) -> None:
    """Check that outputs do not depend on the batch, and that steps equal teacher forcing."""
    transcriber = Transcriber.load(model, device="cpu")
    recordings = sorted((corpus / "audio").glob("valid-*.wav"))
    for together in transcriber.transcribe(recordings):
        alone = transcriber.transcribe(together.source)
        assert together.text == alone.text
        assert together.score == pytest.approx(alone.score, abs=1e-4)

    network = transcriber.model
    memory = network.encode("speech", torch.randn(2, 8000), torch.tensor([8000, 5000]))
    prefix = torch.tensor([[BOS, 4, 5, 4], [BOS, 5, 6, 4]])
    logits, weights = network.decoder(prefix, memory)
    state, prepared = network.decoder.start(memory), network.decoder.prepare(memory)
    for index, previous in enumerate(prefix.unbind(1)):
        stepped, state = network.decoder.step(previous, state, prepared)
        torch.testing.assert_close(stepped, logits[:, index], atol=1e-4, rtol=0)
        torch.testing.assert_close(state.alignment, weights[:, index], atol=1e-4, rtol=0)


def test_an_attention_mechanism(
    monkeypatch: pytest.MonkeyPatch, train_tones: Trainer, corpus: Path
) -> None:
    monkeypatch.setitem(ATTENTION, "cosine", CosineAttention)
    model = train_tones("decoder.attention=cosine")
    assert read_config(model).decoder.attention == "cosine"
    assert_contracts_hold(model, corpus)


def test_a_speech_encoder(
    monkeypatch: pytest.MonkeyPatch, train_tones: Trainer, corpus: Path
) -> None:
    monkeypatch.setitem(SPEECH_ENCODERS, "blocks", BlockEncoder)
    model = train_tones("speech_encoder.kind=blocks")
    assert read_config(model).speech_encoder.kind == "blocks"
    assert_contracts_hold(model, corpus)
    with pytest.raises(ConfigError, match=r"speech_encoder\.layers"):
        train_tones("speech_encoder.kind=blocks", "speech_encoder.layers=2")


def test_a_decoder(monkeypatch: pytest.MonkeyPatch, train_tones: Trainer, corpus: Path) -> None:
    monkeypatch.setitem(DECODERS, "markov", MarkovDecoder)
    model = train_tones("decoder.kind=markov", "search.coverage_penalty=0.1")
    assert read_config(model).decoder.kind == "markov"
    assert_contracts_hold(model, corpus)
    with pytest.raises(ConfigError, match=r"decoder\.layers"):
        train_tones("decoder.kind=markov", "decoder.layers=2")
