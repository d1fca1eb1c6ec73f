"""Sound to outputs, and once more with other settings where the guard finds something wrong.

What is wrong with few outputs costs little: only these are decoded again, together. The remedies
are tried from the mildest to the strongest, until one leaves nothing wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean
from typing import NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence

from asr_s2s.audio.segment import middle_cut
from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform
from asr_s2s.config import SearchConfig
from asr_s2s.model.attention import Memory, NoAttention
from asr_s2s.model.ctc import CTCFrames
from asr_s2s.model.language_model import LanguageModels
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.align import forced_decode
from asr_s2s.search.beam import LARGEST_BEAM, Hypothesis
from asr_s2s.search.decode import decode
from asr_s2s.search.guard import (
    Reason,
    Verdict,
    examine_by_attention,
    examine_by_ctc,
    examine_by_probability,
)
from asr_s2s.search.phrases import Phrases

WIDER = 2
"""How many times as wide the beam of another try is."""
MORE_CTC = 0.5
"""Least weight of CTC where attention lost its place."""
SHORTEST_CUT = 4.0
"""Seconds: shorter sound is not cut in two."""
LOST = (Reason.loop, Reason.gap, Reason.early_end)
"""Attention lost its place; CTC does not."""
SETTLED = (None, Reason.unspoken)
"""For these nothing is decoded again: what nobody said is cut."""


class Remedy(StrEnum):
    """What was done about an output."""

    beam = "beam"
    """A wider beam; with more weight on CTC where attention lost its place."""
    ctc = "ctc"
    """CTC without attention."""
    pieces = "pieces"
    """Its two halves, one by one."""
    cut = "cut"
    """What it repeated or invented was cut."""


@dataclass(frozen=True)
class Search:
    """How outputs are found; parts are on the model's device."""

    model: Seq2Seq
    """In evaluation mode."""
    config: SearchConfig
    prompt: list[int]
    """Tokens that outputs begin with."""
    language_models: LanguageModels
    phrases: Phrases | None


class Part(NamedTuple):
    """Sound, and the outputs for it, best first."""

    start: float
    """Seconds from where the whole sound begins."""
    samples: Waveform
    memory: Memory
    """One row."""
    hypotheses: list[Hypothesis]
    verdict: Verdict


@dataclass(frozen=True)
class Result:
    """What was recognized."""

    parts: list[Part]
    """One, or two halves."""
    reason: Reason | None
    """What was wrong with the first output."""
    remedy: Remedy | None
    """What was done about it; None where nothing else was better."""


class _Encoded(NamedTuple):
    """A batch of sound, encoded."""

    waveforms: list[Waveform]
    memory: Memory
    ctc: CTCFrames | None


class _Try(NamedTuple):
    """The outputs of one way to decode."""

    remedy: Remedy | None
    parts: list[Part]

    @property
    def reason(self) -> Reason | None:
        """What is wrong with it; of halves, one may well be silent."""
        reasons = [part.verdict.reason for part in self.parts]
        silent = all(reason is Reason.unspoken for reason in reasons)
        wrong = (reason for reason in reasons if reason not in SETTLED)
        return next(wrong, Reason.unspoken if silent else None)

    @property
    def fit(self) -> tuple[bool, float]:
        """What is unsure is better than what is known to be wrong."""
        only_unsure = self.reason is Reason.unsure
        return only_unsure, fmean(part.verdict.fit for part in self.parts)


@torch.inference_mode()
def recognize(search: Search, waveforms: Sequence[Waveform]) -> list[Result]:
    """Recognize a batch of sounds `(samples,)` at 16 kHz, in order."""
    encoded = _encode(search, waveforms)
    tries = [[_Try(None, [part])] for part in _decode(search, encoded, search.config)]
    for remedy, reasons in (
        (Remedy.beam, LOST),
        # What is only hard to hear, attention, CTC and language models know together or not at all.
        (Remedy.beam, (Reason.unsure,)),
        (Remedy.ctc, LOST),
        (Remedy.pieces, LOST),
    ):
        rows = [
            row
            for row, tried in enumerate(tries)
            if tried[0].reason in reasons
            and all(one.reason not in SETTLED for one in tried)
            and _applies(remedy, encoded, row)
        ]
        if rows:
            again = _again(search, _select(encoded, rows), remedy, lost=reasons == LOST)
            for row, parts in zip(rows, again, strict=True):
                tries[row].append(_Try(remedy, parts))
    return [_settle(tried) for tried in tries]


