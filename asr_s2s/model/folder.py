"""Reading and writing model folders, which are self-contained and load offline.

```
config.yaml          the model's sections of the configuration (SECTIONS)
model.safetensors    weights in 8, 16 or 32 bits
tokenizer.*          vocabulary of the output
source_tokenizer.*   vocabulary of a text source, unless it is that of the output
ngram.safetensors    n-gram model for decoding (optional)
language_model/      model folder of an LSTM language model for decoding (optional)
README.md            model card: data, license, training command, measured accuracy
```
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import yaml
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from asr_s2s.config import Config
from asr_s2s.config_file import from_dict, to_dict
from asr_s2s.errors import ConfigError, ModelError, TextError
from asr_s2s.lm.language_model import LanguageModel, LanguageModels, is_language_model
from asr_s2s.lm.ngram_file import NGRAM_FILE, load_ngram
from asr_s2s.lm.word_ngram import WordNgramModel
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.model.weights import (
    Precision,
    apply_weights,
    check_shapes,
    read_weights,
    write_weights,
)
from asr_s2s.nn.low_precision import use_low_precision
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.phonemes import PhonemeTokenizer
from asr_s2s.text.tokenizer import Tokenizer
from asr_s2s.text.vocabulary import load_tokenizer
from asr_s2s.text_files import write_text

FORMAT = 1
"""Version of the layout above; folders of other versions are rejected."""
SECTIONS = (
    "text", "source_text", "model", "features", "speech_encoder", "text_encoder", "decoder",
    "objective", "search",
)  # fmt: skip
LARGEST_CONFIG = 1_000_000
"""Maximum size of config.yaml in bytes."""
LANGUAGE_MODEL_SECTIONS = ("text", "model", "language_model")
LANGUAGE_MODEL_FOLDER = "language_model"
"""Name of the language model's folder within a model folder."""

Network = TypeVar("Network", Seq2Seq, LanguageModel)


class LoadedModel(NamedTuple):
    """A model with its tokenizers, configuration and language models."""

    model: Seq2Seq
    tokenizer: Tokenizer
    """Tokenizer of the output."""
    source_tokenizer: Tokenizer | None
    """Tokenizer of a text source; the same as `tokenizer` if they are joint."""
    config: Config
    folder: Path
    language_models: LanguageModels = LanguageModels()


def pretrained_names() -> list[str]:
    """Return the names of the models that ship with the package."""
    shipped = Path(str(resources.files("asr_s2s"))) / "pretrained"
    return sorted(path.parent.name for path in shipped.glob("*/config.yaml"))


def find_model(model: str | Path) -> Path:
    """Return the folder of a shipped model by name, or of a model by path.

    Raises:
        ModelError: there is no such model.
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
    """Return a model folder that may be changed.

    Raises:
        ModelError: there is no such folder, or the model is a shipped one.
    """
    folder = find_model(model)
    if str(model) in pretrained_names():
        raise ModelError(
            model,
            "this model ships with the package and cannot be changed",
            f"Copy its folder {folder} and use the copy",
        )
    return folder


def change_search(folder: Path, changes: Mapping[str, float | list[float]]) -> None:
    """Change values of section `search` in the configuration of a model folder.

    Raises:
        ModelError: the folder's configuration cannot be read.
    """
    read_config(folder)
    path = folder / "config.yaml"
    sections = yaml.safe_load(path.read_text("utf-8"))
    sections["search"] = (sections.get("search") or {}) | dict(changes)
    write_text(path, yaml.safe_dump(sections, sort_keys=False))


def save_model(
    folder: Path,
    config: Config,
    tokenizer: Tokenizer,
    source_tokenizer: Tokenizer | None,
    weights: Mapping[str, Tensor],
    precision: Precision = "fp32",
) -> None:
    """Write a model folder without its model card.

    Args:
        precision: as in `write_weights`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = to_dict(config)
    names = LANGUAGE_MODEL_SECTIONS if is_language_model(config) else SECTIONS
    sections = {"format": FORMAT} | {name: values[name] for name in names}
    write_text(folder / "config.yaml", yaml.safe_dump(sections, sort_keys=False))
    tokenizer.save(folder)
    if source_tokenizer is not None and not config.source_text.joint:
        source_tokenizer.save(folder, "source")
    write_weights(folder, weights, precision)


