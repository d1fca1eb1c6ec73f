"""Times of words, and the evidence for their confidence.

CTC aligns tokens with frames (torchaudio's forced alignment, after Kürzinger et al., 2020). Without
a CTC head, for translations of speech, or if the output has too many tokens for the CTC frames, the
alignment is the best monotone path through the attention weights, which is approximate where a
translation changes the order of words. Both mark frames in which a token is recognized rather
than those in which it begins, so word boundaries are then moved to where the signal is quietest.
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
"""Seconds between the signal levels that place word boundaries."""
PAUSE_LEVEL = 0.2
"""Highest level of a pause, as a fraction of the utterance's range in dB from quiet to loud."""


class Span(NamedTuple):
    """Frames of a token: from `start` up to, but not including, `end`."""

    start: int
    end: int


class Alignment(NamedTuple):
    """Alignment of the tokens of an output with frames."""

    spans: list[Span]
    per_frame: int
    """Span frames per memory frame."""
    decoder: list[float]
    """Natural log-probability of each token by the decoder, given the tokens before it."""
    ctc: list[float]
    """Natural log-probability of each token by CTC, averaged over its span; that of the decoder if
    CTC could not align the output."""


class AlignedWord(NamedTuple):
    """A word with its times."""

    text: str
    start: float
    """Seconds from the start of the utterance."""
    end: float
    """Seconds from the start of the utterance."""
    evidence: Evidence
    known: bool
    """Whether the word is in the lexicon; true without one."""


@torch.inference_mode()
def align(
    model: Seq2Seq, memory: Memory, outputs: list[list[int]], prompts: Tensor
) -> list[Alignment]:
    """Align the outputs of a batch of speech.

    Args:
        model: in evaluation mode.
        memory: of the batch.
        outputs: tokens of each row, without special tokens.
        prompts: tokens at the start of each output, `(batch, prompt)`.
    """
    logits, weights = forced_decode(model, memory, outputs, prompts)
    log_probs = logits.float().log_softmax(-1)
    transcripts = model.transcribes(prompts).tolist()
    ctc = model.ctc_frames(memory) if any(transcripts) else None
    per_frame = model.ctc.per_frame if model.ctc is not None else 1
    alignments = []
    for row, output in enumerate(outputs):
        frames, steps = int(memory.lengths[row]), slice(0, len(output))
        chosen = torch.tensor(output, dtype=torch.long, device=log_probs.device)
        decoder: list[float] = log_probs[row, steps].gather(1, chosen[:, None])[:, 0].tolist()
        posteriors = None
        if ctc is not None and transcripts[row]:
            posteriors = ctc.log_probs[row, : int(ctc.lengths[row])]
        spans = ctc_spans(posteriors, output) if posteriors is not None else None
        if posteriors is None or spans is None:
            spans = attention_spans(weights[row, steps, :frames])
            alignments.append(Alignment(spans, 1, decoder, decoder))
            continue
        by_ctc = [
            float(posteriors[span.start : span.end, token].mean())
            for span, token in zip(spans, output, strict=True)
        ]
        alignments.append(Alignment(spans, per_frame, decoder, by_ctc))
    return alignments


