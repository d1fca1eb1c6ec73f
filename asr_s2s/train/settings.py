"""Checks of the configuration before a run starts, rather than hours into it."""

from pathlib import Path

import torch

from asr_s2s.config import Config
from asr_s2s.config_file import check_values, find_entry
from asr_s2s.data.corpus import data_sources
from asr_s2s.errors import ConfigError, TextError
from asr_s2s.metrics.language import settings_of_language
from asr_s2s.metrics.metric import find_metric
from asr_s2s.metrics.translation import check_settings as check_scores
from asr_s2s.model.attention import ATTENTION
from asr_s2s.model.decoders import DECODERS, check_decoder
from asr_s2s.model.folder import find_model, pretrained_names
from asr_s2s.model.seq2seq import SPEECH_ENCODERS, check_encoders
from asr_s2s.model.text_encoder import TEXT_ENCODERS
from asr_s2s.nn.recurrent import CELLS
from asr_s2s.search.beam import check_search
from asr_s2s.search.decode import check_attended
from asr_s2s.text.vocabulary import find_tokenizer


def check_settings(config: Config, device: torch.device) -> None:
    """Refuse settings with which no training can start or would fail later.

    Raises:
        ConfigError: names the first invalid key.
    """
    check_values(config)
    check_names(config)
    if config.source_text.joint and config.source_text.normalizer != config.text.normalizer:
        raise ConfigError(
            "source_text.normalizer",
            f"expected text.normalizer, {config.text.normalizer}, as the vocabulary is joint; "
            f"found {config.source_text.normalizer}",
            "Make them equal, or set source_text.joint to false",
        )
    if len(set(config.text.languages)) < len(config.text.languages):
        raise ConfigError("text.languages", "a language is repeated", "Give each language once")
    check_spoken_languages(config)
    check_long_sources(config)
    check_sources(config)
    check_distill(config)
    check_decoder(config.decoder)
    check_search(config.search)
    if config.train.precision == "fp16" and device.type == "cpu":
        raise ConfigError("train.precision", "fp16 needs a GPU", "Use bf16 or fp32 on CPU")


def check_names(config: Config) -> None:
    """Refuse names of encoders, decoders, cells, attention and tokenizers that are in no table,
    also in sections that the model does not use.

    Raises:
        ConfigError: names the key and the entries of the table.
    """
    find_entry(SPEECH_ENCODERS, config.speech_encoder.kind, "speech_encoder.kind")
    find_entry(TEXT_ENCODERS, config.text_encoder.cell, "text_encoder.cell")
    find_entry(DECODERS, config.decoder.kind, "decoder.kind")
    find_entry(ATTENTION, config.decoder.attention, "decoder.attention")
    find_entry(CELLS, config.decoder.cell, "decoder.cell")
    find_tokenizer(config.text.tokenizer, "text")
    find_tokenizer(config.source_text.tokenizer, "source_text")


def check_spoken_languages(config: Config) -> None:
    """Refuse spoken languages that are not output languages, or of a model that hears nothing.

    Raises:
        ConfigError: names the key.
    """
    key, spoken = "text.spoken_languages", config.text.spoken_languages
    if not spoken:
        return
    if "speech" not in config.model.encoders:
        raise ConfigError(key, "this model has no speech encoder", "Remove it")
    for language in spoken:
        if language not in config.text.languages:
            raise ConfigError(
                key, f"{language} is not one of text.languages", "Add it there, or remove it here"
            )


def check_long_sources(config: Config) -> None:
    """Refuse truncation of sources to more tokens than training accepts.

    Raises:
        ConfigError: names `search.piece_tokens`.
    """
    longest = min(config.data.max_tokens, config.data.batch_tokens)
    if config.source_text.long_sources == "truncate" and config.search.piece_tokens > longest:
        raise ConfigError(
            "search.piece_tokens",
            f"sources are truncated to it, so expected at most {longest:,}, the smaller one of "
            f"data.max_tokens and data.batch_tokens; found {config.search.piece_tokens:,}",
            "Reduce it, or raise data.max_tokens and data.batch_tokens",
        )


def check_sources(config: Config) -> None:
    """Refuse weights of data that is not trained on.

    Raises:
        ConfigError: names the key.
    """
    for key, entries in (("data.valid", config.data.valid), ("data.test", config.data.test)):
        if any(source.weight != 1.0 for source in data_sources(entries)):
            problem = "a weight is given, but weights apply to training data only"
            raise ConfigError(key, problem, "Remove it")


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
    if config.train.initialize_encoder and config.train.initialize:
        raise ConfigError(
            "train.initialize_encoder",
            "train.initialize is set too, and includes the encoder",
            "Remove one of them",
        )
    if config.train.initialize_encoder and "speech" not in config.model.encoders:
        raise ConfigError(
            "train.initialize_encoder", "this model has no speech encoder", "Remove it"
        )
    further = [find_metric(name, "text.further_metrics") for name in config.text.further_metrics]
    for language in (None, *config.text.translation_languages):
        text = settings_of_language(config.text, language)
        metrics = [find_metric(text.metric), *further]
        if any(metric.report == "translation scores" for metric in metrics):
            try:
                check_scores(text.bleu_tokenizer)
            except TextError as error:
                problem = f"{error.where}: {error.problem}"
                raise ConfigError("text.bleu_tokenizer", problem, error.fix) from error
    check_attended(config.search, config.decoder)
    if config.objective.coverage_weight > 0.0 and config.decoder.attention == "none":
        raise ConfigError(
            "objective.coverage_weight",
            "coverage sums attention weights, but decoder.attention is none",
            "Set it to 0, or choose an attention mechanism",
        )


def resolve_model(name: str | None, base: Path) -> Path | None:
    """Resolve a model name or path of the configuration to a folder; None stays None.

    Raises:
        ModelError: there is no such model.
    """
    if name is None or name in pretrained_names():
        return None if name is None else find_model(name)
    return find_model(base / name)
