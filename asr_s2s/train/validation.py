"""Validation with the real search."""

from dataclasses import replace
from typing import NamedTuple

import torch
from lhotse import CutSet

from asr_s2s.config import Config
from asr_s2s.data.batches import SpeechDataset, ordered_batches
from asr_s2s.errors import TrainingError
from asr_s2s.evaluate.error_rate import Utterance, score
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.decode import decode
from asr_s2s.text.tokenizer import BOS


class Attended(NamedTuple):
    """What an attention picture shows."""

    id: str
    weights: list[list[float]]
    """`(tokens, time)`"""
    tokens: list[str]
    seconds: float


class Validation(NamedTuple):
    """The outcome of one validation."""

    word_error_rate: float
    """Errors per reference word; 0.05 is 5 %."""
    character_error_rate: float
    samples: list[tuple[str, str]]
    """A few (reference, hypothesis) pairs."""
    attended: list[Attended]
    failures: list[str]
    """Messages about recordings left out because they could not be read."""


@torch.inference_mode()
def validate(
    model: Seq2Seq, cuts: CutSet, dataset: SpeechDataset, config: Config, device: torch.device
) -> Validation:
    """Transcribe the validation set by beam search and score it.

    Raises:
        TrainingError: no recording of it could be read.
    """
    model.eval()
    search = replace(config.search, beam_size=config.train.validation_beam_size)
    utterances: list[Utterance] = []
    attended: list[Attended] = []
    failures: list[str] = []
    for batch in ordered_batches(cuts, dataset, config.data.batch_seconds, config.data.workers):
        failures += batch.failures
        if not batch.ids:
            continue
        batch = batch.to(device)
        results = decode(model, "speech", batch.waveforms, batch.lengths, search)
        for name, reference, hypotheses in zip(batch.ids, batch.texts, results, strict=True):
            text = dataset.tokenizer.decode(hypotheses[0].tokens)
            utterances.append(Utterance(name, reference, text))
        missing = config.train.attention_pictures - len(attended)
        for row in range(min(missing, len(batch.ids))):
            attended.append(
                _attend(
                    model,
                    batch.ids[row],
                    batch.waveforms[row],
                    batch.lengths[row],
                    results[row][0].tokens,
                    dataset,
                )
            )
    if not utterances:
        raise TrainingError("data.valid", "no recording could be read", "Run asr-s2s check")
    rates = score(utterances)
    samples = [(u.reference, u.hypothesis) for u in utterances[:: max(1, len(utterances) // 3)][:3]]
    return Validation(
        rates.word_error_rate, rates.character_error_rate, samples, attended, failures
    )


def _attend(
    model: Seq2Seq,
    name: str,
    waveform: torch.Tensor,
    length: torch.Tensor,
    tokens: list[int],
    dataset: SpeechDataset,
) -> Attended:
    """Where attention looked while writing these tokens."""
    memory = model.encode("speech", waveform[None, : int(length)], length[None])
    prefix = torch.tensor([[BOS, *tokens]], device=waveform.device)
    _, weights = model.decoder(prefix, memory)
    pieces = [dataset.tokenizer.pieces[token] for token in tokens]
    return Attended(name, weights[0].tolist(), [*pieces, "</s>"], int(length) / 16_000)
