"""Batched beam search, the same for all tasks and devices.

All hypotheses of all utterances advance together; the number of tensor operations per step does not
depend on the sizes of batch and beam. Greedy search is a beam of one.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from asr_s2s.config import SearchConfig
from asr_s2s.config_file import check_values
from asr_s2s.errors import ConfigError
from asr_s2s.search.must import Must, MustProgress
from asr_s2s.search.scorers import Proposer, State
from asr_s2s.search.steps import Steps, WeightedJudge
from asr_s2s.text.tokenizer import BOS, EOS, UNK


class Hypothesis(NamedTuple):
    """A finished output."""

    tokens: list[int]
    """Tokens without the start and end tokens."""
    score: float
    """Weighted sum of the scorers' natural log-probabilities plus token_bonus per token, divided by
    length ** length_normalization. The length includes the end token."""


class _Step(NamedTuple):
    """Result of one search step. Ranks are positions in the beam before the step. A group is an
    utterance, or one of its `beam_groups`."""

    endings: Tensor
    """Scores of the hypotheses that ended, `(groups, beam of a group)`, before length
    normalization; -inf marks empty entries."""
    ended: Tensor
    """Ranks of the hypotheses that ended, `(groups, beam of a group)`."""
    parent: Tensor
    """Ranks of the hypotheses that those after this step continue, `(batch, beam)`."""
    token: Tensor
    """Tokens that were appended to these, `(batch, beam)`."""


@torch.inference_mode()
def beam_search(
    proposer: tuple[Proposer[State], float],
    judges: Sequence[WeightedJudge],
    frames: Tensor,
    config: SearchConfig,
    *,
    prefix: Sequence[int] = (),
    must: Must | None = None,
) -> list[list[Hypothesis]]:
    """Search for the best outputs of each utterance.

    With `beam_groups`, the beam is searched in groups, one after another at each step (diverse beam
    search, Vijayakumar et al., 2018): a token costs `diversity` for each hypothesis of earlier
    groups that the same step has extended by it. The cost affects the choice of hypotheses, not
    their scores.

    Args:
        proposer: scorer of the whole vocabulary, which proposes candidates, and its weight.
        judges: scorers of the candidates, and their weights.
        frames: length of each utterance's memory `(batch,)`, which bounds the length of the output.
        config: beam size, candidates, normalization and end conditions.
        prefix: tokens that outputs start with.
        must: phrases that outputs must contain; not with `beam_groups`.

    Returns:
        One to `beam_size` hypotheses per utterance, best first.
    """
    check_search(config)
    beam, groups, batch, device = config.beam_size, config.beam_groups, len(frames), frames.device
    steps = Steps(proposer, judges, frames, config, beam, prefix, must.room if must else 0)
    longest = steps.longest.repeat_interleave(groups)
    # Without judges, twice the beam size gives the same result as all tokens; with judges, each
    # candidate takes time.
    count = config.candidates if judges else 2 * beam
    first_row = torch.arange(batch, device=device)[:, None] * beam
    end_token = torch.full((batch, beam, 1), EOS, device=device)

    previous = torch.full((batch * beam,), BOS, device=device)
    progress = MustProgress(must, batch * beam) if must is not None else None
    scores = torch.full((batch, beam), -math.inf, device=device)
    scores[:, :: beam // groups] = 0.0  # all hypotheses start equal: keep one per group
    taken: list[_Step] = []
    ended = torch.zeros(batch * groups, dtype=torch.long, device=device)
    # Checking whether all are done synchronizes a GPU, which costs more than a few extra steps.
    ask_every = 1 if device.type == "cpu" else 8

    for step in range(steps.limit + 1):
        proposed = steps.propose(previous)
        if progress is not None and step:
            progress.advance(previous)
        constrained = progress if step >= len(prefix) else None
        if constrained is not None:
            proposed = constrained.bound(proposed)
        log_probs, candidates = _propose(
            steps.allow(step, previous, proposed),
            (step < steps.shortest)[:, None] if step < steps.free else None,
            (step >= steps.longest)[:, None] if step >= steps.forced else None,
            end_token,
            count,
            config,
        )
        if constrained is not None:
            log_probs, candidates = constrained.extend(log_probs, candidates, proposed)
            if step >= steps.forced:
                over = (step >= steps.longest)[:, None, None]
                log_probs[:, :, :-1].masked_fill_(over, -math.inf)
        total = steps.judge(scores, previous, log_probs, candidates)
        priority = None if constrained is None else constrained.priorities(total, candidates)
        if groups == 1:
            taken_now, scores = _select(total, candidates, beam, priority)
        else:
            taken_now, scores = _select_groups(total, candidates, proposed.size(2), config)
        ended += (taken_now.endings > -math.inf).sum(1)
        taken.append(taken_now)
        if step == steps.limit:
            break
        if (step + 1) % ask_every == 0:
            done = ended >= beam // groups
            if bool((done if step < steps.forced else done | (step >= longest)).all()):
                break

        previous = taken_now.token.flatten()
        if beam > 1:
            rows = (first_row + taken_now.parent).flatten()
            steps.reorder(rows)
            if progress is not None:
                progress.reorder(rows)

    return _backtrace(taken, groups, config.length_normalization)


def _select(
    total: Tensor, candidates: Tensor, width: int, priority: Tensor | None = None
) -> tuple[_Step, Tensor]:
    """Choose the best continuations of one group of hypotheses.

    Args:
        total: scores of the continuations, `(batch, hypotheses, candidates)`.
        candidates: their tokens.
        width: number of hypotheses to keep.
        priority: values to choose by, in the shape of `total`; by default the scores.

    Returns:
        The step, and the scores of the kept hypotheses, `(batch, width)`.
    """
    # At least `width` of the best 2 x width continuations do not end, since each hypothesis has
    # only one continuation that ends.
    flat = total.flatten(1)
    chosen_by = flat if priority is None else priority.flatten(1)
    best, position = chosen_by.topk(min(2 * width, flat.size(1)))
    parent = position // candidates.size(2)
    token = candidates.flatten(1).gather(1, position)
    ends = token == EOS

    # Endings count only if they are among the best `width` continuations.
    scored = best if priority is None else flat.gather(1, position)
    endings = torch.where(ends, scored, -math.inf)[:, :width]
    scores, keep = best.masked_fill(ends, -math.inf).topk(width)
    if priority is not None:
        scores = scored.masked_fill(ends, -math.inf).gather(1, keep)
    kept_parent, token = parent.gather(1, keep), token.gather(1, keep)
    return _Step(endings, parent[:, :width], kept_parent, token), scores


def _select_groups(
    total: Tensor, candidates: Tensor, vocabulary: int, config: SearchConfig
) -> tuple[_Step, Tensor]:
    """Choose the best continuations of each group, which avoids tokens of the groups before it;
    arguments and results are as in `_select`."""
    width = config.beam_size // config.beam_groups
    counts = total.new_zeros(len(total), vocabulary)
    steps, scores = [], []
    for first in range(0, config.beam_size, width):
        own, tokens = total[:, first : first + width], candidates[:, first : first + width]
        penalty = counts.gather(1, tokens.flatten(1)).view_as(own)
        step, kept = _select(own, tokens, width, own - config.diversity * penalty)
        counts.scatter_add_(1, step.token, (kept > -math.inf).to(counts.dtype))
        steps.append(step._replace(ended=step.ended + first, parent=step.parent + first))
        scores.append(kept)
    endings, ended = (
        torch.stack(parts, 1).flatten(0, 1)
        for parts in ([step.endings for step in steps], [step.ended for step in steps])
    )
    parent = torch.cat([step.parent for step in steps], 1)
    token = torch.cat([step.token for step in steps], 1)
    return _Step(endings, ended, parent, token), torch.cat(scores, 1)


def _propose(
    log_probs: Tensor,
    forbidden: Tensor | None,
    forced: Tensor | None,
    end_token: Tensor,
    count: int,
    config: SearchConfig,
) -> tuple[Tensor, Tensor]:
    """Select the proposer's best candidates; the last candidate is always the end token.

    Args:
        log_probs: `(batch, beam, vocabulary)`.
        forbidden: mask of utterances that may not end yet, `(batch, 1)`; None if there are none.
        forced: mask of utterances that must end now, `(batch, 1)`; None if there are none.
        end_token: the end token of each hypothesis, `(batch, beam, 1)`.
        count: number of candidates per hypothesis, not counting the end token.

    Returns:
        Log-probabilities and tokens, each `(batch, beam, candidates + 1)`; -inf marks those that
        the length bounds or the end threshold forbid.
    """
    end = log_probs[:, :, EOS]
    first = UNK if config.unknown else UNK + 1  # after BLANK, BOS and EOS
    others, candidates = log_probs[:, :, first:].topk(min(count, log_probs.size(-1) - UNK - 1))
    if config.end_threshold is not None:
        unsure = end < config.end_threshold * others[:, :, 0]
        end = end.masked_fill(unsure, -math.inf)
    if forbidden is not None:
        # Where repetitions may not occur, there may be no other token.
        end = end.masked_fill(forbidden & ~others[:, :, 0].isneginf(), -math.inf)
    if forced is not None:
        end = torch.where(forced, log_probs[:, :, EOS], end)
        others = others.masked_fill(forced[:, :, None], -math.inf)
    return (
        torch.cat([others, end[:, :, None]], -1),
        torch.cat([candidates + first, end_token], -1),
    )


def _backtrace(
    steps: list[_Step], groups: int, length_normalization: float
) -> list[list[Hypothesis]]:
    """Backtrace the best endings of each utterance, which has `groups` groups of hypotheses."""
    endings = torch.stack([step.endings for step in steps], 1)
    beam = endings.size(2)
    # A group is done after `beam` endings; later ones occur only because others are not done, and
    # must not count, or the result would depend on the batch.
    ended = (endings > -math.inf).sum(2)
    late = (ended.cumsum(1) - ended >= beam)[:, :, None]
    lengths = [number**length_normalization for number in range(1, len(steps) + 1)]
    endings = (endings / endings.new_tensor(lengths)[:, None]).masked_fill(late, -math.inf)
    best, position = endings.flatten(1).topk(min(beam, endings[0].numel()))
    scores, positions = best.tolist(), position.tolist()
    # Lists are indexed by [step][group or utterance][rank].
    ended_ranks, parent, token = (
        torch.stack(part).tolist() for part in list(zip(*steps, strict=True))[1:]
    )
    results = []
    for group in range(len(scores)):
        row, hypotheses = group // groups, []
        for score, place in zip(scores[group], positions[group], strict=True):
            if score == -math.inf:
                continue
            step, entry = divmod(place, beam)
            rank = ended_ranks[step][group][entry]
            tokens = []
            for before in range(step - 1, -1, -1):
                tokens.append(token[before][row][rank])
                rank = parent[before][row][rank]
            hypotheses.append(Hypothesis(tokens[::-1], score))
        results.append(hypotheses)
    if groups == 1:
        return results
    return [_merge(results[row : row + groups]) for row in range(0, len(results), groups)]


def _merge(groups: list[list[Hypothesis]]) -> list[Hypothesis]:
    """Return the distinct hypotheses of the groups of an utterance, best first."""
    distinct = {tuple(hypothesis.tokens): hypothesis for group in groups for hypothesis in group}
    return sorted(distinct.values(), key=lambda hypothesis: -hypothesis.score)


def check_search(config: SearchConfig) -> None:
    """Check that the search settings are in bounds and consistent.

    Raises:
        ConfigError: they are not; names the key.
    """
    check_values(config, "search")
    if config.max_length_ratio <= config.min_length_ratio:
        raise ConfigError(
            "search.max_length_ratio",
            f"expected more than min_length_ratio, {config.min_length_ratio}, "
            f"found {config.max_length_ratio}",
            "Increase it",
        )
    if config.beam_size % config.beam_groups:
        raise ConfigError(
            "search.beam_groups",
            f"expected a divisor of beam_size, {config.beam_size}, found {config.beam_groups}",
            "Choose a divisor, or another beam_size",
        )
