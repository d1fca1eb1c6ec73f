"""Scorers for beam search: each scores the next tokens of all hypotheses of a batch at once.

Rows are utterances x hypotheses. The state of a scorer is a NamedTuple of tensors whose first axis
is rows, or of other such states, so beam search reorders any state with one `index_select` per
tensor.
"""

import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from asr_s2s.model.attention import Memory
from asr_s2s.model.decoder import Decoder, DecoderState, PreparedMemory
from asr_s2s.text.tokenizer import BLANK, BOS, EOS

LOG_ZERO = -1e4
"""Log-probability of impossible CTC prefixes; finite, so that other scorers still rank them."""
LEAST_PROBABLE = math.log(1e-3)
"""Tokens with a lower log-probability in every frame are not proposed by CTC."""


class Scorer(Protocol):
    """Interface of scorers."""

    def start(self, beam_size: int) -> Any:
        """Return the state before the first token, with `beam_size` rows per utterance."""

    def step(self, previous: Tensor, state: Any, candidates: Tensor | None) -> tuple[Tensor, Any]:
        """Extend the hypotheses by the previous tokens `(rows,)` and score the next ones.

        Returns:
            Log-probabilities of the `candidates` `(rows, candidates)`, or of the whole vocabulary
            `(rows, vocabulary)` if they are None; and the state for the next step.
        """


