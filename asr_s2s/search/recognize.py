"""Recognition of speech: decodes a batch and retries outputs in which the guard finds a problem.

Only outputs with problems are decoded again, as one batch per remedy. Remedies are tried from the
mildest to the strongest until the guard finds no problem.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr_s2s.audio.segment import middle_cut
from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform
from asr_s2s.config import LARGEST_BEAM, SearchConfig
from asr_s2s.lm.language_model import LanguageModels
from asr_s2s.model.attention import Memory
from asr_s2s.model.ctc import CTCFrames
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.align import forced_decode
from asr_s2s.search.beam import Hypothesis
from asr_s2s.search.decode import decode
from asr_s2s.search.guard import (
    Reason,
    Verdict,
    examine_by_attention,
    examine_by_ctc,
    examine_by_probability,
    hears_speech,
)
from asr_s2s.search.phrases import Phrases

BEAM_FACTOR = 2
"""Factor by which a retry widens the beam."""
MIN_CTC_WEIGHT = 0.5
"""Minimum CTC weight of a retry after attention lost its place."""
MIN_SPLIT_SECONDS = 4.0
"""Minimum duration in seconds of audio that is split in two."""
LOST_PLACE = (Reason.loop, Reason.gap, Reason.early_end)
"""Reasons for which attention lost its place, which CTC does not."""
ACCEPTED = (None, Reason.unspoken)
"""Reasons without a retry: words that were not spoken are cut."""


class Remedy(StrEnum):
    """Action that replaced an output."""

    beam = "beam"
    """Wider beam, with a higher CTC weight if attention lost its place."""
    ctc = "ctc"
    """Decoding by CTC without attention."""
    pieces = "pieces"
    """Decoding of two halves separately."""
    cut = "cut"
    """Removal of repeated or invented words."""
    no_repeat = "no_repeat"
    """Text: decoding without repeated n-grams."""


@dataclass(frozen=True)
class Search:
    """Model and settings of recognition; all on the model's device."""

    model: Seq2Seq
    """Model in evaluation mode."""
    config: SearchConfig
    prompt: list[int]
    """Tokens at the start of each output."""
    language_models: LanguageModels
    phrases: Phrases | None

    @property
    def transcribes(self) -> bool:
        """Whether outputs are transcripts; otherwise they are translations of speech."""
        return bool(self.model.transcribes(torch.tensor([self.prompt]).long()).all())


class Part(NamedTuple):
    """Part of an utterance with its hypotheses."""

    start: float
    """Seconds from the start of the utterance."""
    samples: Waveform
    memory: Memory
    """Memory of one row."""
    hypotheses: list[Hypothesis]
    """Best first."""
    verdict: Verdict
    """Verdict on the best hypothesis."""


@dataclass(frozen=True)
class Result:
    """Result for one utterance."""

    parts: list[Part]
    """The utterance as one part, or as two halves."""
    reason: Reason | None
    """Problem of the first output."""
    remedy: Remedy | None
    """Remedy that gave the result; None if there was no problem or no retry was better."""


class _Encoded(NamedTuple):
    """A batch of waveforms and their memory."""

    waveforms: list[Waveform]
    memory: Memory
    ctc: CTCFrames | None


class _Attempt(NamedTuple):
    """Outputs for an utterance with one remedy."""

    remedy: Remedy | None
    parts: list[Part]

    @property
    def reason(self) -> Reason | None:
        """Problem of the output. One of two halves may be silent."""
        reasons = [part.verdict.reason for part in self.parts]
        silent = all(reason is Reason.unspoken for reason in reasons)
        wrong = (reason for reason in reasons if reason not in ACCEPTED)
        return next(wrong, Reason.unspoken if silent else None)

    @property
    def fit(self) -> tuple[bool, float]:
        """Sort key: unsure outputs are better than those with other problems."""
        only_unsure = self.reason is Reason.unsure
        return only_unsure, fmean(part.verdict.fit for part in self.parts)


