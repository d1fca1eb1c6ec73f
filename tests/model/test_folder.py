from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from asr_s2s.config import Config, DecoderConfig, FeatureConfig, SpeechEncoderConfig
from asr_s2s.errors import ModelError
from asr_s2s.model.folder import find_model, load_model, pretrained_names, save_model
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.tokenizer import CharacterTokenizer

CONFIG = Config(
    features=FeatureConfig(mel_bins=16),
    speech_encoder=SpeechEncoderConfig(layers=2, size=8, time_reduction=4),
    decoder=DecoderConfig(attention_size=8, size=8, embedding_size=4),
)
TOKENIZER = CharacterTokenizer("abc")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = Seq2Seq(CONFIG, len(TOKENIZER))
    save_model(tmp_path / "model", CONFIG, TOKENIZER, None, model.state_dict())
    return tmp_path / "model"


def test_a_saved_model_loads_unchanged(tmp_path: Path) -> None:
    model = Seq2Seq(CONFIG, len(TOKENIZER)).eval()
    save_model(tmp_path, CONFIG, TOKENIZER, None, model.state_dict())
    loaded = load_model(tmp_path)
    assert loaded.config == CONFIG
    assert loaded.tokenizer.pieces == TOKENIZER.pieces
    assert not loaded.model.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)


def test_sixteen_bit_weights_halve_the_size_and_load_as_float32(tmp_path: Path) -> None:
    weights = Seq2Seq(CONFIG, len(TOKENIZER)).state_dict()
    save_model(tmp_path / "32", CONFIG, TOKENIZER, None, weights)
    save_model(tmp_path / "16", CONFIG, TOKENIZER, None, weights, "fp16")
    sizes = [(tmp_path / bits / "model.safetensors").stat().st_size for bits in ("16", "32")]
    assert sizes[0] < 0.6 * sizes[1]
    assert all(p.dtype == torch.float32 for p in load_model(tmp_path / "16").model.parameters())


def test_statistics_of_features_keep_their_names_in_files(tmp_path: Path) -> None:
    loaded = load_model("digits", exact=True)  # trained before the frontend was a module of its own
    stored = load_file(find_model("digits") / "model.safetensors")
    for statistic in ("mean", "std"):
        value = stored[f"encoders.speech.normalize.{statistic}"].float()
        assert torch.equal(getattr(loaded.model.frontend.normalize, statistic), value)
    weights = loaded.model.state_dict()
    save_model(tmp_path, loaded.config, loaded.tokenizer, None, weights)
    assert load_file(tmp_path / "model.safetensors").keys() == weights.keys()
    assert {name.removesuffix(".scale") for name in stored} == weights.keys()


def test_a_folder_without_a_kind_of_speech_encoder_has_a_pyramid(folder: Path) -> None:
    path = folder / "config.yaml"
    lines = path.read_text().splitlines(keepends=True)
    added = ("kind:", "heads:", "feedforward_size:", "kernel_size:")
    start = lines.index("speech_encoder:\n")
    end = lines.index("text_encoder:\n")
    kept = [line for line in lines[start:end] if not line.strip().startswith(added)]
    assert len(kept) == end - start - len(added)
    path.write_text("".join([*lines[:start], *kept, *lines[end:]]))
    assert load_model(folder).config == CONFIG


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_reported(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError):
        load_model(folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.safetensors", b"garbage", "not a valid safetensors file"),
        ("config.yaml", b"text: {tokenizer: [", "not valid YAML"),
        ("config.yaml", b"format: 99\n", "has format 99"),
        ("config.yaml", b"", "has no settings"),
        ("config.yaml", b"decoder: {size: 16}\n", "the weights do not fit"),
        ("config.yaml", b"decoder: {sise: 16}\n", "Did you mean decoder.size"),
    ],
)
def test_a_damaged_file_is_reported(folder: Path, name: str, content: bytes, words: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        load_model(folder)


@pytest.mark.parametrize("name", pretrained_names())
def test_shipped_models_are_small_and_have_a_model_card(name: str) -> None:
    loaded = load_model(name)
    size = sum(path.stat().st_size for path in loaded.folder.iterdir())
    assert size <= {"digits": 12e6, "english": 60e6}.get(name, 25e6)
    card = (loaded.folder / "README.md").read_text("utf-8").lower()
    assert "license" in card
    assert (loaded.config.text.metric == "bleu" and "bleu" in card) or "word error rate" in card


def rewrite_weights(folder: Path, **changes: torch.Tensor) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | {k.replace("__", "."): v for k, v in changes.items()}, path)


def test_weights_that_are_not_finite_are_reported(folder: Path) -> None:
    name, value = next(iter(load_file(folder / "model.safetensors").items()))
    rewrite_weights(folder, **{name: torch.full_like(value, float("nan"))})
    with pytest.raises(ModelError, match=f"{name} has values that are not finite"):
        load_model(folder)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float64, torch.int8])
def test_weights_of_a_wrong_type_are_reported(folder: Path, dtype: torch.dtype) -> None:
    name, value = next(iter(load_file(folder / "model.safetensors").items()))
    rewrite_weights(folder, **{name: value.to(dtype)})
    with pytest.raises(ModelError, match=name) as caught:
        load_model(folder)
    assert caught.value.where.endswith("model.safetensors")


def test_weights_of_a_wrong_shape_are_named(folder: Path) -> None:
    rewrite_weights(folder, decoder__embedding__weight=torch.zeros(3, 5))
    with pytest.raises(ModelError, match=r"decoder\.embedding\.weight: expected shape .* \(3, 5\)"):
        load_model(folder)


def test_settings_that_need_more_memory_than_there_is_are_refused(folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("  size: 8\n", "  size: 1000000\n"))
    with pytest.raises(ModelError, match="do not fit the settings"):
        load_model(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "[" * 100_000),
        ("tokenizer.json", '{"kind": "characters", "units": "abc"}'),
        ("tokenizer.json", '{"kind": "words", "units": ["a", 1]}'),
        ("tokenizer.json", '{"kind": "phonemes", "units": [" ", "a"], "lexicon": {"word": []}}'),
        ("tokenizer.json", '{"kind": "phonemes", "units": [" ", "a"], "lexicon": {"word": "a"}}'),
        ("config.yaml", "{" * 100_000),
        ("config.yaml", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
        ("config.yaml", f"search: {{beam_size: {'9' * 5000}}}\n"),
        ("config.yaml", "search: 2001-99-99\n"),
        ("config.yaml", "speech_encoder: {layers: 1000000000}\n"),
        ("config.yaml", "features: {mel_bins: 1000000000}\n"),
        ("config.yaml", "#" * 2_000_000),
        ("config.yaml", "format: [1]\n"),
    ],
)
def test_hostile_text_files_are_refused(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert name in caught.value.where
    assert len(str(caught.value)) < 1_000
