"""The model folder: everything needed to use a model, portable and loadable offline.

```
config.yaml          sections of the configuration that make the model (SECTIONS)
model.safetensors    weights, 8, 16 or 32 bit
tokenizer.*          the vocabulary of the output
source_tokenizer.*   that of a text source, where it is another one
ngram.safetensors    an n-gram model for its search, if any
language_model/      model folder of an LSTM language model for its search, if any
README.md            model card: data, license, command, measured figures
```
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from asr_s2s.config import Config
from asr_s2s.config_file import from_dict, to_dict
from asr_s2s.errors import ConfigError, ModelError
from asr_s2s.model.language_model import LanguageModel, LanguageModels, is_language_model
from asr_s2s.model.low_precision import (
    multiplies_int8,
    restore_matrices,
    round_matrices,
    use_low_precision,
)
from asr_s2s.model.ngram_file import NGRAM_FILE, load_ngram
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.model.word_ngram import WordNgramModel
from asr_s2s.text.phonemes import PhonemeTokenizer
from asr_s2s.text.tokenizer import Tokenizer
from asr_s2s.text.vocabulary import load_tokenizer

FORMAT = 1
"""Version of the layout above; a folder of a later version is refused."""
SECTIONS = (
    "text", "source_text", "model", "features", "speech_encoder", "text_encoder", "decoder",
    "objective", "search",
)  # fmt: skip
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
"""Of a model file's matrices."""
LANGUAGE_MODEL_SECTIONS = ("text", "model", "language_model")
LANGUAGE_MODEL_FOLDER = "language_model"
"""Name of a language model's folder within that of a model."""


class LoadedModel(NamedTuple):
    """A model with what it needs to read sound and write text."""

    model: Seq2Seq
    tokenizer: Tokenizer
    """Of the output."""
    source_tokenizer: Tokenizer | None
    """Of a text source; the output's own where they are joint."""
    config: Config
    folder: Path
    language_models: LanguageModels = LanguageModels()


def pretrained_names() -> list[str]:
    """Names of the models that ship with the package."""
    shipped = Path(str(resources.files("asr_s2s"))) / "pretrained"
    return sorted(path.parent.name for path in shipped.glob("*/config.yaml"))


def find_model(model: str | Path) -> Path:
    """The folder of a shipped model's name, or of a path.

    Raises:
        ModelError: neither exists.
    """
    if str(model) in pretrained_names():
        return Path(str(resources.files("asr_s2s"))) / "pretrained" / str(model)
    folder = Path(model)
    if not folder.is_dir():
        raise ModelError(
            folder,
            "there is no such model folder, and no shipped model of that name",
            f"Shipped models: {', '.join(pretrained_names()) or 'none'}",
        )
    return folder


def own_folder(model: str | Path) -> Path:
    """A model folder that may be changed.

    Raises:
        ModelError: there is none, or the name is that of a shipped model.
    """
    folder = find_model(model)
    if str(model) in pretrained_names():
        raise ModelError(
            model,
            "this model ships with the package and stays as it is",
            f"Copy its folder {folder}, and name the copy",
        )
    return folder


def change_search(folder: Path, changes: Mapping[str, float | list[float]]) -> None:
    """Record other values of `search` in the configuration of a model folder.

    Raises:
        ModelError: the folder's configuration cannot be read.
    """
    read_config(folder)
    path = folder / "config.yaml"
    sections = yaml.safe_load(path.read_text("utf-8"))
    sections["search"] = (sections.get("search") or {}) | dict(changes)
    partial = path.with_suffix(".partial")
    partial.write_text(yaml.safe_dump(sections, sort_keys=False), "utf-8")
    partial.replace(path)


