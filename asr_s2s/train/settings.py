"""Checks of the configuration before a run starts, rather than hours into it."""

import torch

from asr_s2s.config import Config
from asr_s2s.config_file import check_values
from asr_s2s.errors import ConfigError, TextError
from asr_s2s.lm.language_model import is_language_model
from asr_s2s.metrics.translation import check_settings as check_scores
from asr_s2s.model.decoders import check_decoder
from asr_s2s.model.seq2seq import check_encoders
from asr_s2s.search.beam import check_search
from asr_s2s.search.decode import check_attended


def check_settings(config: Config, device: torch.device) -> None:
    """Refuse settings with which training cannot start or would fail later.

    Raises:
        ConfigError: names the first invalid key.
    """
    check_values(config)
    if is_language_model(config):
        _check_language_model(config)
    else:
        check_encoders(config)
        _check_metric(config)
        check_attended(config.search, config.decoder)
    if config.source_text.joint and config.source_text.normalizer != config.text.normalizer:
        raise ConfigError(
            "source_text.normalizer",
            f"expected text.normalizer, {config.text.normalizer}, as the vocabulary is joint; "
            f"found {config.source_text.normalizer}",
            "Make them equal, or set source_text.joint to false",
        )
    if len(set(config.text.languages)) < len(config.text.languages):
        raise ConfigError("text.languages", "a language is repeated", "Give each language once")
    check_distill(config)
    check_decoder(config.decoder)
    check_search(config.search)
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


def _check_metric(config: Config) -> None:
    if config.text.metric != "bleu":
        return
    try:
        check_scores(config.text.bleu_tokenizer)
    except TextError as error:
        problem = f"{error.where}: {error.problem}"
        raise ConfigError("text.bleu_tokenizer", problem, error.fix) from error


def _check_language_model(config: Config) -> None:
    if config.language_model.vocabulary_of is None:
        raise ConfigError(
            "language_model.vocabulary_of",
            "a language model needs the vocabulary of the model that will use it",
            "Give a model folder, or the name of a shipped model",
        )
