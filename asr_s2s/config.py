"""Configuration: one frozen dataclass per section, read from YAML with `a.b=c` overrides.

Every key that a YAML file may hold is a field below, and each field carries its own
documentation. An unknown key is an error that names the nearest known one.
"""

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from asr_s2s.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How transcripts become token ids."""

    normalizer: str = "verbatim"
    """Name of a normaliser in `text/normalize.py`; recorded in the model folder."""
    tokenizer: Literal["characters", "sentencepiece"] = "characters"
    vocabulary_size: int = 500
    """Size of a sentencepiece vocabulary, specials included; characters take what there is."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which utterances, and how they are batched."""

    train: tuple[str, ...] = ()
    """Training manifests (lhotse, JSONL or TSV), relative to the configuration file."""
    valid: tuple[str, ...] = ()
    """Validation manifests; the model is chosen by its word error rate here."""
    batch_seconds: float = 100.0
    """Seconds of audio in a batch, padding included, before speed perturbation."""
    max_seconds: float = 20.0
    """Longer utterances are left out of training (and counted)."""
    buckets: int = 8
    """Utterances of similar length are batched together, in this many groups."""
    workers: int = 1
    """Processes that read and augment audio; 0 reads in the training process."""
    short_first: bool = True
    """In the first epoch, batches come in order of length, which helps attention to align."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Changes made to training audio, never to validation or test audio."""

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Speed factors drawn with equal chance (Ko et al., 2015); (1.0,) switches it off."""
    gain_db: float = 6.0
    """Level changes drawn uniformly from -gain_db to +gain_db."""
    noise_probability: float = 0.0
    """Chance that an utterance gets additive noise."""
    noise_snr_db: tuple[float, float] = (5.0, 30.0)
    """Lowest and highest signal-to-noise ratio of added noise."""
    noise_folder: str | None = None
    """Folder of noise recordings, relative to the configuration file; without it, noise of a random
    spectral slope is made."""
    frequency_masks: int = 2
    """SpecAugment (Park et al., 2019): masked bands per utterance."""
    frequency_mask_bins: int = 15
    """Widest masked band, in mel bins."""
    time_masks: int = 2
    """SpecAugment: masked spans per utterance."""
    time_mask_frames: int = 40
    """Longest masked span, in 10 ms frames."""
    time_mask_fraction: float = 0.15
    """No masked span is longer than this part of the utterance."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Log-mel features: 25 ms windows every 10 ms."""

    mel_bins: int = 80
    normalization: Literal["global", "utterance"] = "utterance"
    """Mean and variance over the training set, or over each utterance."""
    edge_frames: int = 0
    """Frames of mean level added at both ends, so that CTC has room for the shortest words."""