@torch.inference_mode()
def recognize(search: Search, waveforms: Sequence[Waveform]) -> list[Result]:
    """Recognize a batch of waveforms `(samples,)` at 16 kHz; results are in the same order."""
    encoded = _encode(search, waveforms)
    attempts = [[_Attempt(None, [part])] for part in _decode(search, encoded, search.config)]
    for remedy, reasons in (
        (Remedy.beam, LOST_PLACE),
        # An unsure output is only hard to recognize; it needs all scorers with their usual weights.
        (Remedy.beam, (Reason.unsure,)),
        (Remedy.ctc, LOST_PLACE),
        (Remedy.pieces, LOST_PLACE),
    ):
        rows = [
            row
            for row, tried in enumerate(attempts)
            if tried[0].reason in reasons
            and all(attempt.reason not in ACCEPTED for attempt in tried)
            and _applies(remedy, search, encoded, row)
        ]
        if rows:
            retried = _retry(search, _select(encoded, rows), remedy, lost=reasons == LOST_PLACE)
            for row, parts in zip(rows, retried, strict=True):
                attempts[row].append(_Attempt(remedy, parts))
    return [_choose(tried) for tried in attempts]


def _applies(remedy: Remedy, search: Search, encoded: _Encoded, row: int) -> bool:
    if remedy is Remedy.beam:
        return True
    if not search.transcribes:  # CTC writes no translation, and half a sentence is not translated
        return False
    if remedy is Remedy.pieces:
        return len(encoded.waveforms[row]) >= MIN_SPLIT_SECONDS * SAMPLE_RATE
    return encoded.ctc is not None


def _retry(search: Search, encoded: _Encoded, remedy: Remedy, *, lost: bool) -> list[list[Part]]:
    """Decode each row with a remedy.

    Args:
        search: model and settings.
        encoded: the batch.
        remedy: the remedy.
        lost: whether attention lost its place.
    """
    config = search.config
    if remedy is Remedy.beam:
        weight = max(config.ctc_weight, MIN_CTC_WEIGHT) if lost else config.ctc_weight
        width = min(BEAM_FACTOR * config.beam_size, LARGEST_BEAM)
        width -= width % config.beam_groups
        wider = replace(config, beam_size=width, ctc_weight=weight)
        return [[part] for part in _decode(search, encoded, wider)]
    if remedy is Remedy.ctc:
        # CTC compares outputs of any length without normalization; returned scores are normalized.
        alone = replace(config, ctc_weight=1.0, length_normalization=0.0)
        return [
            [part._replace(hypotheses=[_normalized(h, config) for h in part.hypotheses])]
            for part in _decode(search, encoded, alone)
        ]
    halves, starts = [], []
    for samples in encoded.waveforms:
        cut = middle_cut(samples)
        halves += [samples[:cut], samples[cut:]]
        starts += [0.0, cut / SAMPLE_RATE]
    parts = [
        part._replace(start=start)
        for part, start in zip(
            _decode(search, _encode(search, halves), config), starts, strict=True
        )
    ]
    return [parts[i : i + 2] for i in range(0, len(parts), 2)]


def _normalized(hypothesis: Hypothesis, config: SearchConfig) -> Hypothesis:
    length = (len(hypothesis.tokens) + 1) ** config.length_normalization
    return hypothesis._replace(score=hypothesis.score / length)


def _choose(tried: list[_Attempt]) -> Result:
    """Choose the first attempt without a problem, else the best, and cut invented words."""
    first = tried[0]
    if first.reason is Reason.unsure:  # retried with a wider beam only: scores are comparable
        usable = (attempt for attempt in tried if attempt.reason not in LOST_PLACE)
        chosen = max(usable, key=lambda attempt: attempt.parts[0].hypotheses[0].score)
    else:
        accepted = (attempt for attempt in tried if attempt.reason in ACCEPTED)
        chosen = next(accepted, None) or max(tried, key=lambda attempt: attempt.fit)
    parts = [_cut(part) for part in chosen.parts]
    silent = not any(part.hypotheses[0].tokens for part in parts)
    reason = Reason.unspoken if silent and chosen.reason in ACCEPTED else first.reason
    was_cut = len(parts) == 1 and parts[0].hypotheses != chosen.parts[0].hypotheses
    return Result(parts, reason, Remedy.cut if was_cut else chosen.remedy)


