"""Scorers for beam search: each scores the next tokens of all hypotheses of a batch at once.

A proposer scores the whole vocabulary, from which the beam selects candidates; judges score only
these. Rows are utterances x hypotheses. The state of a scorer is a NamedTuple of tensors whose
first axis is rows, or of other such states, so beam search reorders any state with one
`index_select` per tensor.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from asr_s2s.model.attention import Memory
from asr_s2s.model.decoder import Decoder, DecoderState, PreparedMemory
from asr_s2s.text.tokenizer import BLANK, BOS, EOS, UNK

LOG_ZERO = -1e4
"""Log-probability of impossible CTC prefixes; finite, so that other scorers still rank them."""
LEAST_PROBABLE = math.log(1e-3)
"""Tokens with a lower log-probability in every frame are not proposed by CTC."""
SMALL_VOCABULARY = 256
"""Largest vocabulary for which CTC scores all tokens with one product; in larger ones, reading only
the candidates takes less time."""


State = TypeVar("State")
"""State of a scorer: a NamedTuple of tensors or of other states. Python's types cannot express this
bound for NamedTuples that implement a protocol."""


def select_rows(state: State, rows: Tensor) -> State:
    """Return the state of the given rows, `(rows,)`."""
    make: Callable[..., State] = type(state)
    parts = (
        part.index_select(0, rows) if isinstance(part, Tensor) else select_rows(part, rows)
        for part in cast(Iterable[Any], state)
    )
    return make(*parts)


class Proposer(Protocol[State]):
    """Interface of scorers of the whole vocabulary."""

    def start(self, beam_size: int) -> State:
        """Return the state before the first token, with `beam_size` rows per utterance."""

    def propose(self, previous: Tensor, state: State) -> tuple[Tensor, State]:
        """Extend the hypotheses by the previous tokens `(rows,)` and score all next ones.

        Returns:
            Log-probabilities `(rows, vocabulary)`, and the state for the next step.
        """


class Judge(Protocol[State]):
    """Interface of scorers of candidates."""

    def start(self, beam_size: int) -> State:
        """Return the state before the first token, with `beam_size` rows per utterance."""

    def judge(self, previous: Tensor, state: State, candidates: Tensor) -> tuple[Tensor, State]:
        """Extend the hypotheses by the previous tokens `(rows,)` and score the candidates for the
        next ones, `(rows, candidates)`.

        Returns:
            Log-probabilities of the candidates, and the state for the next step.
        """


class AttentionScorer:
    """Scorer of the attention decoder.

    Args:
        decoder: in evaluation mode.
        memory: of the batch.
        prompts: tokens at the start of each output, such as its language, `(batch, prompt)`; they
            are not part of the hypotheses.
        writable: number of tokens that outputs may contain; those of languages follow, and are
            excluded.
        vocabulary: number of tokens with those of languages; the unknown words of a source, which
            a decoder may copy, follow.
    """

    def __init__(
        self,
        decoder: Decoder[Any, Any],
        memory: Memory,
        prompts: Tensor | None,
        writable: int,
        vocabulary: int,
    ) -> None:
        self.decoder = decoder
        self.memory = memory
        self.prompts = prompts
        self.languages = slice(writable, vocabulary)
        self.prepared: PreparedMemory = decoder.prepare(memory)

    def start(self, beam_size: int) -> DecoderState:
        state: DecoderState = self.decoder.start(self.memory, beam_size)
        if self.prompts is None:
            return state
        prompts = self.prompts.repeat_interleave(beam_size, 0)
        previous = torch.full_like(prompts[:, 0], BOS)
        for token in prompts.unbind(1):  # the last one is passed by the first step
            _, state = self.decoder.step(previous, state, self.prepared)
            previous = token
        return state

    def propose(self, previous: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        advanced: DecoderState
        logits, advanced = self.decoder.step(self._prompted(previous), state, self.prepared)
        log_probs = logits.float().log_softmax(-1)
        if self.languages.start < self.languages.stop:
            log_probs[:, self.languages] = -math.inf
        return log_probs, advanced

    def _prompted(self, previous: Tensor) -> Tensor:
        """Replace the start token by the last prompt token."""
        if self.prompts is None:
            return previous
        last = self.prompts[:, -1].repeat_interleave(len(previous) // len(self.prompts))
        return torch.where(previous == BOS, last, previous)


class KnownTokensJudge:
    """Judge that sees copied unknown words as unknown tokens.

    Args:
        judge: scorer of candidates.
        known: number of tokens that it knows.
    """

    def __init__(self, judge: Judge[Any], known: int) -> None:
        self.inner = judge
        self.known = known

    def start(self, beam_size: int) -> Any:
        return self.inner.start(beam_size)

    def judge(self, previous: Tensor, state: Any, candidates: Tensor) -> tuple[Tensor, Any]:
        previous, candidates = (t.where(t < self.known, UNK) for t in (previous, candidates))
        return self.inner.judge(previous, state, candidates)


class CoverageState(NamedTuple):
    """State of the decoder and the coverage of the source by attention."""

    decoder: DecoderState
    coverage: Tensor
    """Sum of the attention weights so far, `(rows, time)`."""


class CoverageScorer:
    """Scorer of the attention decoder with the coverage penalty of Wu et al. (2016), equation 14.

    The score of the end token includes `weight` x sum over frames of log(min(coverage, 1)), where
    coverage is the sum of attention weights on a frame. Unlike in the paper, the penalty is part of
    the end token's score, and so is added before length normalization.
    """

    def __init__(self, attention: AttentionScorer, weight: float) -> None:
        self.attention = attention
        self.weight = weight

    def start(self, beam_size: int) -> CoverageState:
        state = self.attention.start(beam_size)
        return CoverageState(state, torch.zeros_like(state.alignment))

    def propose(self, previous: Tensor, state: CoverageState) -> tuple[Tensor, CoverageState]:
        log_probs, decoded = self.attention.propose(previous, state.decoder)
        coverage = state.coverage + decoded.alignment
        padded = self.attention.prepared.padded.squeeze(1)
        padded = padded.repeat_interleave(len(previous) // len(padded), 0)
        # Coverage is at least 0.01, which bounds the penalty of a frame.
        read = coverage.clamp(0.01, 1.0).masked_fill(padded, 1.0)
        log_probs[:, EOS] += self.weight * read.log().sum(-1)
        return log_probs, CoverageState(decoded, coverage)


class CTCState(NamedTuple):
    """CTC forward variables of one prefix per row, in float64.

    A prefix of n tokens has no path before frame n - 1. The columns begin there, so each token
    removes one. The first column of the empty prefix stands for the time before the first frame;
    the state before the start token has another column, which has no meaning.
    """

    spelled: Tensor
    """Natural log-probability of paths of the prefix up to each frame, `(rows, columns)`."""
    weights: Tensor
    """Probability of paths of the prefix before each frame but the first, over the largest of these
    probabilities, `(rows, columns - 1)`; 0 beyond the utterance."""
    largest: Tensor
    """Natural log of the largest of these probabilities, `(rows, 1)`, at least LOG_ZERO."""
    prefix: Tensor
    """Natural log-probability that the transcript starts with the prefix, `(rows, 1)`."""
    last: Tensor
    """Last token of the prefix, `(rows, 1)`; BOS for the empty prefix."""


class _CTCPrefixes:
    """CTC prefix probabilities (Graves, 2008, section 7.5; Watanabe et al., 2017).

    The prefix probability of a hypothesis h with candidate c needs only the forward variables of h:
    psi(h c) is the sum over frames t of P(h before t) x P(c at t). Candidates are therefore scored
    with one matrix product, and new forward variables are computed only for hypotheses that remain
    in the beam. These are first-order linear recurrences, solved in closed form by cumulative sums,
    without a loop over frames, candidates, hypotheses or utterances. float64 keeps the cumulative
    sums exact over thousands of frames.

    Paths that end in blank need no variables of their own: they are the paths up to the frame
    before, times the probability of blank.

    Args:
        log_probs: natural log-probabilities, `(batch, time, vocabulary)`.
        lengths: number of valid frames, `(batch,)`.
    """

    def __init__(self, log_probs: Tensor, lengths: Tensor) -> None:
        self.log_probs = log_probs.double().transpose(1, 2).contiguous()
        self.lengths = lengths
        self.batch, self.vocabulary, self.time = self.log_probs.shape
        frames = torch.arange(self.time, device=lengths.device)
        self.valid = frames[None, :] < lengths[:, None]
        self.padded = bool((lengths < self.time).any())
        self.probabilities = self.log_probs.exp().masked_fill_(~self.valid[:, None], 0.0)
        self.silence = self.log_probs[:, BLANK].cumsum(-1)

    def start(self, beam_size: int) -> CTCState:
        """Return the state before the start token, with `beam_size` rows per utterance."""
        spelled = torch.cat([self.silence.new_zeros(self.batch, 2), self.silence], 1)
        spelled = spelled.repeat_interleave(beam_size, 0)
        zeros = torch.zeros_like(spelled[:, :1])
        last = torch.full_like(zeros, BOS, dtype=torch.long)
        return CTCState(spelled, spelled[:, 1:], zeros, zeros, last)

    def extend(self, token: Tensor, state: CTCState) -> CTCState:
        """Extend the prefix of each row by its token `(rows,)`; BOS must be the first token."""
        columns = state.weights.size(1)
        if columns > self.time:
            return self._weigh(state.spelled[:, 1:], state.prefix, state.last)
        last = token[:, None]
        if columns == 0:  # more tokens than frames
            impossible = torch.full_like(state.spelled, -math.inf)
            return self._weigh(impossible, impossible, last)
        first = self.time - columns
        utterance = self._utterances(token)
        log_probs = self.log_probs[utterance, token, first:]
        emitted = self.probabilities[utterance, token, first:]
        # A repetition of the last token requires a blank in between.
        same = last == state.last
        before = state.spelled[:, :-1]
        blank = self._grouped(before[:, :-1]) + self.log_probs[:, None, BLANK, first:-1]
        repeat = torch.cat([torch.full_like(state.prefix, -math.inf), blank.flatten(0, 1)], 1)
        weights = torch.where(same, self._repeated(state), state.weights)
        prefix = state.largest + (weights * emitted).sum(-1, keepdim=True).log()
        # nonblank[t] = p[t] (nonblank[t-1] + before[t]), in logs and unrolled over t:
        total = log_probs.cumsum(-1)
        nonblank = torch.where(same, repeat, before).sub_(total).add_(log_probs).logcumsumexp(-1)
        nonblank = self._grouped(nonblank.add_(total))
        # blank[t] = q[t] (blank[t-1] + nonblank[t-1]), and spelled[t] = nonblank[t] + blank[t]:
        silence = self.silence[:, None, first:]
        spelled = nonblank.sub_(silence).logcumsumexp(-1).add_(silence)
        return self._weigh(spelled.flatten(0, 1), prefix, last)

    def scores(self, state: CTCState, candidates: Tensor) -> Tensor:
        """Return natural log-probabilities of the next tokens `(rows, candidates)`, in float32."""
        first = self.time - state.weights.size(1)
        utterance = self._utterances(candidates)
        scores = self._sum(state.weights, utterance, candidates)
        repeated = self.probabilities[utterance, state.last[:, 0], first:]
        repeated = (repeated * self._repeated(state)).sum(-1, keepdim=True)
        scores = torch.where(candidates == state.last, repeated, scores).log_().add_(state.largest)
        end = (self.lengths[utterance] - first)[:, None]  # column of the last frame
        complete = state.spelled.gather(1, end.clamp_min(0)).masked_fill_(end < 0, -math.inf)
        scores = torch.where(candidates == EOS, complete, scores)
        return scores.clamp_min_(LOG_ZERO).sub_(state.prefix.clamp_min(LOG_ZERO)).float()

    def _sum(self, weights: Tensor, utterance: Tensor, tokens: Tensor) -> Tensor:
        """Return the sums over frames of `weights` `(rows, columns)` times the probabilities of
        `tokens` `(rows, tokens)`, in the shape of the latter."""
        first = self.time - weights.size(1)
        if self.vocabulary <= SMALL_VOCABULARY:
            sums = self._grouped(weights) @ self.probabilities[:, :, first:].transpose(1, 2)
            return sums.flatten(0, 1).gather(1, tokens)
        emitted = self.probabilities[utterance[:, None], tokens, first:]
        return (emitted @ weights[:, :, None])[:, :, 0]

    def _weigh(self, spelled: Tensor, prefix: Tensor, last: Tensor) -> CTCState:
        """Return the state of prefixes, with weights.

        A sum of weights avoids an exponential per token; float64 represents terms down to e ** -700
        of the largest.
        """
        before = spelled[:, :-1]
        if before.size(1) == 0:
            return CTCState(spelled, before, torch.full_like(prefix, LOG_ZERO), prefix, last)
        if self.padded:
            valid = self.valid[:, None, -before.size(1) :]
            before = self._grouped(before).masked_fill(~valid, -math.inf).flatten(0, 1)
        largest = before.amax(-1, keepdim=True).clamp_min_(LOG_ZERO)
        return CTCState(spelled, (before - largest).exp_(), largest, prefix, last)

    def _repeated(self, state: CTCState) -> Tensor:
        """Return the weights of paths that end in blank, after which the last token may follow
        again."""
        first = self.time - state.weights.size(1)
        blank = self._grouped(state.weights[:, :-1]) * self.probabilities[:, None, BLANK, first:-1]
        return F.pad(blank.flatten(0, 1), (1, 0))

    def _grouped(self, rows: Tensor) -> Tensor:
        """Return rows grouped by utterance, `(batch, beam, ...)`."""
        return rows.view(self.batch, len(rows) // self.batch, rows.size(1))

    def _utterances(self, rows: Tensor) -> Tensor:
        """Return the utterance of each row, `(rows,)`."""
        numbers = torch.arange(self.batch, device=rows.device)
        return numbers.repeat_interleave(len(rows) // self.batch)


class CTCPrefixScorer(_CTCPrefixes):
    """Judge by CTC prefix probabilities."""

    def judge(
        self, previous: Tensor, state: CTCState, candidates: Tensor
    ) -> tuple[Tensor, CTCState]:
        state = self.extend(previous, state)
        return self.scores(state, candidates), state


class CTCProposer(_CTCPrefixes):
    """Proposer by CTC prefix probabilities, for decoding without attention.

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

    def propose(self, previous: Tensor, state: CTCState) -> tuple[Tensor, CTCState]:
        state = self.extend(previous, state)
        utterance = self._utterances(previous)
        tokens = self.tokens[utterance]
        scores = self.scores(state, tokens).masked_fill_(~self.found[utterance], -math.inf)
        everything = scores.new_full((len(previous), self.vocabulary), -math.inf)
        return everything.scatter(1, tokens, scores), state
