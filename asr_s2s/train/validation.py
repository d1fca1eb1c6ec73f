"""Validation by beam search; for language models, by perplexity."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import sacrebleu
import torch

from asr_s2s.config import Config, TextConfig
from asr_s2s.data.batches import ordered_batches
from asr_s2s.data.lines import LineDataset
from asr_s2s.errors import TrainingError
from asr_s2s.inspect.attention import AttentionMap, attention_map
from asr_s2s.lm.language_model import LanguageModel
from asr_s2s.metrics.error_rate import Utterance, score
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.decode import decode
from asr_s2s.train.objective import IGNORED, attention_loss, teacher_forcing
from asr_s2s.train.streams import Stream

BATCH_FACTOR = 8
"""Ratio of tokens per batch in validation and training of text; validation keeps no gradients."""


class Validation(NamedTuple):
    """Result of one validation."""

    error: float
    """Criterion for choosing checkpoints, lower is better: word error rate, 1 - BLEU / 100, or
    perplexity; averaged over the kinds of source."""
    measures: dict[str, float]
    """Metrics by name: `word_error_rate` (0.05 is 5 %), `bleu` (0 to 100), `perplexity`, ..."""
    samples: list[tuple[str, str]]
    """Examples: up to three (reference, hypothesis) pairs."""
    attended: list[tuple[str, AttentionMap]]
    """Ids of utterances or sentence pairs, with their attention."""
    failures: list[str]
    """Error messages of utterances that could not be read and are left out."""

    def __str__(self) -> str:
        shown = {
            "word_error_rate": lambda v: f"WER {100 * v:.2f} %",
            "bleu": lambda v: f"BLEU {v:.2f}",
            "perplexity": lambda v: f"perplexity {v:.2f}",
        }
        known = ((name.split("/")[-1], value) for name, value in self.measures.items())
        return ", ".join(shown[name](value) for name, value in known if name in shown)


@torch.inference_mode()
def validate(
    model: Seq2Seq | LanguageModel, streams: Sequence[Stream], config: Config, device: torch.device
) -> Validation:
    """Decode the validation set by beam search and score it; with a language model, measure the
    perplexity per token, including end tokens.

    Raises:
        TrainingError: no utterance of the validation set could be read.
    """
    if isinstance(model, LanguageModel):
        return _validate_lines(model, streams[0], config, device)
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
    )


def _validate_lines(
    model: LanguageModel, stream: Stream, config: Config, device: torch.device
) -> Validation:
    model.eval()
    total, count = 0.0, 0
    for batch in ordered_batches(stream.items, stream.dataset, config.data):
        if not batch.ids:
            continue
        batch = batch.to(device)
        prefix, target = teacher_forcing(batch.tokens, batch.token_lengths)
        tokens = int((target != IGNORED).sum())
        total += tokens * float(attention_loss(model(prefix), target, label_smoothing=0.0))
        count += tokens
    if not count:
        raise TrainingError("data.valid", "it contains no text", "Give other files")
    perplexity = math.exp(min(total / count, 700.0))
    return Validation(perplexity, {"perplexity": perplexity}, [], [], [])


def _validate_stream(
    model: Seq2Seq, stream: Stream, config: Config, device: torch.device
) -> Validation:
    model.eval()
    search = replace(config.search, beam_size=config.train.validation_beam_size)
    dataset, tokenizer = stream.dataset, stream.dataset.output.tokenizer
    assert not isinstance(dataset, LineDataset)
    data = replace(config.data, batch_tokens=BATCH_FACTOR * config.data.batch_tokens)
    utterances: list[Utterance] = []
    attended: list[tuple[str, AttentionMap]] = []
    pictures = 0 if config.decoder.attention == "none" else config.train.attention_pictures
    failures: list[str] = []
    for batch in ordered_batches(stream.items, dataset, data):
        failures += batch.failures
        if not batch.ids:
            continue
        batch = batch.to(device)
        memory = model.encode(stream.kind, batch.source, batch.lengths)
        results = decode(model, stream.kind, memory, search, batch.prompts)
        for name, reference, hypotheses in zip(batch.ids, batch.texts, results, strict=True):
            text = tokenizer.decode(hypotheses[0].tokens)
            utterances.append(Utterance(name, reference, text))
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
    return Validation(measured.error, measured.measures, samples, attended, failures)


class Measured(NamedTuple):
    """Error and metrics of a set of outputs, as in `Validation`."""

    error: float
    measures: dict[str, float]


def measure_texts(utterances: list[Utterance], config: TextConfig) -> Measured:
    """Score outputs by the configured metric."""
    if config.metric == "bleu":
        bleu = sacrebleu.corpus_bleu(
            [u.hypothesis for u in utterances],
            [[u.reference for u in utterances]],
            tokenize=config.bleu_tokenizer,
        ).score
        return Measured(1 - bleu / 100, {"bleu": bleu})
    rates = score(utterances)
    measures = {
        "word_error_rate": rates.word_error_rate,
        "character_error_rate": rates.character_error_rate,
    }
    return Measured(rates.word_error_rate, measures)