def save_model(
    folder: Path,
    config: Config,
    tokenizer: Tokenizer,
    source_tokenizer: Tokenizer | None,
    weights: Mapping[str, Tensor],
    precision: Precision = "fp32",
) -> None:
    """Write a model folder; the model card is the caller's to add.

    Args:
        precision: of matrices. Biases, norms and feature statistics weigh little and stay in 32
            bits; with int8, what is no matrix but larger, as convolutions, is in 16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = to_dict(config)
    names = LANGUAGE_MODEL_SECTIONS if is_language_model(config) else SECTIONS
    sections = {"format": FORMAT} | {name: values[name] for name in names}
    (folder / "config.yaml").write_text(yaml.safe_dump(sections, sort_keys=False), "utf-8")
    tokenizer.save(folder)
    if source_tokenizer is not None and not config.source_text.joint:
        source_tokenizer.save(folder, "source")
    _write_weights(folder / "model.safetensors", weights, precision)


def convert_model(folder: Path, precision: Precision) -> None:
    """Write the weights of a model folder anew, in another precision.

    Raises:
        ModelError: they are missing or damaged.
    """
    path = folder / "model.safetensors"
    _write_weights(path, restore_matrices(_read_weights(path)), precision)


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(
            path.parent, "it holds no model.safetensors", "Copy the whole model folder"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ModelError(
            path, f"these are no weights ({error})", "Copy the folder again"
        ) from error


def _write_weights(path: Path, weights: Mapping[str, Tensor], precision: Precision) -> None:
    tensors = {name: value.detach().to("cpu", torch.float32) for name, value in weights.items()}
    if precision == "int8":
        tensors = round_matrices(tensors)
    if precision != "fp32":
        tensors = {
            name: value.half() if value.ndim > 1 and value.dtype == torch.float32 else value
            for name, value in tensors.items()
        }
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    # Not save_file: it makes files that only their owner can read.
    path.write_bytes(save(tensors))


def load_model(
    model: str | Path, device: str | torch.device = "cpu", *, exact: bool = False
) -> LoadedModel:
    """Load a shipped model by name or a model folder by path, ready for inference: in float32, or
    on CPU with 8-bit integers where its weights are such.

    Args:
        exact: in float32 in any case, as gradients want it.

    Raises:
        ModelError: the folder is missing, incomplete, damaged, or of a later version; or it is that
            of a language model.
    """
    folder = find_model(model)
    config = read_config(folder)
    if is_language_model(config):
        raise ModelError(
            folder,
            "this is a language model, which reads neither speech nor text",
            "Put it into the folder of the model it serves with asr-s2s attach",
        )
    tokenizers = load_tokenizers(folder, config)
    try:
        network = build_model(config, *tokenizers)
    except (ConfigError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            folder / "config.yaml",
            f"no model has these settings ({error})",
            "Copy the folder again",
        ) from error
    _load(network, folder, device, exact)
    tokenizer, source_tokenizer = tokenizers
    language_models = load_language_models(folder, tokenizer, device, exact=exact)
    ngram = language_models.ngram
    if isinstance(tokenizer, PhonemeTokenizer) and isinstance(ngram, WordNgramModel):
        tokenizer = tokenizer.chosen_by(ngram.choose)
    return LoadedModel(network, tokenizer, source_tokenizer, config, folder, language_models)


def load_language_models(
    folder: Path,
    tokenizer: Tokenizer,
    device: str | torch.device = "cpu",
    *,
    exact: bool = False,
) -> LanguageModels:
    """Those that a model folder holds for its search.

    Args:
        tokenizer: of the model's output.
        exact: as `load_model`'s.

    Raises:
        ModelError: one is damaged, or of another vocabulary.
    """
    ngram, recurrent = folder / NGRAM_FILE, folder / LANGUAGE_MODEL_FOLDER
    return LanguageModels(
        load_ngram(ngram, tokenizer).to(device) if ngram.is_file() else None,
        load_language_model(recurrent, tokenizer, device, exact=exact)
        if recurrent.is_dir()
        else None,
    )


def load_language_model(
    folder: Path,
    tokenizer: Tokenizer,
    device: str | torch.device = "cpu",
    *,
    exact: bool = False,
) -> LanguageModel:
    """A language model's folder, ready for inference as `load_model`'s are.

    Raises:
        ModelError: it is none, or damaged, or of another vocabulary than the tokenizer's.
    """
    config = read_config(folder)
    if not is_language_model(config):
        raise ModelError(
            folder,
            "this is not the folder of a language model",
            "Name one that asr-s2s train wrote with model.encoders [none]",
        )
    if load_tokenizer(folder).pieces != tokenizer.pieces:
        raise ModelError(
            folder,
            "this language model is of another vocabulary",
            "Train it with language_model.vocabulary_of naming the model that it serves",
        )
    network = LanguageModel(len(tokenizer), config.language_model)
    _load(network, folder, device, exact)
    return network


def _load(
    network: Seq2Seq | LanguageModel, folder: Path, device: str | torch.device, exact: bool
) -> None:
    """Weights into a network, and the network to where and how it is to compute."""
    rounded = load_weights(network, folder)
    network.to(device).eval()
    on_cpu = torch.device(device).type == "cpu"
    if rounded and on_cpu and not exact and multiplies_int8():
        use_low_precision(network)


def load_tokenizers(folder: Path, config: Config) -> tuple[Tokenizer, Tokenizer | None]:
    """The vocabularies of output and text source in a model folder; the same one where they are
    joint, and no second one where there is no text encoder.

    Raises:
        ModelError: one is missing or damaged.
    """
    tokenizer = load_tokenizer(folder)
    if "text" not in config.model.encoders:
        return tokenizer, None
    return tokenizer, tokenizer if config.source_text.joint else load_tokenizer(folder, "source")


def build_model(
    config: Config, tokenizer: Tokenizer, source_tokenizer: Tokenizer | None
) -> Seq2Seq:
    """A network of random weights for these vocabularies.

    Raises:
        ConfigError: the settings contradict each other.
    """
    outputs = len(tokenizer) + len(config.text.languages)
    return Seq2Seq(config, outputs, len(source_tokenizer) if source_tokenizer else 0)


def load_weights(network: Seq2Seq | LanguageModel, folder: Path) -> bool:
    """Put a model folder's weights into a network of the same settings, in float32.

    Returns:
        Whether the folder holds them as 8-bit integers.

    Raises:
        ModelError: they are missing, damaged, or those of another network.
    """
    path = folder / "model.safetensors"
    weights = _read_weights(path)
    try:
        network.load_state_dict(restore_matrices(weights))
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise ModelError(
            path,
            f"the weights do not fit the settings ({problem})",
            "Use the settings of its config.yaml, or copy the folder again",
        ) from error
    return any(value.dtype == torch.int8 for value in weights.values())


def read_config(folder: Path) -> Config:
    """The configuration of a model folder.

    Raises:
        ModelError: it is missing, damaged, or of a later version.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise ModelError(folder, "it holds no config.yaml", "Name a model folder")
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(path, "this is not valid YAML", "Copy the model folder again") from error
    if not isinstance(values, dict):
        raise ModelError(path, "it holds no settings", "Copy the model folder again")
    version = values.pop("format", FORMAT)
    if version != FORMAT:
        raise ModelError(
            path,
            f"this folder has format {version}; this version of asr_s2s reads {FORMAT}",
            "Upgrade asr_s2s",
        )
    try:
        return from_dict(Config, values, where=str(path))
    except ConfigError as error:
        raise ModelError(error.where, error.problem, error.fix) from error
