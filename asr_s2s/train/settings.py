"""Checks of the configuration before a run starts, rather than hours into it."""

from collections.abc import Callable
from pathlib import Path

import torch

from asr_s2s.config import Config
from asr_s2s.errors import ConfigError, TextError
from asr_s2s.metrics.metric import find_metric
from asr_s2s.metrics.translation import check_settings as check_scores
from asr_s2s.model.decoder import check_decoder
from asr_s2s.model.encoder import pair_layers
from asr_s2s.model.folder import find_model, pretrained_names
from asr_s2s.model.seq2seq import check_encoders
from asr_s2s.search.beam import check_beam_size, check_search
from asr_s2s.search.decode import check_attended

POSITIVE = (
    "text.vocabulary_size", "source_text.vocabulary_size", "data.batch_seconds",
    "data.max_seconds", "data.batch_tokens", "data.max_tokens", "data.buckets", "features.mel_bins",
    "augment.room_seconds",
    "speech_encoder.convolution_channels", "speech_encoder.layers", "speech_encoder.size",
    "text_encoder.layers", "text_encoder.size", "text_encoder.embedding_size",
    "text_encoder.heads", "text_encoder.feedforward_size", "decoder.attention_size",
    "decoder.attention_heads", "decoder.location_filters", "decoder.location_width",
    "decoder.size", "decoder.layers", "decoder.embedding_size", "language_model.layers",
    "language_model.size", "language_model.embedding_size", "objective.ctc_per_frame",
    "distill.layer", "train.steps", "train.learning_rate",
    "train.clip_norm", "train.accumulate", "train.average_every", "train.validate_every",
    "train.validation_beam_size", "train.checkpoint_every", "train.log_every", "train.keep_best",
)  # fmt: skip
NOT_NEGATIVE = (
    "text.sampling", "source_text.sampling", "data.workers", "augment.gain_db",
    "augment.frequency_masks", "augment.frequency_mask_bins", "augment.time_masks",
    "augment.time_mask_frames", "features.edge_frames", "speech_encoder.convolution_layers",
    "objective.scheduled_sampling_start", "distill.weight", "train.seed", "train.weight_decay",
    "train.warmup_steps", "train.patience", "train.attention_pictures",
)  # fmt: skip
FRACTIONS = (
    "text.character_coverage", "source_text.character_coverage", "augment.noise_probability",
    "augment.room_probability", "augment.telephone_probability",
    "augment.time_mask_fraction", "speech_encoder.dropout", "text_encoder.dropout",
    "decoder.dropout", "language_model.dropout", "objective.ctc_weight",
    "objective.label_smoothing", "objective.scheduled_sampling", "train.final_learning_rate",
)  # fmt: skip


def check_settings(config: Config, device: torch.device) -> None:
    """Refuse settings with which no training can start or would fail later.

    Raises:
        ConfigError: names the first invalid key.
    """
    ranges: tuple[tuple[tuple[str, ...], str, Callable[[float], bool]], ...] = (
        (POSITIVE, "a number above 0", lambda value: value > 0),
        (NOT_NEGATIVE, "0 or more", lambda value: value >= 0),
        (FRACTIONS, "a number from 0 to 1", lambda value: 0 <= value <= 1),
        (("augment.vocal_tract_range",), "a number from 0 to 0.5", lambda value: 0 <= value <= 0.5),
    )
    for keys, expected, holds in ranges:
        for key in keys:
            section, name = key.split(".")
            value = getattr(getattr(config, section), name)
            if not holds(value):
                raise ConfigError(key, f"expected {expected}, found {value}", "Correct the value")
    if config.source_text.joint and config.source_text.normalizer != config.text.normalizer:
        raise ConfigError(
            "source_text.normalizer",
            f"expected text.normalizer, {config.text.normalizer}, as the vocabulary is joint; "
            f"found {config.source_text.normalizer}",
            "Make them equal, or set source_text.joint to false",
        )
    if len(set(config.text.languages)) < len(config.text.languages):
        raise ConfigError("text.languages", "a language is repeated", "Give each language once")
    pair_layers(config.speech_encoder)
    check_distill(config)
    check_decoder(config.decoder)
    check_search(config.search)
    check_beam_size("train.validation_beam_size", config.train.validation_beam_size)
    if config.train.precision == "fp16" and device.type == "cpu":
        raise ConfigError("train.precision", "fp16 needs a GPU", "Use bf16 or fp32 on CPU")


def check_distill(config: Config) -> None:
    """Refuse distillation without a speech encoder, or into a layer that does not exist.

    Raises:
        ConfigError: names the invalid key.
    """
    if not config.distill.weight:
        return
    if "speech" not in config.model.encoders:
        raise ConfigError(
            "distill.weight", "this model has no speech encoder", "Set distill.weight to 0"
        )
    layers = config.speech_encoder.layers
    if config.distill.layer > layers:
        raise ConfigError(
            "distill.layer",
            f"expected a layer of the speech encoder, found {config.distill.layer}",
            f"Use 1 to {layers}",
        )


def check_seq2seq(config: Config) -> None:
    """Refuse settings of encoders, metric and search that do not fit together.

    Raises:
        ConfigError: names the invalid key.
    """
    check_encoders(config)
    if find_metric(config.text.metric).of_translations:
        try:
            check_scores(config.text.bleu_tokenizer)
        except TextError as error:
            problem = f"{error.where}: {error.problem}"
            raise ConfigError("text.bleu_tokenizer", problem, error.fix) from error
    check_attended(config.search, config.decoder)


def resolve_model(name: str | None, base: Path) -> Path | None:
    """Resolve a model name or path of the configuration to a folder; None stays None.

    Raises:
        ModelError: there is no such model.
    """
    if name is None or name in pretrained_names():
        return None if name is None else find_model(name)
    return find_model(base / name)