class AttentionScorer:
    """Scorer of the attention decoder.

    Args:
        decoder: in evaluation mode.
        memory: of the batch.
        prompts: tokens at the start of each output, such as its language, `(batch, prompt)`; they
            are not part of the hypotheses.
        writable: number of tokens that outputs may contain; tokens from this one on are excluded.
    """

    def __init__(
        self, decoder: Decoder[Any, Any], memory: Memory, prompts: Tensor | None, writable: int
    ) -> None:
        self.decoder = decoder
        self.memory = memory
        self.prompts = prompts
        self.writable = writable
        self.prepared: PreparedMemory = decoder.prepare(memory)

    def start(self, beam_size: int) -> Any:
        state = self.decoder.start(self.memory, beam_size)
        if self.prompts is None:
            return state
        prompts = self.prompts.repeat_interleave(beam_size, 0)
        previous = torch.full_like(prompts[:, 0], BOS)
        for token in prompts.unbind(1):  # the last one is passed by the first step
            _, state = self.decoder.step(previous, state, self.prepared)
            previous = token
        return state

    def step(self, previous: Tensor, state: Any, candidates: Tensor | None) -> tuple[Tensor, Any]:
        logits, state = self.decoder.step(self._prompted(previous), state, self.prepared)
        log_probs = logits.float().log_softmax(-1)
        if self.writable < log_probs.size(1):
            log_probs[:, self.writable :] = -math.inf
        return log_probs if candidates is None else log_probs.gather(1, candidates), state

    def _prompted(self, previous: Tensor) -> Tensor:
        """Replace the start token by the last prompt token."""
        if self.prompts is None:
            return previous
        last = self.prompts[:, -1].repeat_interleave(len(previous) // len(self.prompts))
        return torch.where(previous == BOS, last, previous)


class CoverageState(NamedTuple):
    """State of the decoder and the coverage of the source by attention."""

    decoder: DecoderState
    coverage: Tensor
    """Sum of the attention weights so far, `(rows, time)`."""


class CoverageScorer(AttentionScorer):
    """Scorer of the attention decoder with the coverage penalty of Wu et al. (2016), equation 14.

    The score of the end token includes `weight` x sum over frames of log(min(coverage, 1)), where
    coverage is the sum of attention weights on a frame. Unlike in the paper, the penalty is part of
    the end token's score, and so is added before length normalization.
    """

    def __init__(
        self,
        decoder: Decoder[Any, Any],
        memory: Memory,
        prompts: Tensor | None,
        writable: int,
        weight: float,
    ) -> None:
        super().__init__(decoder, memory, prompts, writable)
        self.weight = weight

    def start(self, beam_size: int) -> CoverageState:
        state: DecoderState = super().start(beam_size)
        return CoverageState(state, torch.zeros_like(state.alignment))

    def step(
        self, previous: Tensor, state: CoverageState, candidates: Tensor | None
    ) -> tuple[Tensor, Any]:
        log_probs, decoded = super().step(previous, state.decoder, None)
        coverage = state.coverage + decoded.alignment
        padded = self.prepared.padded.squeeze(1)
        padded = padded.repeat_interleave(len(previous) // len(padded), 0)
        # Coverage is at least 0.01, which bounds the penalty of a frame.
        read = coverage.clamp(0.01, 1.0).masked_fill(padded, 1.0)
        log_probs[:, EOS] += self.weight * read.log().sum(-1)
        log_probs = log_probs if candidates is None else log_probs.gather(1, candidates)
        return log_probs, CoverageState(decoded, coverage)


class CTCState(NamedTuple):
    """CTC forward variables of one prefix per row, natural log in float64."""

    nonblank: Tensor
    """Log-probability of paths of the prefix that end in its last token, `(rows, time)`."""
    blank: Tensor
    """Log-probability of paths of the prefix that end in blank, `(rows, time)`."""
    prefix: Tensor
    """Log-probability that the transcript starts with the prefix, `(rows,)`."""
    last: Tensor
    """Last token of the prefix, `(rows,)`; BOS for the empty prefix."""


class CTCPrefixScorer:
    """Scorer of CTC prefix probabilities (Graves, 2008, section 7.5; Watanabe et al., 2017).

    The prefix probability of a hypothesis h with candidate c needs only the forward variables of h:
    psi(h c) is the sum over frames t of P(h before t) x P(c at t). Candidates are therefore scored
    with one matrix product, and new forward variables are computed only for hypotheses that remain
    in the beam. These are first-order linear recurrences, solved in closed form by cumulative sums,
    without a loop over frames, candidates, hypotheses or utterances. float64 keeps the cumulative
    sums exact over thousands of frames.

    Args:
        log_probs: natural log-probabilities, `(batch, time, vocabulary)`.
        lengths: number of valid frames, `(batch,)`.
    """

    def __init__(self, log_probs: Tensor, lengths: Tensor) -> None:
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
        scores = self._extension_scores(fresh, utterance, candidates)
        repeated = self._extension_scores(repeat, utterance, state.last[:, None])
        scores = torch.where(candidates == state.last[:, None], repeated, scores)
        final = (self.lengths[utterance] - 1)[:, None]
        complete = torch.logaddexp(state.nonblank, state.blank).gather(1, final)
        scores = torch.where(candidates == EOS, complete, scores)
        scores = scores.clamp_min(LOG_ZERO) - state.prefix[:, None].clamp_min(LOG_ZERO)
        return scores.float(), state

    def _extension_scores(self, before: Tensor, utterance: Tensor, tokens: Tensor) -> Tensor:
        """Compute log-probabilities of prefixes extended by `tokens` `(rows, tokens)`, in the same
        shape, from the log-probabilities `before` each frame, `(rows, time)`.

        A matrix product of probabilities avoids an exponential per token; float64 represents terms
        down to e ** -700 of the largest.
        """
        largest = before.amax(-1, keepdim=True).clamp_min(LOG_ZERO)
        emitted = self.probabilities[utterance[:, None], tokens]  # (rows, tokens, time)
        total = emitted @ (before - largest).exp()[:, :, None]
        return largest + total[:, :, 0].log()

    def _extend(self, token: Tensor, state: CTCState, utterance: Tensor, valid: Tensor) -> CTCState:
        """Extend the prefix of each row by its token; BOS leaves the empty prefix unchanged."""
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
    """CTC prefix scorer that also proposes candidates, for decoding without attention.

    Args:
        log_probs, lengths: as for `CTCPrefixScorer`.
        writable: number of tokens that outputs may contain; tokens from this one on are excluded.
    """

    def __init__(self, log_probs: Tensor, lengths: Tensor, writable: int) -> None:
        super().__init__(log_probs, lengths)
        best = self.log_probs.masked_fill(~self.valid[:, None], -math.inf).amax(-1)
        best[:, [BLANK, BOS, EOS]] = -math.inf
        best[:, writable:] = -math.inf
        found = best > LEAST_PROBABLE
        # The same number for all utterances; surplus tokens are masked, so that results do not
        # depend on the batch.
        proposed = best.topk(int(found.sum(1).max()) + 1).indices
        found[:, EOS] = True
        self.tokens = torch.cat([proposed, torch.full_like(proposed[:, :1], EOS)], 1)
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
    """Return the log-probability of the prefix before each frame, `(rows, time)`, for a different
    next token, and for a repetition of the last token, which requires a blank in between."""
    start = torch.where(state.last == BOS, 0.0, -math.inf).to(state.blank)[:, None]
    spelled = torch.logaddexp(state.nonblank, state.blank)
    return _shift(spelled, start), _shift(state.blank, start)


def _shift(values: Tensor, first: Tensor | float) -> Tensor:
    """Shift values one frame later, with `first` at frame 0."""
    shifted = values.roll(1, -1)
    shifted[:, :1] = first
    return shifted
