"""Speech encoders: what holds for all of them, and what is special to one."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asr_s2s.audio.frontend import SpeechFrontend
from asr_s2s.config import (
    AugmentConfig,
    Config,
    DecoderConfig,
    FeatureConfig,
    SpeechEncoderConfig,
)
from asr_s2s.errors import ConfigError
from asr_s2s.inspect.attention import compute_spectrogram
from asr_s2s.model.attention import Memory
from asr_s2s.model.conformer import ConformerEncoder, rotary_positions
from asr_s2s.model.pyramid import PyramidEncoder, join_pairs
from asr_s2s.model.seq2seq import SPEECH_ENCODERS, Seq2Seq
from asr_s2s.model.speech_encoder import SpeechEncoder
from asr_s2s.model.subsampling import convolution_blocks, subsample
from asr_s2s.nn.recurrent import RecurrentLayer
from asr_s2s.search.align import align, align_words
from asr_s2s.text.tokenizer import CharacterTokenizer

PYRAMIDS = [
    SpeechEncoderConfig(convolution_layers=0, layers=3, size=12, time_reduction=8),
    SpeechEncoderConfig(
        convolution_layers=2, convolution_channels=4, layers=2, size=12, time_reduction=4
    ),
    SpeechEncoderConfig(
        convolution_layers=1, convolution_channels=4, layers=3, size=12, time_reduction=8
    ),
]
CONFORMERS = [
    SpeechEncoderConfig(
        kind="conformer", convolution_channels=4, layers=2, size=16, time_reduction=reduction,
        heads=2, feedforward_size=24, kernel_size=7,
    )
    for reduction in (1, 4)
]  # fmt: skip
CONFIGS = [*PYRAMIDS, *CONFORMERS]


class Encoder(nn.Module):
    """A frontend with an encoder, from waveforms to memory."""

    def __init__(self, config: SpeechEncoderConfig, normalization: str = "utterance") -> None:
        super().__init__()
        features = FeatureConfig(mel_bins=20, normalization=normalization, edge_frames=4)
        self.frontend = SpeechFrontend(features, AugmentConfig())
        self.encoder = SPEECH_ENCODERS[config.kind](config, features.mel_bins)
        self.eval()
        for parameter in self.parameters():
            if parameter.ndim == 1:  # initial biases are zero and would hide leaks from padding
                torch.nn.init.normal_(parameter, std=0.3)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Memory:
        memory: Memory = self.encoder(*self.frontend(waveforms, lengths))
        return memory


@pytest.mark.parametrize("normalization", ["utterance", "global"])
@pytest.mark.parametrize("config", CONFIGS)
def test_padding_does_not_change_the_memory(
    config: SpeechEncoderConfig, normalization: str
) -> None:
    encoder = Encoder(config, normalization)
    lengths = torch.tensor([16_000, 9_999, 400, 12_345])
    waveforms = torch.randn(4, 21_000) * 0.1  # samples beyond a length must have no effect
    together = encoder(waveforms, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(waveforms[row : row + 1, :length], lengths[row : row + 1])
        frames = int(alone.lengths)
        assert frames == int(together.lengths[row])
        torch.testing.assert_close(
            together.values[row, :frames], alone.values[0, :frames], atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(together.summary[row], alone.summary[0], atol=1e-4, rtol=1e-4)
        assert torch.all(together.values[row, frames:] == 0.0)


@pytest.mark.parametrize("config", CONFIGS)
def test_padding_and_other_rows_get_exactly_zero_gradient(config: SpeechEncoderConfig) -> None:
    encoder = Encoder(config)
    waveforms = (torch.randn(2, 8_000) * 0.1).requires_grad_()
    memory = encoder(waveforms, torch.tensor([8_000, 3_000]))
    weights = torch.randn(memory.values.size(2))  # a sum of squares of normalized values is fixed
    (memory.values[1].square() @ weights).sum().backward()
    assert torch.all(waveforms.grad[0] == 0.0)
    assert torch.all(waveforms.grad[1, 3_000:] == 0.0)
    assert torch.any(waveforms.grad[1, :3_000] != 0.0)
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("config", CONFIGS)
def test_time_is_reduced_as_configured(config: SpeechEncoderConfig) -> None:
    memory = Encoder(config)(torch.randn(1, 16_000), torch.tensor([16_000]))
    frames = 101 + 2 * 4
    assert int(memory.lengths) == int(np.ceil(frames / config.time_reduction))


@pytest.mark.parametrize("config", CONFIGS)
def test_layer_outputs_end_with_the_memory_and_have_the_stated_size_and_rate(
    config: SpeechEncoderConfig,
) -> None:
    encoder = SPEECH_ENCODERS[config.kind](config, 20).eval()
    features, lengths = torch.randn(2, 160, 20), torch.tensor([160, 100])
    features[1, 100:] = 0.0
    outputs = list(encoder.layer_outputs(features, lengths))
    assert len(outputs) == config.layers
    for layer, (hidden, frames) in enumerate(outputs, 1):
        assert hidden.shape == (2, int(frames.max()), encoder.output_size)
        assert frames.tolist() == [
            np.ceil(length / 100 / encoder.frame_seconds(layer) - 1e-9) for length in (160, 100)
        ]
        assert torch.all(hidden[1, int(frames[1]) :] == 0.0)
    memory = encoder(features, lengths)
    assert torch.equal(memory.values, outputs[-1][0])
    assert torch.equal(memory.lengths, outputs[-1][1])


@pytest.mark.parametrize("config", CONFIGS)
def test_frames_follow_each_other_and_their_centers_lie_within_them(
    config: SpeechEncoderConfig,
) -> None:
    encoder = SPEECH_ENCODERS[config.kind](config, 20)
    step = config.time_reduction / 100
    for frame in range(3):
        start, end = encoder.frame_time(frame), encoder.frame_time(frame + 1)
        assert end - start == pytest.approx(step)
        assert start - 1e-9 <= encoder.frame_center(frame) <= end
        assert encoder.frame_time(frame + 0.5) == pytest.approx(start + step / 2)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"time_reduction": 6}, "time_reduction"),
        ({"time_reduction": 32, "layers": 3}, "time_reduction"),
        ({"kind": "conformer", "time_reduction": 6}, "time_reduction"),
        ({"kind": "conformer", "size": 12, "heads": 4}, "heads"),
        ({"kind": "conformer", "kernel_size": 8}, "kernel_size"),
    ],
)
def test_impossible_settings_are_refused_before_and_when_building(
    changes: dict[str, object], key: str
) -> None:
    config = SpeechEncoderConfig(**changes)
    kind = SPEECH_ENCODERS[config.kind]
    for build in (lambda: kind.check(config), lambda: kind(config, 20)):
        with pytest.raises(ConfigError) as caught:
            build()
        assert caught.value.where == f"speech_encoder.{key}"


def test_backward_direction_starts_at_the_end_of_each_row() -> None:
    layer = RecurrentLayer(3, 4)
    inputs = torch.randn(2, 6, 3)
    outputs = layer(inputs, torch.tensor([6, 4]))
    expected, _ = layer.back(inputs[1, :4].flip(0))
    torch.testing.assert_close(outputs[1, :4, 4:], expected.flip(0))


@pytest.mark.parametrize("frames", [1, 8, 97, 128])
@torch.inference_mode()
def test_convolutions_of_short_recordings_do_not_depend_on_the_batch(frames: int) -> None:
    blocks, _ = convolution_blocks(3, 32, 80)
    features = torch.randn(4, 300, 80)
    features[0, frames:] = 0.0
    lengths = torch.tensor([frames, 300, 300, 300])
    alone, length = subsample(blocks, features[:1, :frames], lengths[:1])
    assert alone.shape[1] == int(length) == math.ceil(frames / 8)
    assert torch.equal(alone[0], subsample(blocks, features, lengths)[0][0, : int(length)])


def test_pyramid_concatenates_pairs_of_frames() -> None:
    inputs = torch.arange(10.0).view(1, 5, 2)
    joined, lengths = join_pairs(inputs, torch.tensor([5]))
    assert joined.tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]]]
    assert lengths.tolist() == [3]


def test_rotated_products_depend_on_the_distance_of_frames_only() -> None:
    rotation = rotary_positions(9, 6, torch.device("cpu"))
    query, key = torch.randn(6).expand(9, 6), torch.randn(6).expand(9, 6)
    products = rotation.turn(query) @ rotation.turn(key).T
    torch.testing.assert_close(products.diagonal(), (query[0] @ key[0]).expand(9))
    for distance in (1, 4, -3):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand(len(diagonal)))
    assert not torch.allclose(products[0, 1], products[0, 2])


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_conformer_computes_in_16_bits_close_to_32_bits(precision: torch.dtype) -> None:
    encoder = ConformerEncoder(CONFORMERS[1], 20).eval()
    features, lengths = torch.randn(2, 60, 20), torch.tensor([60, 40])
    with torch.inference_mode():
        exact = encoder(features, lengths).values
        with torch.autocast("cpu", dtype=precision):
            rounded = encoder(features, lengths).values
    assert (rounded.float() - exact)[1, :10].abs().max() < 0.1


class Averages(SpeechEncoder):
    """Encoder of another project: means of groups of frames, with a linear layer."""

    def __init__(self, config: SpeechEncoderConfig, mel_bins: int) -> None:
        super().__init__(config, mel_bins)
        self.enter = nn.Linear(mel_bins, config.size)
        self.output_size = config.size

    @staticmethod
    def check(config: SpeechEncoderConfig) -> None:
        pass

    def layer_outputs(self, features, lengths):
        groups = self.enter(features).split(self.time_reduction, 1)
        yield (
            torch.stack([group.mean(1) for group in groups], 1),
            -(-lengths // self.time_reduction),
        )

    def memory_of(self, outputs: Tensor, lengths: Tensor) -> Memory:
        return Memory(outputs, lengths, outputs.mean(1))

    def frame_time(self, frame: float) -> float:
        return frame * self.time_reduction / 100

    def frame_center(self, frame: float) -> float:
        return self.frame_time(frame + 0.5)

    def frame_seconds(self, layer: int) -> float:
        return self.time_reduction / 100


def test_an_encoder_from_outside_encodes_and_has_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPEECH_ENCODERS, "averages", Averages)
    encoder = SpeechEncoderConfig(kind="averages", size=6, time_reduction=10)
    decoder = DecoderConfig(size=8, attention_size=8, embedding_size=4)
    features = FeatureConfig(mel_bins=20, edge_frames=5)
    config = Config(speech_encoder=encoder, features=features, decoder=decoder)
    tokenizer = CharacterTokenizer("ab ")
    model = Seq2Seq(config, len(tokenizer)).eval()
    waveform = 0.1 * torch.randn(16_000)
    memory = model.encode("speech", waveform[None], torch.tensor([16_000]))
    assert memory.values.shape == (1, 12, 6)
    assert compute_spectrogram(model, waveform).times(2) == pytest.approx([0.0, 0.1])
    output = tokenizer.encode("ab ba")
    (alignment,) = align(model, memory, [output], torch.zeros(1, 0, dtype=torch.long))
    words = align_words(model, tokenizer, output, alignment, waveform.numpy())
    assert [word.text for word in words] == ["ab", "ba"]
    assert 0.0 <= words[0].start <= words[0].end <= words[1].start <= words[1].end <= 1.0


def test_pyramid_is_the_default() -> None:
    assert isinstance(Seq2Seq(Config(), 5).speech, PyramidEncoder)
