"""Guard: detects loops, skipped audio, early ends and invented words in outputs.

Attention may lose its place: outputs then repeat words, skip audio, stop early (Chorowski and
Jaitly, 2017), or contain words for noise. CTC aligns with every frame and has none of these
failures. Where an output differs from CTC's best path, the guard compares the CTC log-likelihoods
of the output, of the best path, and of silence. Thresholds are log odds, so that they hold for any
vocabulary. Without a CTC head, the guard uses the movement of attention, which is weaker evidence;
also for translations of speech, for which CTC only judges whether there is speech.
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

from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform
from asr_s2s.model.ctc import CTCFrames
from asr_s2s.nn.masks import padding_mask
from asr_s2s.search.align import STEP, sound_levels
from asr_s2s.text.tokenizer import BLANK

SPEECH_ODDS = (3.5, 0.0), (2.5, 10.0)
"""Pairs (nats per token, constant nats): minimum log odds of words versus silence by CTC for words
that were spoken, in the output or in CTC's best path. The lower of the two sums counts, so that
long outputs need less evidence per token. Correctly recognized single digits had at least 7 nats
per token, and at least 4 in white noise of the same level or with voices 10 dB below; noise and
silence had less than 1.7, and 44 of 48 tones less than 3. With phonemes, 34 tokens of an unknown
speaker had 2.9, and 10 tokens decoded from dense babble 3.4."""
GAP_ODDS = 10.0
"""Minimum nats by which skipped words make an output more likely by CTC."""
SKIPPED_SECONDS, SKIPPED_TOKENS = 0.5, 3
"""Minimum length of skipped audio. For single words, attention is more accurate than CTC."""
INVENTED_TOKENS = 6
"""Minimum number of invented tokens within an output, for the same reason."""
MIN_REPETITIONS = 4
"""Minimum number of repetitions that count as a loop. Genuine repetitions are confirmed by CTC."""
UNSURE_LOG_PROB = -1.5
"""Mean log-probability per token below which an output is unsure. Radford et al. (2022) use -1, but
half of the utterances of unknown speakers with their own microphones score lower than that by CTC.
"""
UNREAD_SECONDS = 1.5
"""Maximum distance of two attended times between which audio counts as read."""
MIN_LOUD_FRACTION = 0.25
"""Minimum fraction of unread audio that must be louder than the midpoint between quiet and loud to
count as skipped speech. It is low because speech has pauses."""
SAME_AUDIO_SECONDS = 0.1
"""Movement of attention between repetitions below which it reads the same audio again."""


class Reason(StrEnum):
    """Kind of problem of an output."""

    loop = "loop"
    """Words are repeated."""
    gap = "gap"
    """Speech was skipped."""
    early_end = "early_end"
    """Speech at the end was skipped."""
    unspoken = "unspoken"
    """Words were not spoken, or the output is empty."""
    unsure = "unsure"
    """The output has a low probability, but no other problem was found."""


@dataclass(frozen=True)
class Verdict:
    """Result of examining an output."""

    reason: Reason | None
    fit: float
    """Score for comparing outputs for the same audio: natural log-probability per frame by CTC, or
    without CTC the mean score per token of the search."""
    cut: list[int]
    """Output without repeated or invented words."""


class Repetition(NamedTuple):
    """Range of repeated tokens in an output; the last repetition may be incomplete."""

    start: int
    end: int
    period: int


class _Difference(NamedTuple):
    """Range of tokens in an output where it differs from CTC's best path."""

    row: int
    start: int
    end: int
    ctc_tokens: list[int]
    """Tokens of CTC's best path in this range."""
    last: bool
    """Whether both the output and CTC's best path end with this range."""
    min_odds: float = 0.0
    """Minimum log odds of the output's words versus silence if they were spoken, in nats: 0 within
    an output that was spoken."""

    def replaced(self, output: list[int], tokens: list[int]) -> list[int]:
        """Return the output with other tokens in this range."""
        return [*output[: self.start], *tokens, *output[self.end :]]


