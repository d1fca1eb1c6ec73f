import numpy as np
import pytest
import torch

from asr_s2s.config import AugmentConfig, FeatureConfig, SpeechEncoderConfig
from asr_s2s.errors import ConfigError
from asr_s2s.model.encoder import SpeechEncoder, join_pairs, pair_layers
from asr_s2s.nn.recurrent import RecurrentLayer

VARIANTS = [
    SpeechEncoderConfig(convolution_layers=0, layers=3, size=12, time_reduction=8),
    SpeechEncoderConfig(
        convolution_layers=2, convolution_channels=4, layers=2, size=12, time_reduction=4
    ),
    SpeechEncoderConfig(
        convolution_layers=1, convolution_channels=4, layers=3, size=12, time_reduction=8
    ),
]


def make_encoder(config: SpeechEncoderConfig, normalization: str = "utterance") -> SpeechEncoder:
    features = FeatureConfig(mel_bins=20, normalization=normalization, edge_frames=4)
    encoder = SpeechEncoder(config, features, AugmentConfig()).eval()
    for parameter in encoder.parameters():
        if parameter.ndim == 1:  # initial biases are zero and would hide leaks from padding
            torch.nn.init.normal_(parameter, std=0.3)
    return encoder


@pytest.mark.parametrize("normalization", ["utterance", "global"])
@pytest.mark.parametrize("config", VARIANTS)
def test_padding_does_not_change_the_memory(
    config: SpeechEncoderConfig, normalization: str
) -> None:
    encoder = make_encoder(config, normalization)
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
        assert torch.all(together.values[row, frames:] == 0.0)


@pytest.mark.parametrize("config", VARIANTS)
def test_padding_and_other_rows_get_exactly_zero_gradient(config: SpeechEncoderConfig) -> None:
    encoder = make_encoder(config)
    waveforms = (torch.randn(2, 8_000) * 0.1).requires_grad_()
    memory = encoder(waveforms, torch.tensor([8_000, 3_000]))
    memory.values[1].square().sum().backward()
    assert torch.all(waveforms.grad[0] == 0.0)
    assert torch.all(waveforms.grad[1, 3_000:] == 0.0)
    assert torch.any(waveforms.grad[1, :3_000] != 0.0)
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_backward_direction_starts_at_the_end_of_each_row() -> None:
    layer = RecurrentLayer(3, 4)
    inputs = torch.randn(2, 6, 3)
    outputs = layer(inputs, torch.tensor([6, 4]))
    expected, _ = layer.back(inputs[1, :4].flip(0))
    torch.testing.assert_close(outputs[1, :4, 4:], expected.flip(0))


def test_pyramid_concatenates_pairs_of_frames() -> None:
    inputs = torch.arange(10.0).view(1, 5, 2)
    joined, lengths = join_pairs(inputs, torch.tensor([5]))
    assert joined.tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]]]
    assert lengths.tolist() == [3]


@pytest.mark.parametrize("config", VARIANTS)
def test_time_is_reduced_as_configured(config: SpeechEncoderConfig) -> None:
    memory = make_encoder(config)(torch.randn(1, 16_000), torch.tensor([16_000]))
    frames = 101 + 2 * 4
    assert int(memory.lengths) == int(np.ceil(frames / config.time_reduction))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"time_reduction": 6}, "power of 2"), ({"time_reduction": 32, "layers": 3}, "reduce time")],
)
def test_impossible_time_reduction_is_rejected(changes: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        pair_layers(SpeechEncoderConfig(**changes))
