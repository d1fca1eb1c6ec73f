"""Validation by beam search, and its result."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from asr_s2s.config import Config, TextConfig
from asr_s2s.data.batches import ordered_batches
from asr_s2s.errors import TrainingError
from asr_s2s.inspect.attention import AttentionMap, attention_map
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.metrics.metric import Metric, Scored, find_metric, measure
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.decode import decode
from asr_s2s.search.forced import likelihoods
from asr_s2s.train.streams import SourceStream

BATCH_FACTOR = 8
"""Ratio of tokens per batch in validation and training of text; validation keeps no gradients."""


class Validation(NamedTuple):
    """Result of one validation."""

    error: float
    """Criterion for choosing checkpoints, lower is better (`Metric.error`), averaged over the kinds
    of source."""
    measures: dict[str, float]
    """Values of metrics by `Metric.field`, after the kind of source if there are several."""
    samples: list[tuple[str, str]]
    """Examples: up to three (reference, hypothesis) pairs."""
    attended: list[tuple[str, AttentionMap]]
    """Ids of utterances or sentence pairs, with their attention."""
    failures: list[str]
    """Error messages of utterances that could not be read and are left out."""

    metric: Metric
    """Metric that `error` is computed from."""
    search: str = ""
    """Search that made the outputs, such as `beam 1`; empty without a search."""

    def __str__(self) -> str:
        chosen = (
            v for name, v in self.measures.items() if name.split("/")[-1] == self.metric.field
        )
        return ", ".join(map(self.metric.format, chosen))


@torch.inference_mode()
def validate(
    model: Seq2Seq, streams: Sequence[SourceStream], config: Config, device: torch.device
) -> Validation:
    """Decode the validation set by beam search and score it.

    Raises:
        TrainingError: no utterance of the validation set could be read.
    """
    parts = [_validate_stream(model, stream, config, device) for stream in streams]
    if len(parts) == 1:
        return parts[0]
    measures = {
        f"{stream.kind}/{name}": value
        for stream, part in zip(streams, parts, strict=True)
        for name, value in part.measures.items()
    }
    return Validation(
        sum(part.error for part in parts) / len(parts),
        measures,
        [sample for part in parts for sample in part.samples],
        [attended for part in parts for attended in part.attended],
        [failure for part in parts for failure in part.failures],
        parts[0].metric,
        parts[0].search,
    )


def _validate_stream(
    model: Seq2Seq, stream: SourceStream, config: Config, device: torch.device
) -> Validation:
    model.eval()
    search = replace(config.search, beam_size=config.train.validation_beam_size)
    dataset, tokenizer = stream.dataset, stream.dataset.output.tokenizer
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
        memory = model.encode(stream.kind, batch.source, batch.lengths)
        results = decode(model, stream.kind, memory, search, batch.prompts)
        made = [
            Utterance(name, reference, tokenizer.decode(hypotheses[0].tokens))
            for name, reference, hypotheses in zip(batch.ids, batch.texts, results, strict=True)
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
            shown = attention_map(model, dataset, batch.source[row], batch.lengths[row], written)
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