def examine_by_ctc(
    ctc: CTCFrames,
    outputs: Sequence[list[int]],
    frame_seconds: float,
    favor: Callable[[list[int]], float] = lambda output: 0.0,
) -> list[Verdict]:
    """Examine outputs by their CTC likelihoods.

    Args:
        ctc: log-probabilities of each row.
        outputs: tokens of each row, without special tokens.
        frame_seconds: seconds per CTC frame.
        favor: nats to add to the log-likelihood of an output, such as the bonus of phrases.
    """

    def score(rows: Sequence[int], outputs: Sequence[list[int]]) -> list[float]:
        likelihoods = ctc_likelihoods(ctc, rows, outputs)
        return [nats + favor(output) for nats, output in zip(likelihoods, outputs, strict=True)]

    log_probs, lengths = ctc
    padded = padding_mask(lengths, log_probs.size(1))
    best = log_probs.argmax(-1).masked_fill(padded, BLANK).tolist()
    silence = log_probs[:, :, BLANK].masked_fill(padded, 0.0).sum(1).tolist()
    likelihoods = score(range(len(outputs)), outputs)
    ctc_outputs = [_best_tokens(path) for path in best]
    unlikely = [
        row
        for row, output in enumerate(outputs)
        if likelihoods[row] - silence[row] < _min_odds(len(output))
    ]
    # An output may be wrong for real speech, so CTC's best path must be unlikely too.
    ctc_scores = score(unlikely, [ctc_outputs[row][0] for row in unlikely])
    unlikely = [
        row
        for row, nats in zip(unlikely, ctc_scores, strict=True)
        if nats - silence[row] < _min_odds(max(1, len(ctc_outputs[row][0])))
    ]
    differences: list[_Difference] = []
    for row, output in enumerate(outputs):
        tokens, frames = ctc_outputs[row]
        if not output or row in unlikely:
            odds = _min_odds(len(output))
            differences.append(_Difference(row, 0, len(output), tokens, last=True, min_odds=odds))
        elif output != tokens:
            ranges = _find_differences(output, tokens, [f * frame_seconds for f in frames])
            differences += [_Difference(row, *fields) for fields in ranges]
    rows = [each.row for each in differences]
    ctc_scores = score(rows, [d.replaced(outputs[d.row], d.ctc_tokens) for d in differences])
    silent_scores = score(rows, [d.replaced(outputs[d.row], []) for d in differences])

    found: list[list[tuple[_Difference, Reason]]] = [[] for _ in outputs]
    cuts = [list(output) for output in outputs]
    scored = list(zip(differences, ctc_scores, silent_scores, strict=True))
    # From the last to the first, because a cut shifts the tokens after it.
    for each, by_ctc, silent in scored[::-1]:
        row = each.row
        reason = _decide(each, outputs[row], likelihoods[row], by_ctc, silent)
        if reason is not None:
            found[row].append((each, reason))
            tokens = [] if reason is Reason.unspoken else each.ctc_tokens
            cuts[row] = each.replaced(cuts[row], tokens)
    verdicts = []
    for row, output in enumerate(outputs):
        reason = _overall_reason(output, cuts[row], found[row])
        if reason is None and likelihoods[row] < UNSURE_LOG_PROB * len(output):
            reason = Reason.unsure
        verdicts.append(Verdict(reason, likelihoods[row] / int(lengths[row]), cuts[row]))
    return verdicts


def hears_speech(ctc: CTCFrames) -> list[bool]:
    """Return for each row whether the tokens of CTC's best path are likely enough, versus silence,
    to have been spoken."""
    padded = padding_mask(ctc.lengths, ctc.log_probs.size(1))
    best = ctc.log_probs.argmax(-1).masked_fill(padded, BLANK).tolist()
    tokens = [_best_tokens(path)[0] for path in best]
    silence = ctc.log_probs[:, :, BLANK].masked_fill(padded, 0.0).sum(1).tolist()
    scores = ctc_likelihoods(ctc, range(len(tokens)), tokens)
    return [
        nats - silent >= _min_odds(max(1, len(output)))
        for nats, silent, output in zip(scores, silence, tokens, strict=True)
    ]


def _min_odds(tokens: int) -> float:
    """Return the minimum log odds versus silence, in nats, of this many spoken tokens."""
    return min(per_token * tokens + constant for per_token, constant in SPEECH_ODDS)


def ctc_likelihoods(
    ctc: CTCFrames, rows: Sequence[int], outputs: Sequence[list[int]]
) -> list[float]:
    """Compute CTC log-likelihoods of outputs.

    Args:
        ctc: log-probabilities of a batch.
        rows: row of each output in the batch.
        outputs: tokens without special tokens.

    Returns:
        One natural log-probability per output; -inf if it is too long for the frames.
    """
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


def _best_tokens(path: list[int]) -> tuple[list[int], list[int]]:
    """Return the tokens of CTC's best path and the first frame of each."""
    tokens, frames, frame = [], [], 0
    for token, run in groupby(path):
        if token != BLANK:
            tokens.append(token)
            frames.append(frame)
        frame += len(list(run))
    return tokens, frames


def _find_differences(
    output: list[int], ctc_tokens: list[int], times: list[float]
) -> list[tuple[int, int, list[int], bool]]:
    """Find differences of more than a word between an output and CTC's best path.

    Args:
        output: tokens of the output.
        ctc_tokens: tokens of CTC's best path.
        times: start of each of these in seconds.

    Returns:
        The fields of `_Difference` from `start` to `last`, per difference.
    """
    found = []
    matched = SequenceMatcher(None, output, ctc_tokens, autojunk=False)
    for kind, start, end, begin, stop in matched.get_opcodes():
        if kind == "equal":
            continue
        skipped = times[stop - 1] - times[begin] if stop - begin >= SKIPPED_TOKENS else 0.0
        if skipped >= SKIPPED_SECONDS or end - start >= INVENTED_TOKENS:
            last = end == len(output) and stop == len(ctc_tokens)
            found.append((start, end, ctc_tokens[begin:stop], last))
    return found


