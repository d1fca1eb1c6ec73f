"""Validation by beam search, and its result."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import torch

from asr_s2s.config import Config, TextConfig
from asr_s2s.data.batches import ordered_batches
from asr_s2s.errors import TrainingError
from asr_s2s.inspect.attention import AttentionMap, attention_map
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.metrics.language import settings_of_language
from asr_s2s.metrics.metric import Metric, Scored, find_metric, measure
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.decode import decode
from asr_s2s.search.forced import likelihoods
from asr_s2s.train.streams import SourceStream, by_language

BATCH_FACTOR = 8
"""Ratio of tokens per batch in validation and training of text; validation keeps no gradients."""


class Validation(NamedTuple):
    """Result of one validation."""

    error: float
    """Criterion for choosing checkpoints, lower is better (`Metric.error`), averaged over the kinds
    of source, and over the languages of a model that translates speech."""
    measures: dict[str, float]
    """Values of metrics by `Metric.field`, after the kind of source and the language if there are
    several."""
    samples: list[tuple[str, str]]
    """Examples: up to three (reference, hypothesis) pairs of each kind and language."""
    attended: list[tuple[str, AttentionMap]]
    """Ids of utterances or sentence pairs, with their attention."""
    failures: list[str]
    """Error messages of utterances that could not be read and are left out."""

    metric: Metric
    """Metric that `error` is computed from."""
    search: str = ""
    """Search that made the outputs, such as `beam 1`; empty without a search."""
    several: Mapping[str, Metric] = MappingProxyType({})
    """Metrics that `error` is computed from instead, by their names in `measures`, of several kinds
    of source or languages."""

    @property
    def chosen(self) -> Mapping[str, Metric]:
        """Metrics that `error` is computed from, by their names in `measures`."""
        return self.several or {self.metric.field: self.metric}

    def __str__(self) -> str:
        return ", ".join(
            " ".join([*name.split("/")[:-1], metric.format(self.measures[name])])
            for name, metric in self.chosen.items()
        )


@torch.inference_mode()
def validate(
    model: Seq2Seq, streams: Sequence[SourceStream], config: Config, device: torch.device
) -> Validation:
    """Decode the validation set by beam search and score it.

    Raises:
        TrainingError: no utterance of the validation set could be read.
    """
    languages = config.text.languages if config.text.translation_languages else ()
    kinds = [_of_languages(model, one, config, device, languages) for one in streams]
    if len(kinds) == 1:
        return kinds[0]
    return _join({stream.kind: part for stream, part in zip(streams, kinds, strict=True)})


def _of_languages(
    model: Seq2Seq,
    stream: SourceStream,
    config: Config,
    device: torch.device,
    languages: Sequence[str],
) -> Validation:
    """Validate the texts of each language by themselves, if there are several."""
    parts = {}
    for language, own in by_language(stream, languages):
        settings = replace(config, text=settings_of_language(config.text, language))
        parts[language or ""] = _validate_stream(model, own, settings, device)
    return _join(parts) if len(parts) > 1 else next(iter(parts.values()))


def _join(parts: dict[str, Validation]) -> Validation:
    """Join the results of several kinds of source, or languages, by their names."""
    results = list(parts.values())
    named = [(f"{name}/", part) for name, part in parts.items()]
    return Validation(
        sum(part.error for part in results) / len(results),
        {name + key: value for name, part in named for key, value in part.measures.items()},
        [sample for part in results for sample in part.samples],
        [attended for part in results for attended in part.attended],
        [failure for part in results for failure in part.failures],
        results[0].metric,
        results[0].search,
        {name + key: metric for name, part in named for key, metric in part.chosen.items()},
    )


def _validate_stream(
    model: Seq2Seq, stream: SourceStream, config: Config, device: torch.device
) -> Validation:
    model.eval()
    search = replace(config.search, beam_size=config.train.validation_beam_size)
    dataset = stream.dataset
    data = replace(config.data, batch_tokens=BATCH_FACTOR * config.data.batch_tokens)
    utterances: list[Utterance] = []
    attended: list[tuple[str, AttentionMap]] = []
    pictures = 0 if config.decoder.attention == "none" else config.train.attention_pictures
    failures: list[str] = []
    metrics = (config.text.metric, *config.text.further_metrics)
    forced = any(find_metric(name).needs_model for name in metrics)
    for batch in ordered_batches(stream.items, dataset, data):
        failures += batch.failures
        if not batch.ids:
            continue
        batch = batch.to(device)
        memory = model.encode(stream.kind, batch.source, batch.lengths, batch.prompts)
        results = decode(model, stream.kind, memory, search, batch.prompts)
        tokenizers = dataset.tokenizers(batch)
        made = [
            Utterance(name, reference, tokenizer.decode(hypotheses[0].tokens))
            for name, reference, hypotheses, tokenizer in zip(
                batch.ids, batch.texts, results, tokenizers, strict=True
            )
        ]
        if forced:
            found = likelihoods(model, memory, batch.outputs, batch.prompts)
            made = [
                replace(u, log_prob=one.total, tokens=len(one.tokens))
                for u, one in zip(made, found, strict=True)
            ]
        utterances += made
        for row in range(min(pictures - len(attended), len(batch.ids))):
            written = [*batch.prompts[row].tolist(), *results[row][0].tokens]
            source, length = batch.source[row], batch.lengths[row]
            shown = attention_map(model, dataset, source, length, written, tokenizers[row])
            attended.append((batch.ids[row], shown))
    if not utterances:
        raise TrainingError(
            "data.valid", "none of its utterances could be read", "Run asr-s2s check"
        )
    samples = [(u.reference, u.hypothesis) for u in utterances[:: max(1, len(utterances) // 3)][:3]]
    measured = measure_texts(utterances, config.text)
    return Validation(
        measured.error,
        measured.measures,
        samples,
        attended,
        failures,
        find_metric(config.text.metric),
        f"beam {search.beam_size}",
    )


class Measured(NamedTuple):
    """Error and metrics of a set of outputs, as in `Validation`."""

    error: float
    measures: dict[str, float]


def measure_texts(utterances: list[Utterance], config: TextConfig) -> Measured:
    """Score outputs by the configured metrics."""
    metric = find_metric(config.metric)
    scored = Scored(utterances, bleu_tokenizer=config.bleu_tokenizer)
    measures = measure(metric, scored, config.further_metrics)
    return Measured(metric.error(measures[metric.field]), measures)
