"""When each word was said, and how sure the model is of it.

CTC aligns tokens with frames (torchaudio's forced alignment, after Kürzinger et al., 2020); where
there is no CTC head, or the output is longer than CTC can spell in the frames, attention does, as
the best monotone path through its weights. Both mark where the model has heard enough of a token
rather than where it begins, so the bounds of words are then moved to where the sound is lowest.
"""

from itertools import groupby, pairwise
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import forced_align

from asr_s2s.audio.features import HOP, WINDOW
from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform
from asr_s2s.model.attention import Memory
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.confidence import Evidence
from asr_s2s.text.tokenizer import BLANK, BOS, Tokenizer
from asr_s2s.text.words import split_words

STEP = HOP / SAMPLE_RATE
"""Seconds between the levels by which bounds are moved."""
PAUSE_LEVEL = 0.2
"""How far up from quiet to loud a pause may reach, in dB of the utterance's own range."""


class Span(NamedTuple):
    """Frames that a token takes: `start` to `end`, the end excluded."""

    start: int
    end: int


class Alignment(NamedTuple):
    """An output's tokens on frames."""

    spans: list[Span]
    per_frame: int
    """Frames of the spans to one of the memory."""
    decoder: list[float]
    """The decoder's natural log-probability of each token after those before it."""
    ctc: list[float]
    """CTC's natural log-probability of each token, the mean over its span; the decoder's where CTC
    could not align."""


class AlignedWord(NamedTuple):
    """A word and when it was said."""

    text: str
    start: float
    """Seconds from the beginning of the utterance."""
    end: float
    evidence: Evidence


@torch.inference_mode()
def align(
    model: Seq2Seq, memory: Memory, outputs: list[list[int]], prompts: Tensor
) -> list[Alignment]:
    """Align the outputs of a batch of speech, all at once.

    Args:
        model: in evaluation mode.
        memory: of the batch.
        outputs: tokens of each row, without specials.
        prompts: tokens that outputs begin with, `(batch, prompt)`.
    """
    logits, weights = forced_decode(model, memory, outputs, prompts)
    log_probs = logits.float().log_softmax(-1)
    ctc = model.ctc_frames(memory)
    per_frame = model.ctc.per_frame if model.ctc is not None else 1
    alignments = []
    for row, output in enumerate(outputs):
        frames, steps = int(memory.lengths[row]), slice(0, len(output))
        chosen = torch.tensor(output, dtype=torch.long, device=log_probs.device)
        decoder: list[float] = log_probs[row, steps].gather(1, chosen[:, None])[:, 0].tolist()
        posteriors = ctc.log_probs[row, : int(ctc.lengths[row])] if ctc is not None else None
        spans = ctc_spans(posteriors, output) if posteriors is not None else None
        if posteriors is None or spans is None:
            spans = attention_spans(weights[row, steps, :frames])
            alignments.append(Alignment(spans, 1, decoder, decoder))
            continue
        heard = [
            float(posteriors[span.start : span.end, token].mean())
            for span, token in zip(spans, output, strict=True)
        ]
        alignments.append(Alignment(spans, per_frame, decoder, heard))
    return alignments


def forced_decode(
    model: Seq2Seq, memory: Memory, outputs: list[list[int]], prompts: Tensor
) -> tuple[Tensor, Tensor]:
    """One pass of the decoder over outputs that are known; arguments are as in `align`.

    Returns:
        Logits `(batch, tokens + 1, vocabulary)` and attention weights `(batch, tokens + 1, time)`
        of each token and of the end after it, padding included.
    """
    rows = [
        torch.tensor([BOS, *prompt, *output], device=memory.values.device)
        for prompt, output in zip(prompts.tolist(), outputs, strict=True)
    ]
    logits, weights = model.decoder(pad_sequence(rows, batch_first=True), memory)
    return logits[:, prompts.size(1) :], weights[:, prompts.size(1) :]


def ctc_spans(log_probs: Tensor, tokens: list[int]) -> list[Span] | None:
    """Where CTC says that each token is.

    Args:
        log_probs: of one utterance's valid frames, `(time, vocabulary)`, natural log.
        tokens: without specials.

    Returns:
        One span a token, in order; None if there are too few frames to spell them.
    """
    repeats = sum(a == b for a, b in pairwise(tokens))
    if len(log_probs) < len(tokens) + repeats:
        return None
    if not tokens:
        return []
    targets = torch.tensor([tokens], dtype=torch.int32)
    path, _ = forced_align(log_probs[None].float().cpu(), targets, blank=BLANK)
    spans, frame = [], 0
    for label, run in groupby(path[0].tolist()):
        count = len(list(run))
        if label != BLANK:
            spans.append(Span(frame, frame + count))
        frame += count
    return spans