def _applies(remedy: Remedy, encoded: _Encoded, row: int) -> bool:
    if remedy is Remedy.pieces:
        return len(encoded.waveforms[row]) >= SHORTEST_CUT * SAMPLE_RATE
    return remedy is Remedy.beam or encoded.ctc is not None


def _again(search: Search, encoded: _Encoded, remedy: Remedy, *, lost: bool) -> list[list[Part]]:
    """The parts of each row, decoded with a remedy."""
    config = search.config
    if remedy is Remedy.beam:
        weight = max(config.ctc_weight, MORE_CTC) if lost else config.ctc_weight
        width = min(WIDER * config.beam_size, LARGEST_BEAM)
        wider = replace(config, beam_size=width, ctc_weight=weight)
        return [[part] for part in _decode(search, encoded, wider)]
    if remedy is Remedy.ctc:
        # CTC's scores are of whole outputs, whatever their length; users get them like others.
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


def _settle(tried: list[_Try]) -> Result:
    """The first try with nothing wrong, else the best; what is still invented is cut."""
    first = tried[0]
    if first.reason is Reason.unsure:  # the same search, only wider: its scores tell
        sound = (one for one in tried if one.reason not in LOST)
        chosen = max(sound, key=lambda one: one.parts[0].hypotheses[0].score)
    else:
        settled = (one for one in tried if one.reason in SETTLED)
        chosen = next(settled, None) or max(tried, key=lambda one: one.fit)
    parts = [_cut(part) for part in chosen.parts]
    silent = not any(part.hypotheses[0].tokens for part in parts)
    reason = Reason.unspoken if silent and chosen.reason in SETTLED else first.reason
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
    memory = search.model.encode("speech", padded.to(device), lengths.to(device))
    return _Encoded(list(waveforms), memory, search.model.ctc_frames(memory))


def _select(encoded: _Encoded, rows: list[int]) -> _Encoded:
    return _Encoded(
        [encoded.waveforms[row] for row in rows],
        Memory(*(part[rows] for part in encoded.memory)),
        CTCFrames(*(part[rows] for part in encoded.ctc)) if encoded.ctc is not None else None,
    )


def _decode(search: Search, encoded: _Encoded, config: SearchConfig) -> list[Part]:
    """Outputs for each row, and what the guard says of the best."""
    model, (waveforms, memory, ctc) = search.model, encoded
    prompts = torch.tensor([search.prompt] * len(waveforms), device=memory.values.device).long()
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
    means = [_mean(hypotheses[0], config) for hypotheses in results]
    when = model.speech.start_of
    if model.ctc is not None and ctc is not None:
        frame_seconds = (when(1) - when(0)) / model.ctc.per_frame
        favor = search.phrases.earned if search.phrases else lambda output: 0.0
        verdicts = examine_by_ctc(ctc, outputs, frame_seconds, favor)
    elif isinstance(model.decoder.attention, NoAttention):
        verdicts = examine_by_probability(outputs, means)
    else:
        weights = forced_decode(model, memory, outputs, prompts)[1]
        verdicts = examine_by_attention(weights, outputs, means, waveforms, when)
    return [
        Part(0.0, samples, Memory(*(part[row : row + 1] for part in memory)), hypotheses, verdict)
        for row, (samples, hypotheses, verdict) in enumerate(
            zip(waveforms, results, verdicts, strict=True)
        )
    ]


def _mean(hypothesis: Hypothesis, config: SearchConfig) -> float:
    """What the search gave a token, the end included."""
    length = len(hypothesis.tokens) + 1
    return hypothesis.score * float(length ** (config.length_normalization - 1.0))


def join_memories(memories: Sequence[Memory]) -> Memory:
    """Memories of one row each as a batch."""
    rows = [memory.values[0, : int(memory.lengths[0])] for memory in memories]
    return Memory(
        pad_sequence(rows, batch_first=True),
        torch.cat([memory.lengths for memory in memories]),
        torch.cat([memory.summary for memory in memories]),
    )