def forced_decode(
    model: Seq2Seq, memory: Memory, outputs: list[list[int]], prompts: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the decoder on given outputs in one pass; arguments are as in `align`.

    Returns:
        Logits `(batch, tokens + 1, vocabulary)` and attention weights `(batch, tokens + 1, time)`
        of each token and of the end token, padding included.
    """
    rows = [
        torch.tensor([BOS, *prompt, *output], device=memory.values.device)
        for prompt, output in zip(prompts.tolist(), outputs, strict=True)
    ]
    logits, weights = model.decoder(pad_sequence(rows, batch_first=True), memory)
    return logits[:, prompts.size(1) :], weights[:, prompts.size(1) :]


def ctc_spans(log_probs: Tensor, tokens: list[int]) -> list[Span] | None:
    """Align tokens with frames by CTC.

    Args:
        log_probs: natural log-probabilities of the valid frames of one utterance, `(time,
            vocabulary)`.
        tokens: without special tokens.

    Returns:
        One span per token, in order; None if there are too few frames for the tokens.
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
    """Align tokens with frames by the most likely monotone path through attention weights.

    Args:
        weights: attention weights of each token, `(tokens, time)`.

    Returns:
        One span per token, in order. Every frame belongs to a token; if there are more tokens than
        frames, tokens share frames evenly.
    """
    count, time = weights.shape
    if count > time:
        return [Span(i * time // count, i * time // count + 1) for i in range(count)]
    if count == 0:
        return []
    # Imported here, because it imports numba, which takes a second and is not needed with CTC.
    from librosa.sequence import dtw

    costs = -weights.double().cpu().clamp_min(1e-6).log().numpy()
    # At each frame, a path stays at its token or moves to the next one.
    _, path = dtw(C=costs, step_sizes_sigma=np.array([[0, 1], [1, 1]]))
    frames = np.bincount(path[:, 0], minlength=count)
    ends = frames.cumsum().tolist()
    return [Span(start, end) for start, end in pairwise([0, *ends])]


def align_words(
    model: Seq2Seq, tokenizer: Tokenizer, tokens: list[int], alignment: Alignment, samples: Waveform
) -> list[AlignedWord]:
    """Compute the times of the words of an output, which are split by `split_words`.

    Args:
        tokens, alignment: of one utterance.
        samples: the utterance, `(samples,)` at 16 kHz.
    """
    texts = split_words(tokenizer.decode(tokens))
    words = _locate_words(_word_indices(tokenizer, tokens, texts), len(texts), alignment.spans)
    frame_start = model.frame_time
    marks: list[tuple[float, float]] = []
    evidence: list[Evidence] = []
    known: list[bool] = []
    for own, begin, end in words:
        known.append(tokenizer.is_known([tokens[i] for i in own]))
        per_frame = alignment.per_frame
        marks.append((frame_start(begin / per_frame), frame_start(end / per_frame)))
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
        AlignedWord(text.strip(), start, end, each, is_known)
        for text, (start, end), each, is_known in zip(texts, bounds, evidence, known, strict=True)
    ]


def _word_indices(tokenizer: Tokenizer, tokens: list[int], texts: list[str]) -> list[int]:
    """Return the index of the word that each token belongs to, by the end of the token's text. A
    space between words belongs to the word after it."""
    ends = np.cumsum([len(text) for text in texts])
    indices = [int(np.searchsorted(ends, max(reach, 1))) for reach in tokenizer.offsets(tokens)]
    return [min(index, len(texts) - 1) for index in indices]


def _locate_words(
    indices: list[int], count: int, spans: list[Span]
) -> list[tuple[list[int], float, float]]:
    """Return the tokens of each word, and the frames in which the word starts and ends.

    Words that one token spells, such as Chinese characters in a subword, share its span evenly.

    Args:
        indices: word of each token; of several words in a token, the last.
        count: number of words.
        spans: of the tokens.
    """
    located: list[tuple[list[int], float, float]] = []
    for word in range(count):
        own = [token for token, index in enumerate(indices) if index == word]
        if not own:
            continue
        first = spans[own[0]]
        without = word - len(located)  # words before that the first token spells too
        each = (first.end - first.start) / (without + 1)
        starts = [first.start + number * each for number in range(without + 1)]
        located += [([own[0]], start, start + each) for start in starts[:-1]]
        located.append((own, starts[-1], spans[own[-1]].end))
    return located


def settle_bounds(words: list[tuple[float, float]], samples: Waveform) -> list[tuple[float, float]]:
    """Move word boundaries to pauses or to the quietest point of the signal.

    If there is a pause between two words, its edges become their boundaries; otherwise the quietest
    point becomes the boundary of both.

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
    """Return the level in dBFS of windows every `STEP` seconds, each centered on its time."""
    padded = np.pad(samples.astype(np.float64), (WINDOW // 2, WINDOW))
    energy = np.concatenate([[0.0], np.square(padded).cumsum()])
    begins = np.arange(max(1, len(samples) // HOP)) * HOP
    levels: NDArray[np.float64] = 10.0 * np.log10(
        (energy[begins + WINDOW] - energy[begins]) / WINDOW + 1e-10
    )
    return levels