def attention_spans(weights: Tensor) -> list[Span]:
    """The monotone path through attention weights that keeps most of them.

    Args:
        weights: of each token over the frames, `(tokens, time)`.

    Returns:
        One span a token, in order. Every frame belongs to a token; more tokens than frames share
        them evenly.
    """
    count, time = weights.shape
    if count > time:
        return [Span(i * time // count, i * time // count + 1) for i in range(count)]
    if count == 0:
        return []
    # Here, as it brings in numba, which takes a second, and CTC's times do without.
    from librosa.sequence import dtw

    costs = -weights.double().cpu().clamp_min(1e-6).log().numpy()
    # From frame to frame a path stays in its token or goes on to the next.
    _, path = dtw(C=costs, step_sizes_sigma=np.array([[0, 1], [1, 1]]))
    taken = np.bincount(path[:, 0], minlength=count)
    ends = taken.cumsum().tolist()
    return [Span(start, end) for start, end in pairwise([0, *ends])]


def align_words(
    model: Seq2Seq, tokenizer: Tokenizer, tokens: list[int], alignment: Alignment, samples: Waveform
) -> list[AlignedWord]:
    """The words that tokens spell, as `split_words` cuts them, with their times.

    Args:
        tokens, alignment: of one utterance.
        samples: the utterance, `(samples,)` at 16 kHz.
    """
    texts = split_words(tokenizer.decode(tokens))
    owners = _owners(tokenizer, tokens, texts)
    when = model.speech.start_of
    marks: list[tuple[float, float]] = []
    evidence: list[Evidence] = []
    for word in range(len(texts)):
        own = [i for i, owner in enumerate(owners) if owner == word]
        begin, end = alignment.spans[own[0]].start, alignment.spans[own[-1]].end
        marks.append((when(begin / alignment.per_frame), when(end / alignment.per_frame)))
        evidence.append(
            Evidence(
                mean=fmean(alignment.decoder[i] for i in own),
                lowest=min(alignment.decoder[i] for i in own),
                ctc=fmean(alignment.ctc[i] for i in own),
                utterance=fmean(alignment.decoder),
            )
        )
    bounds = settle_bounds(marks, samples)
    return [
        AlignedWord(text.strip(), start, end, seen)
        for text, (start, end), seen in zip(texts, bounds, evidence, strict=True)
    ]


def _owners(tokenizer: Tokenizer, tokens: list[int], texts: list[str]) -> list[int]:
    """The word that each token is part of; a blank between words is of the word after it. A word
    that begins within a token, as two characters of Chinese in a subword, has that token too."""
    ends = np.cumsum([len(text) for text in texts])
    places = [int(np.searchsorted(ends, max(place, 1))) for place in tokenizer.reached(tokens)]
    return [min(place, len(texts) - 1) for place in places]


def settle_bounds(words: list[tuple[float, float]], samples: Waveform) -> list[tuple[float, float]]:
    """Move the bounds of words to where the sound says that they are.

    Between two words it falls to a pause, whose edges are the bounds, or it does not, and the bound
    is where it is lowest.

    Args:
        words: start and end in seconds, in order.
        samples: `(samples,)` at 16 kHz.
    """
    if not words:
        return []
    levels = sound_levels(samples)
    quiet, loud = np.percentile(levels, [5, 95])
    pause = quiet + PAUSE_LEVEL * (loud - quiet)
    last = len(levels)
    marks = [min(max(round(time / STEP), 0), last) for word in words for time in word]
    edges = list(np.maximum.accumulate([0, *marks, last]))
    bounds: list[int] = []
    for number, (begin, end) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        between = levels[begin:end]
        silent = np.flatnonzero(between < pause)
        if len(silent):
            bounds += [begin + int(silent[0]), begin + int(silent[-1]) + 1]
        elif number == 0:
            bounds += [begin, begin]
        elif number == len(words):
            bounds += [end, end]
        else:
            lowest = begin + int(between.argmin()) if len(between) else begin
            bounds += [lowest, lowest]
    inner = [bound * STEP for bound in bounds[1:-1]]
    return list(zip(inner[::2], inner[1::2], strict=True))


def sound_levels(samples: Waveform) -> NDArray[np.float64]:
    """dBFS of a window every `STEP` seconds, each centered on its time."""
    padded = np.pad(samples.astype(np.float64), (WINDOW // 2, WINDOW))
    energy = np.concatenate([[0.0], np.square(padded).cumsum()])
    begins = np.arange(max(1, len(samples) // HOP)) * HOP
    levels: NDArray[np.float64] = 10.0 * np.log10(
        (energy[begins + WINDOW] - energy[begins]) / WINDOW + 1e-10
    )
    return levels