def _cut(part: Part) -> Part:
    best, verdict = part.hypotheses[0], part.verdict
    if verdict.reason not in (Reason.loop, Reason.unspoken) or verdict.cut == best.tokens:
        return part
    score = best.score if verdict.cut else 0.0
    return part._replace(hypotheses=[Hypothesis(verdict.cut, score)])


def _encode(search: Search, waveforms: Sequence[Waveform]) -> _Encoded:
    device = next(search.model.parameters()).device
    padded = pad_sequence([torch.from_numpy(samples) for samples in waveforms], batch_first=True)
    lengths = torch.tensor([len(samples) for samples in waveforms])
    prompts = _prompts(search, len(waveforms), device)
    memory = search.model.encode("speech", padded.to(device), lengths.to(device), prompts)
    return _Encoded(list(waveforms), memory, search.model.ctc_frames(memory))


def _select(encoded: _Encoded, rows: list[int]) -> _Encoded:
    return _Encoded(
        [encoded.waveforms[row] for row in rows],
        encoded.memory.select(rows),
        CTCFrames(*(part[rows] for part in encoded.ctc)) if encoded.ctc is not None else None,
    )


def _decode(search: Search, encoded: _Encoded, config: SearchConfig) -> list[Part]:
    """Decode each row and examine the best hypothesis with the guard."""
    model, (waveforms, memory, ctc) = search.model, encoded
    prompts = _prompts(search, len(waveforms), memory.values.device)
    results = decode(
        model,
        "speech",
        memory,
        config,
        prompts,
        language_models=search.language_models,
        phrases=search.phrases,
        ctc=ctc,
    )
    outputs = [hypotheses[0].tokens for hypotheses in results]
    means = [_mean_score(hypotheses[0], config) for hypotheses in results]
    frame_start = model.frame_time
    if model.ctc is not None and ctc is not None and search.transcribes:
        frame_seconds = (frame_start(1) - frame_start(0)) / model.ctc.per_frame
        favor = search.phrases.earned if search.phrases else lambda output: 0.0
        verdicts = examine_by_ctc(ctc, outputs, frame_seconds, favor)
    elif not model.decoder.attends:
        verdicts = examine_by_probability(outputs, means)
    else:
        weights = forced_decode(model, memory, outputs, prompts)[1]
        verdicts = examine_by_attention(weights, outputs, means, waveforms, frame_start)
    if ctc is not None and not search.transcribes:
        verdicts = [
            verdict if heard else Verdict(Reason.unspoken, verdict.fit, [])
            for verdict, heard in zip(verdicts, hears_speech(ctc), strict=True)
        ]
    return [
        Part(0.0, samples, memory.select(slice(row, row + 1)), hypotheses, verdict)
        for row, (samples, hypotheses, verdict) in enumerate(
            zip(waveforms, results, verdicts, strict=True)
        )
    ]


def _prompts(search: Search, rows: int, device: torch.device) -> Tensor:
    """Return the prompt for a number of rows, `(rows, prompt)`."""
    return torch.tensor([search.prompt] * rows, device=device).long()


def _mean_score(hypothesis: Hypothesis, config: SearchConfig) -> float:
    """Return the mean score per token, end token included."""
    length = len(hypothesis.tokens) + 1
    return hypothesis.score * float(length ** (config.length_normalization - 1.0))


def join_memories(memories: Sequence[Memory]) -> Memory:
    """Join memories of one row each to a batch."""
    rows = [memory.values[0, : int(memory.lengths[0])] for memory in memories]
    return Memory(
        pad_sequence(rows, batch_first=True),
        torch.cat([memory.lengths for memory in memories]),
        torch.cat([memory.summary for memory in memories]),
    )