@dataclass(frozen=True, kw_only=True)
class SpeechEncoderConfig:
    """Convolutional front and pyramidal BiLSTM (Chan et al., 2016)."""

    convolution_layers: int = 0
    """Convolution blocks in front; each halves the time and the mel axis."""
    convolution_channels: int = 32
    layers: int = 3
    """BiLSTM layers."""
    size: int = 256
    """LSTM units in each direction."""
    time_reduction: int = 4
    """Input frames per encoder output: a power of 2. What the convolutions do not reduce, the
    upper BiLSTM layers do by concatenating pairs of frames. 8 suits subwords; characters of fluent
    speech need 4."""
    dropout: float = 0.2


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Attention and the LSTM speller."""

    attention: Literal["additive", "dot", "location", "multihead"] = "location"
    attention_size: int = 256
    attention_heads: int = 4
    """Heads of multi-head attention."""
    location_filters: int = 10
    """Filters over the previous alignment in location-aware attention."""
    location_width: int = 31
    """Width of those filters, in encoder frames (odd)."""
    input_feeding: bool = True
    """True: the LSTM reads the previous context (LAS). False: a first LSTM layer forms the query
    without context, so training unrolls in fused calls (the query layer)."""
    size: int = 256
    layers: int = 1
    """LSTM layers; with a query layer, those above it."""
    embedding_size: int = 128
    dropout: float = 0.2


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What training minimises."""

    ctc_weight: float = 0.3
    """Part of the joint loss given to CTC (Kim et al., 2017); 0 builds no CTC head."""
    label_smoothing: float = 0.1
    scheduled_sampling: float = 0.0
    """Final chance that a decoder input is the model's own guess (Bengio et al., 2015)."""
    scheduled_sampling_start: int = 0
    """Step at which scheduled sampling begins; it rises to its final value over as many again."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Beam search defaults; recorded with the model."""

    beam_size: int = 8
    """1 is greedy search."""
    ctc_weight: float = 0.3
    """Weight of the CTC prefix score beside the attention score (Hori et al., 2017)."""
    candidates: int = 20
    """Tokens per hypothesis that attention hands to the other scorers at each step."""
    length_normalization: float = 1.0
    """Finished scores are divided by length ** length_normalization."""
    end_threshold: float | None = 1.5
    """The end token must score above end_threshold x the best other token (log-probabilities),
    as in Hannun et al. (2019); null switches it off."""
    min_length_ratio: float = 0.0
    """Fewest output tokens, as a part of the encoder frames."""
    max_length_ratio: float = 1.0
    """Most output tokens, as a part of the encoder frames."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The optimisation."""

    initialize: str | None = None
    """Model to start from instead of random weights, to fine-tune it: a shipped name, or a model
    folder relative to the configuration file. Its vocabulary is kept."""
    steps: int = 10_000
    """Optimiser steps in all."""
    seed: int = 1
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 1e-2
    schedule: Literal["inverse_sqrt", "cosine", "linear", "constant"] = "cosine"
    """Decay after the warm-up."""
    warmup_steps: int = 500
    final_learning_rate: float = 0.01
    """Learning rate at the last step, as a part of the peak (cosine and linear)."""
    clip_norm: float = 5.0
    accumulate: int = 1
    """Batches whose gradients are averaged into one optimiser step."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    validate_every: int = 500
    """Steps between validations, each with the real beam search."""
    validation_beam_size: int = 1
    checkpoint_every: int = 200
    """Steps between resumable checkpoints (also written at each validation and on Ctrl-C)."""
    log_every: int = 20
    keep_best: int = 5
    """Best checkpoints by validation word error rate, averaged into the final model."""
    saved_precision: Literal["fp32", "fp16"] = "fp32"
    """Precision of the matrices in the final model folder; fp16 halves its size."""
    patience: int = 0
    """Validations without improvement before stopping early; 0 never stops early."""
    attention_pictures: int = 2
    """Validation utterances whose attention is drawn at each validation."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run: everything that `asr-s2s train` reads."""

    text: TextConfig = field(default_factory=TextConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    speech_encoder: SpeechEncoderConfig = field(default_factory=SpeechEncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def load_config(path: str | Path, overrides: typing.Sequence[str] = ()) -> Config:
    """Read a YAML file and apply `a.b=c` overrides.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown (the nearest is named),
            or a value has the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = Path(path)
    if not path.is_file():
        raise ConfigError(path, "there is no such configuration file", "Check the path")
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key:
            raise ConfigError(
                override, "an override reads key=value", "Write for example train.steps=2000"
            )
    try:
        read = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(path, f"this is not valid YAML: {problem}", "Correct the file") from error
    try:
        merged = OmegaConf.merge(read, OmegaConf.from_dotlist(list(overrides)))
        values = OmegaConf.to_container(merged, resolve=True)
    except (YAMLError, OmegaConfBaseException, TypeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            f"{path} {' '.join(overrides)}".strip(),
            f"these cannot be put together: {problem}",
            "A configuration is sections of key: value pairs, and an override section.key=value",
        ) from error
    return from_dict(Config, values, where=str(path))


def from_dict(kind: type[T], values: Any, *, where: str) -> T:
    """Build a configuration dataclass from plain values, checking keys and types."""
    built: T = _convert(kind, values, where, "")
    return built


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values of a configuration dataclass, ready for YAML."""
    return {
        key: list(value)
        if isinstance(value, tuple)
        else to_dict(value)
        if dataclasses.is_dataclass(value)
        else value
        for key, value in ((f.name, getattr(config, f.name)) for f in dataclasses.fields(config))
    }


def _convert(kind: Any, value: Any, where: str, key: str) -> Any:
    """`value` as the type `kind`, or a ConfigError that names `key`."""

    def wrong(expected: str) -> ConfigError:
        return ConfigError(
            f"{where}: {key}" if key else where,
            f"expected {expected}, found {value!r}",
            "Correct the value",
        )

    if dataclasses.is_dataclass(kind):
        if value is None and not key:
            value = {}
        if not isinstance(value, dict):
            raise wrong("a section of key: value pairs")
        hints = typing.get_type_hints(kind)
        for name in value:
            if name not in hints:
                dotted = f"{key}.{name}" if key else str(name)
                raise ConfigError(
                    f"{where}: {dotted}",
                    "there is no such key",
                    _nearest(str(name), list(hints), key),
                )
        prefix = f"{key}." if key else ""
        converted = {
            name: _convert(hints[name], v, where, f"{prefix}{name}") for name, v in value.items()
        }
        return typing.cast(Any, kind)(**converted)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(arguments[0], value, where, key)
    if origin is Literal:
        if value not in arguments:
            raise wrong("one of " + ", ".join(arguments))
        return value
    if origin is tuple:
        items = [value] if isinstance(value, (str, int, float)) else value
        if not isinstance(items, (list, tuple)):
            raise wrong("a list")
        if arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise wrong(f"a list of {len(arguments)} values")
        return tuple(_convert(arguments[0], item, where, key) for item in items)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind in (str, bool) and isinstance(value, kind):
        return value
    names = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
    raise wrong(names[kind])


def _nearest(name: str, known: list[str], section: str) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {section + '.' if section else ''}{near[0]}"
    return f"Known keys{' of ' + section if section else ''}: {', '.join(known)}"