def _decide(
    difference: _Difference, output: list[int], written: float, by_ctc: float, silent: float
) -> Reason | None:
    """Return the problem in the range of a difference, if any.

    Args:
        difference: the range.
        output: tokens of the whole output.
        written: log-likelihood of the output by CTC.
        by_ctc: its log-likelihood with CTC's tokens in the range.
        silent: its log-likelihood without tokens in the range.
    """
    size, ctc_size = difference.end - difference.start, len(difference.ctc_tokens)
    if by_ctc - max(written, silent) >= max(GAP_ODDS, _min_odds(ctc_size)):
        return Reason.early_end if difference.last and size < ctc_size else Reason.gap
    if written == -math.inf and find_repetition(output) is None:
        return None  # too long for the CTC frames, which is no evidence against the output
    return Reason.unspoken if written - silent < difference.min_odds else None


def _overall_reason(
    output: list[int], cut: list[int], found: list[tuple[_Difference, Reason]]
) -> Reason | None:
    """Combine the problems of an output into one."""
    reasons = [reason for _, reason in found]
    if not reasons:
        return None if output else Reason.unspoken
    if not cut:
        return Reason.unspoken
    repetition = find_repetition(output)
    if repetition is not None:
        for each, _ in found:
            overlap = min(each.end, repetition.end) - max(each.start, repetition.start)
            if overlap >= repetition.period:
                return Reason.loop
    return next((reason for reason in reasons if reason is not Reason.unspoken), reasons[0])


def examine_by_attention(
    weights: Tensor,
    outputs: Sequence[list[int]],
    means: Sequence[float],
    waveforms: Sequence[Waveform],
    start_of: Callable[[int], float],
) -> list[Verdict]:
    """Examine outputs of a model without CTC by their attention weights.

    Args:
        weights: attention weights `(batch, tokens, time)`; steps beyond an output are ignored.
        outputs: tokens of each row, without special tokens.
        means: mean log-probability of the tokens of each output.
        waveforms: the utterances, `(samples,)` at 16 kHz.
        start_of: returns the start of a frame in seconds.
    """
    verdicts = []
    attended = weights.argmax(-1).tolist()
    for row, (output, mean, samples) in enumerate(zip(outputs, means, waveforms, strict=True)):
        times = [start_of(frame) for frame in attended[row][: len(output)]]
        reason, cut = None, output
        repetition = find_repetition(output)
        if repetition is not None:
            start, end, period = repetition
            repetitions = pairwise(times[start:end:period])
            if (
                sum(after - before < SAME_AUDIO_SECONDS for before, after in repetitions)
                >= MIN_REPETITIONS - 1
            ):
                reason = Reason.loop
                # The second repetition begins where attention moves back, if it does.
                steps = np.diff(times[start + period - 1 : start + 2 * period])
                back = int(np.minimum(steps, -SAME_AUDIO_SECONDS).argmin())
                cut = output[: start + period + back] + output[end:]
        if reason is None:
            reason = _find_unread_speech(times, samples)
        if reason is None:
            (verdict,) = examine_by_probability([output], [mean])
        else:
            verdict = Verdict(reason, mean, cut)
        verdicts.append(verdict)
    return verdicts


def examine_by_probability(outputs: Sequence[list[int]], means: Sequence[float]) -> list[Verdict]:
    """Examine outputs of a model without CTC and attention by the mean log-probability of their
    tokens."""
    verdicts = []
    for output, mean in zip(outputs, means, strict=True):
        reason = Reason.unsure if mean < UNSURE_LOG_PROB else None
        verdicts.append(Verdict(reason if output else Reason.unspoken, mean, output))
    return verdicts


def _find_unread_speech(times: list[float], samples: Waveform) -> Reason | None:
    """Return whether loud audio lies between or after the attended times."""
    end = len(samples) / SAMPLE_RATE
    levels = sound_levels(samples)
    middle = np.percentile(levels, [5, 95]).mean()
    for before, after in pairwise([0.0, *sorted(times), end]):
        between = levels[max(0, round(before / STEP)) : round(after / STEP)]
        if after - before > UNREAD_SECONDS and np.mean(between > middle) > MIN_LOUD_FRACTION:
            return Reason.early_end if after == end else Reason.gap
    return None


def find_repetition(tokens: list[int]) -> Repetition | None:
    """Find the longest sequence that is repeated at least `MIN_REPETITIONS` times in a row."""
    array = np.array(tokens)
    best: Repetition | None = None
    for period in range(1, len(tokens) // MIN_REPETITIONS + 1):
        start = 0
        for same, run in groupby((array[period:] == array[:-period]).tolist()):
            length = len(list(run))
            end = start + length + period
            longer = best is None or end - start > best.end - best.start
            if same and end - start >= MIN_REPETITIONS * period and longer:
                best = Repetition(start, end, period)
            start += length
    return best
