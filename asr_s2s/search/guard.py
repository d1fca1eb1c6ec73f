"""What is wrong with an output, if anything: loops, skipped audio, early ends, words nobody said.

Attention may lose its place: it writes the same words over and over, jumps over some, stops before
the end (Chorowski and Jaitly, 2017), or writes words where there is only noise. CTC can do none of
that, as it spells frame by frame, so it is the witness: where an output differs from CTC's own, the
guard asks how likely CTC finds each, and silence. The bounds are odds that CTC gives, so that they
hold for any vocabulary. Without a CTC head, how attention moved is the evidence, which is weaker.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from asr_s2s.audio.features import padding_mask
from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform
from asr_s2s.model.ctc import CTCFrames
from asr_s2s.search.align import STEP, sound_levels
from asr_s2s.text.tokenizer import BLANK

SPOKEN = (3.5, 0.0), (2.5, 10.0)
"""Nats a token, and nats besides, by which CTC finds words likelier than silence, if somebody said
them: those of the output, or its own. The lesser of the two sums counts, so that many words need
less evidence each. Single digits that were recognized rightly had 7 and more a token, 4 and more in
white noise as loud or among voices 10 dB below; noise and silence below 1.7, 44 of 48 tones below
3. With phonemes 34 tokens of a stranger had 2.9, 10 tokens heard in dense babble 3.4."""
SURE = 10.0
"""Nats by which CTC finds an output likelier with what the output lacks."""
SKIPPED_SECONDS, SKIPPED_TOKENS = 0.5, 3
"""What is skipped is no shorter than this: of single words, attention knows more than CTC."""
INVENTED_TOKENS = 6
"""What is invented in the midst of words is no shorter than this, for the same reason."""
ROUNDS = 4
"""Times that a loop says the same. People do so too, but then CTC hears them."""
UNSURE = -1.5
"""Mean log-probability of tokens of an unsure output, at most. Radford et al. (2022) take -1, but
CTC gives less than that to half of what strangers say into their own microphones."""
UNREAD_SECONDS = 1.5
"""Attention has read the sound between tokens that are closer than this."""
LOUD = 0.25
"""Part of that sound, at least, that is louder than the middle between quiet and loud: speech has
pauses."""
SAME_PLACE_SECONDS = 0.1
"""Attention that goes on less than this from round to round reads the same again."""


class Reason(StrEnum):
    """What is wrong with an output."""

    loop = "loop"
    """It repeats itself."""
    gap = "gap"
    """It lacks something that was said."""
    early_end = "early_end"
    """It lacks what was said last."""
    unspoken = "unspoken"
    """It holds words that nobody said, or nothing."""
    unsure = "unsure"
    """It is improbable, but nothing is known to be better."""


@dataclass(frozen=True)
class Verdict:
    """What was found of an output."""

    reason: Reason | None
    fit: float
    """For comparing outputs for the same sound: CTC's natural log-probability a frame, or without
    CTC the mean that the search gave tokens."""
    cut: list[int]
    """The output without what it repeats or invents."""


class Repetition(NamedTuple):
    """Tokens that are the same over and over; the last round may be incomplete."""

    start: int
    end: int
    period: int


class _Doubt(NamedTuple):
    """A stretch of an output, and what CTC spells in its place."""

    row: int
    start: int
    end: int
    heard: list[int]
    last: bool
    """Whether neither the output nor CTC's goes on after it."""
    spoken: float = 0.0
    """Nats by which words there are likelier than silence, if somebody said them: none in the midst
    of words that somebody did say."""

    def fixed(self, output: list[int], tokens: list[int]) -> list[int]:
        return [*output[: self.start], *tokens, *output[self.end :]]