def load_model(
    model: str | Path, device: str | torch.device = "cpu", *, exact: bool = False
) -> LoadedModel:
    """Load a shipped model by name or a model folder by path, ready for inference.

    It computes in float32, or on CPU in low precision if its weights are stored as 8-bit integers.

    Args:
        exact: always compute in float32, which gradients require.

    Raises:
        ModelError: the folder is missing, incomplete, damaged, of another version, or holds a
            language model.
    """
    folder = find_model(model)
    config = read_config(folder)
    if is_language_model(config):
        raise ModelError(
            folder,
            "this is a language model; expected a recognition or translation model",
            "Attach it to the folder of such a model with asr-s2s attach",
        )
    try:
        normalizer(config.text.normalizer)
        normalizer(config.source_text.normalizer)
    except TextError as error:
        problem = f"{error.where}: {error.problem}"
        raise ModelError(folder / "config.yaml", problem, error.fix) from error
    tokenizer, source_tokenizer = load_tokenizers(folder, config)
    network = _load(lambda: build_model(config, tokenizer, source_tokenizer), folder, device, exact)
    language_models = load_language_models(folder, tokenizer, device, exact=exact)
    ngram = language_models.ngram
    if isinstance(tokenizer, PhonemeTokenizer) and isinstance(ngram, WordNgramModel):
        tokenizer = tokenizer.with_choice(ngram.choose)
    return LoadedModel(network, tokenizer, source_tokenizer, config, folder, language_models)


def load_language_models(
    folder: Path,
    tokenizer: Tokenizer,
    device: str | torch.device = "cpu",
    *,
    exact: bool = False,
) -> LanguageModels:
    """Load the language models in a model folder.

    Args:
        tokenizer: of the model's output.
        exact: as in `load_model`.

    Raises:
        ModelError: a language model is damaged or has another vocabulary.
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
    """Load a language model from its folder, ready for inference; arguments are as in
    `load_language_models`.

    Raises:
        ModelError: the folder is not that of a language model, is damaged, or has another
            vocabulary than the tokenizer.
    """
    config = read_config(folder)
    if not is_language_model(config):
        raise ModelError(
            folder,
            "this is not the folder of a language model",
            "Use one that was trained with model.encoders [none]",
        )
    if load_tokenizer(folder).pieces != tokenizer.pieces:
        raise ModelError(
            folder,
            "this language model has another vocabulary than the model",
            "Train it with language_model.vocabulary_of set to the model",
        )
    return _load(
        lambda: LanguageModel(len(tokenizer), config.language_model), folder, device, exact
    )


def _load(
    build: Callable[[], Network], folder: Path, device: str | torch.device, exact: bool
) -> Network:
    """Build a network, load its weights, move it to the device, and set its precision."""
    weights = read_weights(folder)
    try:
        with torch.device("meta"), _Uninitialized():  # settings may ask for any amount of memory
            check_shapes(folder, weights, build())
        network = build()
    except (ConfigError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            folder / "config.yaml",
            f"no model can be built from these settings ({error})",
            "Copy the folder again",
        ) from error
    rounded = apply_weights(network, weights, folder)
    network.to(device).eval()
    on_cpu = torch.device(device).type == "cpu"
    if rounded and on_cpu and not exact:
        use_low_precision(network)
    return network


def load_tokenizers(folder: Path, config: Config) -> tuple[Tokenizer, Tokenizer | None]:
    """Load the tokenizers of the output and of the text source; they are the same object if joint,
    and the second is None without a text encoder.

    Raises:
        ModelError: a tokenizer is missing or damaged.
    """
    tokenizer = load_tokenizer(folder)
    if "text" not in config.model.encoders:
        return tokenizer, None
    return tokenizer, tokenizer if config.source_text.joint else load_tokenizer(folder, "source")


def build_model(
    config: Config, tokenizer: Tokenizer, source_tokenizer: Tokenizer | None
) -> Seq2Seq:
    """Build a network with random weights for these vocabularies.

    Raises:
        ConfigError: the settings contradict each other.
    """
    outputs = len(tokenizer) + len(config.text.languages)
    return Seq2Seq(config, outputs, len(source_tokenizer) if source_tokenizer else 0)


def read_config(folder: Path) -> Config:
    """Read the configuration of a model folder.

    Raises:
        ModelError: the configuration is missing, damaged, or of another version.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise ModelError(folder, "the folder has no config.yaml", "Use a model folder")
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError("too large")
        values = yaml.load(path.read_text("utf-8"), _PlainLoader)
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise ModelError(path, "this is not valid YAML", "Copy the model folder again") from error
    if not isinstance(values, dict):
        raise ModelError(path, "the file has no settings", "Copy the model folder again")
    version = values.pop("format", FORMAT)
    if version != FORMAT:
        raise ModelError(
            path,
            f"the folder has format {version}; this version of asr_s2s reads format {FORMAT}",
            "Upgrade asr_s2s",
        )
    try:
        return from_dict(Config, values, where=str(path))
    except ConfigError as error:
        raise ModelError(error.where, error.problem, error.fix) from error


class _Uninitialized(TorchFunctionMode):
    """Skips the initialization of weights. On the meta device it would import torch's compiler,
    which takes over a second."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return given.get("tensor", args[0] if args else None)
        return func(*args, **given)


class _PlainLoader(yaml.SafeLoader):
    """YAML without references to other parts of the file, with which a short file can stand for
    one of any size."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references are not allowed")
        return super().compose_node(parent, index)
