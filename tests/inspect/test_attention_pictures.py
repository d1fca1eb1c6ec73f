"""Attention weights of a given output, and pictures of them."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Literal

import matplotlib.image
import numpy as np
import pytest
import torch

from asr_s2s.config import (
    Config,
    DecoderConfig,
    FeatureConfig,
    ModelConfig,
    SpeechEncoderConfig,
    TextConfig,
    TextEncoderConfig,
)
from asr_s2s.data.datasets import SpeechDataset, TextDataset
from asr_s2s.inspect.attention import AttentionMap, Spectrogram, attention_map, draw_attention
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import CharacterTokenizer

DECODER = DecoderConfig(attention="additive", size=8, attention_size=8, embedding_size=8)


def diagonal(output: list[str], source: list[str]) -> AttentionMap:
    """Attention weights with a maximum along the diagonal."""
    weights = np.full((len(output), len(source)), 0.1, np.float32)
    rows = np.arange(len(output))
    weights[rows, rows * len(source) // len(output)] = 1.0
    return AttentionMap(weights / weights.sum(1, keepdims=True), output, source)


def speech_model(encoder: SpeechEncoderConfig, edge_frames: int) -> tuple[Seq2Seq, SpeechDataset]:
    features = FeatureConfig(normalization="global", edge_frames=edge_frames)
    config = Config(speech_encoder=encoder, features=features, decoder=DECODER)
    output = Output(CharacterTokenizer("abc "), str.lower)
    return Seq2Seq(config, len(output.tokenizer)).eval(), SpeechDataset(output)


@pytest.mark.parametrize("edge_frames", [0, 8, 13])
@pytest.mark.parametrize(
    ("kind", "convolutions", "reduction"),
    [
        ("pyramid", 0, 1),
        ("pyramid", 0, 4),
        ("pyramid", 1, 8),
        ("pyramid", 2, 4),
        ("conformer", 0, 1),
        ("conformer", 0, 4),
    ],
)
def test_times_of_weights_match_the_position_of_a_click(
    kind: Literal["pyramid", "conformer"], convolutions: int, reduction: int, edge_frames: int
) -> None:
    encoder = SpeechEncoderConfig(
        kind=kind,
        convolution_layers=convolutions,
        layers=2,
        size=16,
        time_reduction=reduction,
        kernel_size=7,
    )
    model, dataset = speech_model(encoder, edge_frames)
    noise = 0.001 * torch.randn(24_000)
    click = noise.clone()
    click[12_000 - 80 : 12_000 + 80] += 0.5  # at 0.75 s
    length = torch.tensor(24_000)
    spectrogram = attention_map(model, dataset, click, length, [4]).source
    assert isinstance(spectrogram, Spectrogram)
    assert abs(int(spectrogram.log_mel.mean(1).argmax()) - 75) <= 1
    with torch.inference_mode():
        memories = [model.encode("speech", w[None], length[None]).values for w in (noise, click)]
    change = (memories[1] - memories[0]).norm(dim=-1)[0]
    time = spectrogram.times(len(change))[int(change.argmax())]
    assert abs(time - 0.75) <= max(spectrogram.step, 0.02)


def test_rows_are_language_output_and_end_tokens_and_sum_to_1() -> None:
    config = Config(
        model=ModelConfig(encoders=("text",)),
        text=TextConfig(languages=("de", "fr")),
        text_encoder=TextEncoderConfig(layers=1, size=8, embedding_size=8),
        decoder=DECODER,
    )
    output = Output(CharacterTokenizer("abc "), str.lower, config.text.languages)
    source = CharacterTokenizer("xyz ")
    model = Seq2Seq(config, len(output.tokenizer) + 2, len(source)).eval()
    dataset = TextDataset(output, source, str.lower)
    tokens = torch.tensor([*dataset.source_tokens("X yq"), 0, 0])  # padded, as in a batch
    written = [*output.prompt("fr", "test"), *output.tokenizer.encode("ab")]
    attended = attention_map(model, dataset, tokens, torch.tensor(5), written)
    assert attended.output == ["<fr>", "a", "b", "</s>"]
    assert attended.source == ["x", " ", "y", "<unk>", "</s>"]
    assert attended.weights.shape == (4, 5)
    assert attended.weights.sum(1) == pytest.approx(np.ones(4), abs=1e-5)


def test_picture_of_speech_has_the_spectrogram(tmp_path: Path) -> None:
    model, dataset = speech_model(SpeechEncoderConfig(layers=2, size=16), 8)
    attended = attention_map(model, dataset, 0.1 * torch.randn(9_000), torch.tensor(8_000), [4, 5])
    assert isinstance(attended.source, Spectrogram)
    assert attended.source.seconds == 0.5
    assert attended.source.log_mel.shape == (51, 80)
    draw_attention(tmp_path / "new" / "a.png", attended, "sound.wav")
    height, width, _ = matplotlib.image.imread(tmp_path / "new" / "a.png").shape
    assert 1000 < width < 1600 and 400 < height < 1000
    draw_attention(tmp_path / "a.svg", attended, "sound.wav")
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.svg").stat().st_size < 500_000


def test_pictures_grow_with_the_text_up_to_a_maximum(tmp_path: Path) -> None:
    sizes = []
    for tokens in (5, 25, 300, 1200):
        words = [f"\u2581word{i}" for i in range(tokens)]
        draw_attention(tmp_path / "a.png", diagonal(words, words[:300]))
        sizes.append(matplotlib.image.imread(tmp_path / "a.png").shape[:2])
    assert sizes[0] < sizes[1] < sizes[2]
    assert max(sizes[3]) < 3500  # 23 inches


@pytest.mark.filterwarnings("error")
def test_any_script_and_unusual_characters_are_drawn_without_warnings(tmp_path: Path) -> None:
    tokens = [
        "犬",
        "หมา",
        "कुत्ता",
        "🐕",
        "\U0001d5d4",
        "$x_1$",
        "$",
        " ",
        "\n",
        "\udcff",
        "",
        "x" * 99,
    ]
    attended = diagonal([*tokens, "</s>"], tokens)
    draw_attention(tmp_path / "a.png", attended, "50 $ \udcff.wav")
    draw_attention(tmp_path / "a.svg", attended, "50 $ \udcff.wav")
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


def test_fallback_fonts_are_used_for_missing_characters(tmp_path: Path) -> None:
    pictures = []
    # STIX, which is installed with matplotlib, has circled letters; DejaVu Sans has none.
    for letter in "\u24b6\u24b7":
        draw_attention(tmp_path / "a.png", diagonal([letter], [letter]))
        pictures.append(matplotlib.image.imread(tmp_path / "a.png"))
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any()  # boxes for missing characters would be equal