def examine_by_ctc(
    ctc: CTCFrames,
    outputs: Sequence[list[int]],
    frame_seconds: float,
    favor: Callable[[list[int]], float] = lambda output: 0.0,
) -> list[Verdict]:
    """Judge outputs by what CTC hears.

    Args:
        ctc: of each row.
        outputs: tokens of each row, without specials.
        frame_seconds: time from one of CTC's frames to the next.
        favor: nats by which an output is likelier than CTC finds it, as of phrases to favor.
    """

    def likely(rows: Sequence[int], outputs: Sequence[list[int]]) -> list[float]:
        heard = ctc_likelihoods(ctc, rows, outputs)
        return [nats + favor(output) for nats, output in zip(heard, outputs, strict=True)]

    log_probs, lengths = ctc
    padded = padding_mask(lengths, log_probs.size(1))
    best = log_probs.argmax(-1).masked_fill(padded, BLANK).tolist()
    silence = log_probs[:, :, BLANK].masked_fill(padded, 0.0).sum(1).tolist()
    likelihoods = likely(range(len(outputs)), outputs)
    spellings = [_spelling(path) for path in best]
    faint = [
        row
        for row, output in enumerate(outputs)
        if likelihoods[row] - silence[row] < _least_odds(len(output))
    ]
    # Words may be wrong though somebody spoke, so what CTC hears counts as well.
    as_spelled = likely(faint, [spellings[row][0] for row in faint])
    faint = [
        row
        for row, nats in zip(faint, as_spelled, strict=True)
        if nats - silence[row] < _least_odds(max(1, len(spellings[row][0])))
    ]
    doubts: list[_Doubt] = []
    for row, output in enumerate(outputs):
        spelled, frames = spellings[row]
        if not output or row in faint:
            spoken = _least_odds(len(output))
            doubts.append(_Doubt(row, 0, len(output), spelled, last=True, spoken=spoken))
        elif output != spelled:
            differences = _differences(output, spelled, [f * frame_seconds for f in frames])
            doubts += [_Doubt(row, *difference) for difference in differences]
    rows = [doubt.row for doubt in doubts]
    instead = [doubt.fixed(outputs[doubt.row], doubt.heard) for doubt in doubts]
    without = [doubt.fixed(outputs[doubt.row], []) for doubt in doubts]
    as_heard = likely(rows, instead)
    as_silent = likely(rows, without)

    found: list[list[tuple[_Doubt, Reason]]] = [[] for _ in outputs]
    cuts = [list(output) for output in outputs]
    for doubt, heard, silent in list(zip(doubts, as_heard, as_silent, strict=True))[::-1]:
        reason = _decide(doubt, outputs[doubt.row], likelihoods[doubt.row], heard, silent)
        if reason is not None:
            found[doubt.row].append((doubt, reason))
            # From the last to the first, as a cut moves what is after it.
            tokens = [] if reason is Reason.unspoken else doubt.heard
            cuts[doubt.row] = doubt.fixed(cuts[doubt.row], tokens)
    verdicts = []
    for row, output in enumerate(outputs):
        name = _name(output, cuts[row], found[row])
        if name is None and likelihoods[row] < UNSURE * len(output):
            name = Reason.unsure
        verdicts.append(Verdict(name, likelihoods[row] / int(lengths[row]), cuts[row]))
    return verdicts


def _least_odds(tokens: int) -> float:
    """Nats by which CTC finds so many tokens likelier than silence, if somebody said them."""
    return min(each * tokens + besides for each, besides in SPOKEN)


def ctc_likelihoods(
    ctc: CTCFrames, rows: Sequence[int], outputs: Sequence[list[int]]
) -> list[float]:
    """CTC's natural log-probability of outputs, each of one of the rows; -inf where an output is
    too long for its frames. Arguments are as in `examine_by_ctc`."""
    if not outputs:
        return []
    device = ctc.log_probs.device
    chosen = torch.tensor(list(rows), device=device)
    sizes = torch.tensor([len(output) for output in outputs], device=device)
    targets = torch.tensor([token for output in outputs for token in output], device=device)
    losses = F.ctc_loss(
        ctc.log_probs[chosen].transpose(0, 1),
        targets.long(),
        ctc.lengths[chosen],
        sizes,
        blank=BLANK,
        reduction="none",
    )
    likelihoods: list[float] = (-losses).tolist()
    return likelihoods


def _spelling(path: list[int]) -> tuple[list[int], list[int]]:
    """The tokens of CTC's best path, and the frame in which each begins."""
    tokens, frames, frame = [], [], 0
    for token, run in groupby(path):
        if token != BLANK:
            tokens.append(token)
            frames.append(frame)
        frame += len(list(run))
    return tokens, frames


def _differences(
    output: list[int], heard: list[int], times: list[float]
) -> list[tuple[int, int, list[int], bool]]:
    """Where an output and CTC's own differ by more than a word: what a `_Doubt` says after its row.
    `times` are of CTC's tokens."""
    found = []
    matched = SequenceMatcher(None, output, heard, autojunk=False)
    for kind, start, end, begin, stop in matched.get_opcodes():
        if kind == "equal":
            continue
        skipped = times[stop - 1] - times[begin] if stop - begin >= SKIPPED_TOKENS else 0.0
        if skipped >= SKIPPED_SECONDS or end - start >= INVENTED_TOKENS:
            last = end == len(output) and stop == len(heard)
            found.append((start, end, heard[begin:stop], last))
    return found


