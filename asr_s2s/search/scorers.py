"""Scorers: each judges the next tokens of all hypotheses of all utterances at once.

Rows are utterances x hypotheses. A scorer's state is a NamedTuple of tensors whose first axis is
rows, so the beam reorders any scorer by one `index_select` per tensor.
"""

import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from asr_s2s.model.attention import AttendedMemory, Memory
from asr_s2s.model.decoder import Decoder, DecoderState
from asr_s2s.text.tokenizer import BLANK, BOS, EOS

LOG_ZERO = -1e4
"""Log-probability of what CTC deems impossible: finite, so that other scorers still rank it."""
LEAST_PROBABLE = math.log(1e-3)
"""Tokens that CTC finds less probable than this in every frame are not proposed."""


class Scorer(Protocol):
    """What the beam search asks of a scorer."""

    def start(self, beam_size: int) -> Any:
        """The state before any token, `beam_size` rows for each utterance."""

    def step(self, previous: Tensor, state: Any, candidates: Tensor | None) -> tuple[Tensor, Any]:
        """Take in the previous tokens `(rows,)` and judge the next.

        Returns:
            Log-probabilities of the `candidates` `(rows, candidates)`, or of the whole vocabulary
            `(rows, vocabulary)` where they are None; and the state for the next step.
        """


