"""Training of language models on plain text."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from lhotse import CutSet
from torch import nn

from asr_s2s.config import Config, DataSource
from asr_s2s.data.batches import ordered_batches
from asr_s2s.data.corpus import data_sources, is_mixed, require_names
from asr_s2s.data.datasets import Batch
from asr_s2s.data.lines import LineDataset
from asr_s2s.errors import ConfigError, TrainingError
from asr_s2s.lm.language_model import LanguageModel
from asr_s2s.metrics.metric import METRICS
from asr_s2s.model.folder import load_tokenizers, read_config
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import Tokenizer
from asr_s2s.text_files import TABLES, content_suffix, read_lines
from asr_s2s.train.objective import (
    IGNORED,
    Losses,
    attention_loss,
    language_model_loss,
    teacher_forcing,
)
from asr_s2s.train.settings import resolve_model
from asr_s2s.train.streams import Stream
from asr_s2s.train.validation import Validation


class CrossEntropy(nn.Module):
    """Cross-entropy per token with label smoothing."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, model: LanguageModel, batch: Batch, step: int) -> Losses:
        """Compute the loss of a batch."""
        return language_model_loss(model, batch, self.label_smoothing)


class LanguageModelTask:
    """Task of language models over the tokens of another model; see `Task`."""

    def __init__(self, config: Config, base: Path) -> None:
        self.config = config
        self.base = base
        self.lines = _read_texts(config.data.train, base, "data.train")
        self.valid_lines = _read_texts(config.data.valid, base, "data.valid")

    @staticmethod
    def complete(config: Config, base: Path) -> Config:
        """Take over section `text` of the model whose vocabulary is used, except its languages."""
        if is_mixed(config.data):
            raise ConfigError(
                "data.train",
                "weights and temperatures mix recordings and parallel text, not plain text",
                "Remove them",
            )
        text = read_config(_vocabulary(config, base)).text
        return replace(config, text=replace(text, languages=(), spoken_languages=()))

    def save_tokenizers(self, folder: Path) -> None:
        """Save the output's tokenizer of the model whose vocabulary is used."""
        target, _ = load_tokenizers(_vocabulary(self.config, self.base), self.config)
        target.save(folder)

    def streams(
        self,
        tokenizers: tuple[Tokenizer, Tokenizer | None],
        *,
        training: bool,
        info: Callable[[str], None],
    ) -> list[Stream[LineDataset]]:
        output = Output(tokenizers[0], normalizer(self.config.text.normalizer))
        dataset = LineDataset(output, self.config.data.max_tokens)
        lines = self.lines if training else self.valid_lines
        return [Stream(CutSet(dataset.measure(lines)), dataset)]

    def build_model(self, tokenizers: tuple[Tokenizer, Tokenizer | None]) -> LanguageModel:
        return LanguageModel(len(tokenizers[0]), self.config.language_model)

    def build_criterion(
        self, model: LanguageModel, streams: Sequence[Stream[LineDataset]]
    ) -> CrossEntropy:
        return CrossEntropy(self.config.objective.label_smoothing)

    def prepare(self, model: LanguageModel, streams: Sequence[Stream[LineDataset]]) -> None:
        pass

    def notes(self, streams: Sequence[Stream[LineDataset]]) -> list[str]:
        return []

    @torch.inference_mode()
    def validate(
        self, model: LanguageModel, streams: Sequence[Stream[LineDataset]], device: torch.device
    ) -> Validation:
        """Measure the perplexity per token, including end tokens."""
        model.eval()
        total, count = 0.0, 0
        (stream,) = streams
        for batch in ordered_batches(stream.items, stream.dataset, self.config.data):
            if not batch.ids:
                continue
            batch = batch.to(device)
            prefix, target = teacher_forcing(batch.tokens, batch.token_lengths)
            tokens = int((target != IGNORED).sum())
            total += tokens * float(attention_loss(model(prefix), target, label_smoothing=0.0))
            count += tokens
        if not count:
            raise TrainingError("data.valid", "it contains no text", "Give other files")
        metric, value = METRICS["perplexity"], math.exp(min(total / count, 700.0))
        return Validation(metric.error(value), {metric.field: value}, [], [], [], metric)


def _vocabulary(config: Config, base: Path) -> Path:
    folder = resolve_model(config.language_model.vocabulary_of, base)
    if folder is None:
        raise ConfigError(
            "language_model.vocabulary_of",
            "a language model needs the vocabulary of the model that will use it",
            "Give a model folder, or the name of a shipped model",
        )
    return folder


def _read_texts(entries: tuple[str | DataSource, ...], base: Path, key: str) -> list[str]:
    require_names(entries, key)
    lines: list[str] = []
    for source in data_sources(entries):
        name = source.manifest
        if content_suffix(base / name) in TABLES:
            raise ConfigError(
                key, f"{name} is a table, not plain text", "Give files with one sentence per line"
            )
        lines += read_lines(base / name)
    return lines