def _decide(
    doubt: _Doubt, output: list[int], written: float, heard: float, silent: float
) -> Reason | None:
    """What is wrong there, by how likely CTC finds the output with what is written there, with what
    it hears there, and with nothing."""
    size = doubt.end - doubt.start
    if heard - max(written, silent) >= max(SURE, _least_odds(len(doubt.heard))):
        return Reason.early_end if doubt.last and size < len(doubt.heard) else Reason.gap
    if written == -math.inf and find_repetition(output) is None:
        return None  # it is too long for CTC to spell in these frames, which says nothing of it
    return Reason.unspoken if written - silent < doubt.spoken else None


def _name(output: list[int], cut: list[int], found: list[tuple[_Doubt, Reason]]) -> Reason | None:
    """One name for all that was found of an output."""
    reasons = [reason for _, reason in found]
    if not reasons:
        return None if output else Reason.unspoken
    if not cut:
        return Reason.unspoken
    repetition = find_repetition(output)
    if repetition is not None:
        for doubt, _ in found:
            common = min(doubt.end, repetition.end) - max(doubt.start, repetition.start)
            if common >= repetition.period:
                return Reason.loop
    return next((reason for reason in reasons if reason is not Reason.unspoken), reasons[0])


def examine_by_attention(
    weights: Tensor,
    outputs: Sequence[list[int]],
    means: Sequence[float],
    waveforms: Sequence[Waveform],
    start_of: Callable[[int], float],
) -> list[Verdict]:
    """Judge outputs of a model without CTC, by where attention looked.

    Args:
        weights: of each output's tokens, and maybe more, over frames, `(batch, tokens, time)`.
        outputs: tokens of each row, without specials.
        means: mean log-probability of each output's tokens.
        waveforms: the sound, `(samples,)` at 16 kHz.
        start_of: when a frame begins, in seconds.
    """
    verdicts = []
    places = weights.argmax(-1).tolist()
    for row, (output, mean, samples) in enumerate(zip(outputs, means, waveforms, strict=True)):
        times = [start_of(place) for place in places[row][: len(output)]]
        reason, cut = None, output
        repetition = find_repetition(output)
        if repetition is not None:
            start, end, period = repetition
            rounds = pairwise(times[start:end:period])
            if sum(after - before < SAME_PLACE_SECONDS for before, after in rounds) >= ROUNDS - 1:
                reason = Reason.loop
                # The second round begins where attention goes back, if it does.
                steps = np.diff(times[start + period - 1 : start + 2 * period])
                back = int(np.minimum(steps, -SAME_PLACE_SECONDS).argmin())
                cut = output[: start + period + back] + output[end:]
        if reason is None:
            reason = _unread(times, samples)
        if reason is None:
            (verdict,) = examine_by_probability([output], [mean])
        else:
            verdict = Verdict(reason, mean, cut)
        verdicts.append(verdict)
    return verdicts


def examine_by_probability(outputs: Sequence[list[int]], means: Sequence[float]) -> list[Verdict]:
    """Judge outputs of which no more is known than the mean log-probability of their tokens."""
    verdicts = []
    for output, mean in zip(outputs, means, strict=True):
        reason = Reason.unsure if mean < UNSURE else None
        verdicts.append(Verdict(reason if output else Reason.unspoken, mean, output))
    return verdicts


def _unread(times: list[float], samples: Waveform) -> Reason | None:
    """Whether loud sound lies between places that attention read, or after them."""
    end = len(samples) / SAMPLE_RATE
    levels = sound_levels(samples)
    middle = np.percentile(levels, [5, 95]).mean()
    for before, after in pairwise([0.0, *sorted(times), end]):
        between = levels[max(0, round(before / STEP)) : round(after / STEP)]
        if after - before > UNREAD_SECONDS and np.mean(between > middle) > LOUD:
            return Reason.early_end if after == end else Reason.gap
    return None


def find_repetition(tokens: list[int]) -> Repetition | None:
    """The longest stretch that says the same at least `ROUNDS` times in a row."""
    array = np.array(tokens)
    best: Repetition | None = None
    for period in range(1, len(tokens) // ROUNDS + 1):
        start = 0
        for same, run in groupby((array[period:] == array[:-period]).tolist()):
            length = len(list(run))
            end = start + length + period
            longer = best is None or end - start > best.end - best.start
            if same and end - start >= ROUNDS * period and longer:
                best = Repetition(start, end, period)
            start += length
    return best