class AttentionScorer:
    """The attention decoder.

    Args:
        decoder: in evaluation mode.
        memory: of the batch.
        prompts: tokens that every output begins with, as its language, `(batch, prompt)`; they are
            no part of the hypotheses.
        writable: tokens from this one on are never written.
    """

    def __init__(
        self, decoder: Decoder, memory: Memory, prompts: Tensor | None, writable: int
    ) -> None:
        self.decoder = decoder
        self.memory = memory
        self.prompts = prompts
        self.writable = writable
        self.prepared: AttendedMemory = decoder.prepare(memory)

    def start(self, beam_size: int) -> Any:
        state = self.decoder.start(self.memory, beam_size)
        if self.prompts is None:
            return state
        prompts = self.prompts.repeat_interleave(beam_size, 0)
        previous = torch.full_like(prompts[:, 0], BOS)
        for token in prompts.unbind(1):  # the last one waits for the first step
            _, state = self.decoder.step(previous, state, self.prepared)
            previous = token
        return state

    def step(
        self, previous: Tensor, state: Any, candidates: Tensor | None
    ) -> tuple[Tensor, DecoderState]:
        logits, state = self.decoder.step(self._prompted(previous), state, self.prepared)
        log_probs = logits.float().log_softmax(-1)
        if self.writable < log_probs.size(1):
            log_probs[:, self.writable :] = -math.inf
        return log_probs if candidates is None else log_probs.gather(1, candidates), state

    def _prompted(self, previous: Tensor) -> Tensor:
        """The last prompt token in the place of the start token."""
        if self.prompts is None:
            return previous
        last = self.prompts[:, -1].repeat_interleave(len(previous) // len(self.prompts))
        return torch.where(previous == BOS, last, previous)


class CoverageState(NamedTuple):
    """A decoder's state, and how much of each source place its hypothesis has read."""

    hidden: Tensor
    cell: Tensor
    context: Tensor
    alignment: Tensor
    coverage: Tensor
    """Sum of the attention weights so far, `(rows, time)`."""


class CoverageScorer(AttentionScorer):
    """The attention decoder with the coverage penalty of Wu et al. (2016), equation 14: ending
    costs `weight` x sum over the source of log(min(what it was read, 1)). Unlike theirs, the
    penalty is added before length normalization, so that it belongs to the end token."""

    def __init__(
        self,
        decoder: Decoder,
        memory: Memory,
        prompts: Tensor | None,
        writable: int,
        weight: float,
    ) -> None:
        super().__init__(decoder, memory, prompts, writable)
        self.weight = weight

    def start(self, beam_size: int) -> CoverageState:
        hidden, cell, context, alignment = super().start(beam_size)
        return CoverageState(hidden, cell, context, alignment, torch.zeros_like(alignment))

    def step(
        self, previous: Tensor, state: CoverageState, candidates: Tensor | None
    ) -> tuple[Tensor, Any]:
        log_probs, decoded = super().step(previous, DecoderState(*state[:4]), None)
        coverage = state.coverage + decoded.alignment
        padded = self.prepared.padded.squeeze(1)
        padded = padded.repeat_interleave(len(previous) // len(padded), 0)
        # What was hardly read at all costs as much as a hundredth of a token's attention.
        read = coverage.clamp(0.01, 1.0).masked_fill(padded, 1.0)
        log_probs[:, EOS] += self.weight * read.log().sum(-1)
        log_probs = log_probs if candidates is None else log_probs.gather(1, candidates)
        return log_probs, CoverageState(*decoded, coverage=coverage)


class CTCState(NamedTuple):
    """Forward variables of one prefix, over encoder frames (natural log, float64)."""

    nonblank: Tensor
    """Paths that spell the prefix and end in its last token, `(rows, time)`."""
    blank: Tensor
    """Paths that spell the prefix and end in blank, `(rows, time)`."""
    prefix: Tensor
    """Probability that the transcript starts with the prefix, `(rows,)`."""
    last: Tensor
    """Last token of the prefix, `(rows,)`; BOS for the empty one."""


class CTCPrefixScorer:
    """CTC prefix probabilities (Graves, 2008, section 7.5; Watanabe et al., 2017).

    A candidate's prefix probability needs the forward variables of the hypothesis before it, not
    its own: psi(h c) is a sum over frames of "h spelled before t" times "c at t". So candidates
    cost one product of matrices, and only the hypotheses that the beam keeps get new forward
    variables. Those are first-order linear recurrences, solved in closed form by cumulative
    sums: there is no loop over frames, candidates, hypotheses or utterances. float64 keeps the
    cumulative sums exact over thousands of frames.
    """

    def __init__(self, log_probs: Tensor, lengths: Tensor) -> None:
        """Args:
        log_probs: `(batch, time, vocabulary)`, natural log.
        lengths: valid frames, `(batch,)`.
        """
        self.log_probs = log_probs.double().transpose(1, 2)  # (batch, vocabulary, time)
        self.lengths = lengths
        time = log_probs.size(1)
        self.valid = torch.arange(time, device=lengths.device)[None, :] < lengths[:, None]
        self.probabilities = self.log_probs.exp().masked_fill(~self.valid[:, None], 0.0)

    def start(self, beam_size: int) -> CTCState:
        blank = self.log_probs[:, BLANK].cumsum(-1).repeat_interleave(beam_size, 0)
        rows = blank.size(0)
        return CTCState(
            nonblank=torch.full_like(blank, -math.inf),
            blank=blank,
            prefix=blank.new_zeros(rows),
            last=torch.full((rows,), BOS, device=blank.device),
        )

    def step(
        self, previous: Tensor, state: CTCState, candidates: Tensor | None
    ) -> tuple[Tensor, CTCState]:
        beam_size = len(previous) // len(self.lengths)
        utterance = torch.arange(len(self.lengths), device=previous.device)
        utterance = utterance.repeat_interleave(beam_size)
        valid = self.valid[utterance]
        state = self._extend(previous, state, utterance, valid)
        if candidates is None:
            vocabulary = torch.arange(self.log_probs.size(1), device=previous.device)
            candidates = vocabulary.expand(len(previous), -1)

        fresh, repeat = (part.masked_fill(~valid, -math.inf) for part in _before(state))
        scores = self._followed(fresh, utterance, candidates)
        again = self._followed(repeat, utterance, state.last[:, None])
        scores = torch.where(candidates == state.last[:, None], again, scores)
        final = (self.lengths[utterance] - 1)[:, None]
        complete = torch.logaddexp(state.nonblank, state.blank).gather(1, final)
        scores = torch.where(candidates == EOS, complete, scores)
        scores = scores.clamp_min(LOG_ZERO) - state.prefix[:, None].clamp_min(LOG_ZERO)
        return scores.float(), state

    def _followed(self, before: Tensor, utterance: Tensor, tokens: Tensor) -> Tensor:
        """Log of the sum over frames of what was spelled before each, `(rows, time)`, times the
        probability of `tokens` there, `(rows, tokens)`; of their shape. Sums of products, not of
        logarithms, so no exponential for each token: float64 holds e ** -700 beside the largest."""
        largest = before.amax(-1, keepdim=True).clamp_min(LOG_ZERO)
        emitted = self.probabilities[utterance[:, None], tokens]  # (rows, tokens, time)
        total = emitted @ (before - largest).exp()[:, :, None]
        return largest + total[:, :, 0].log()

    def _extend(self, token: Tensor, state: CTCState, utterance: Tensor, valid: Tensor) -> CTCState:
        """The state of each prefix followed by its token; BOS leaves the empty prefix as it is."""
        emitted = self.log_probs[utterance, token]
        fresh, repeat = _before(state)
        before = torch.where((token == state.last)[:, None], repeat, fresh)
        # nonblank[t] = p[t] (nonblank[t-1] + before[t]), in logs and unrolled over t:
        total = emitted.cumsum(-1)
        nonblank = total + (before - (total - emitted)).logcumsumexp(-1)
        # blank[t] = q[t] (blank[t-1] + nonblank[t-1]):
        silence = self.log_probs[utterance, BLANK].cumsum(-1)
        blank = silence + _shift((nonblank - silence).logcumsumexp(-1), -math.inf)
        prefix = (before + emitted).masked_fill(~valid, -math.inf).logsumexp(-1)
        empty = (token == BOS)[:, None]
        return CTCState(
            nonblank=torch.where(empty, state.nonblank, nonblank),
            blank=torch.where(empty, state.blank, blank),
            prefix=torch.where(empty[:, 0], state.prefix, prefix),
            last=token,
        )


class CTCProposer(CTCPrefixScorer):
    """CTC prefix scores that propose tokens too, for a search without attention.

    Args:
        log_probs, lengths: as those of `CTCPrefixScorer`.
        writable: tokens from this one on are never written.
    """

    def __init__(self, log_probs: Tensor, lengths: Tensor, writable: int) -> None:
        super().__init__(log_probs, lengths)
        best = self.log_probs.masked_fill(~self.valid[:, None], -math.inf).amax(-1)
        best[:, [BLANK, BOS, EOS]] = -math.inf
        best[:, writable:] = -math.inf
        found = best > LEAST_PROBABLE
        # As many for each utterance, though only its own count: batches must not change results.
        places = best.topk(int(found.sum(1).max()) + 1).indices
        found[:, EOS] = True
        self.tokens = torch.cat([places, torch.full_like(places[:, :1], EOS)], 1)
        self.found = found.gather(1, self.tokens)

    def step(
        self, previous: Tensor, state: CTCState, candidates: Tensor | None
    ) -> tuple[Tensor, CTCState]:
        if candidates is not None:
            return super().step(previous, state, candidates)
        beam_size = len(previous) // len(self.lengths)
        tokens = self.tokens.repeat_interleave(beam_size, 0)
        scores, state = super().step(previous, state, tokens)
        scores = scores.masked_fill(~self.found.repeat_interleave(beam_size, 0), -math.inf)
        everything = scores.new_full((len(previous), self.log_probs.size(1)), -math.inf)
        return everything.scatter(1, tokens, scores), state


def _before(state: CTCState) -> tuple[Tensor, Tensor]:
    """Log-probability that the prefix is spelled before each frame, `(rows, time)`: before a new
    token, and before a repetition of its last token, which a blank must part."""
    start = torch.where(state.last == BOS, 0.0, -math.inf).to(state.blank)[:, None]
    spelled = torch.logaddexp(state.nonblank, state.blank)
    return _shift(spelled, start), _shift(state.blank, start)


def _shift(values: Tensor, first: Tensor | float) -> Tensor:
    """Values one frame later, `first` at frame 0."""
    shifted = values.roll(1, -1)
    shifted[:, :1] = first
    return shifted
