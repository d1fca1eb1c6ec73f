"""Batched beam search, the same for all tasks and devices.

All hypotheses of all utterances advance together; the number of tensor operations per step does not
depend on the sizes of batch and beam. Greedy search is a beam of one.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from asr_s2s.config import SearchConfig
from asr_s2s.config_file import check_values
from asr_s2s.errors import ConfigError
from asr_s2s.search.scorers import Judge, Proposer, State, select_rows
from asr_s2s.text.tokenizer import BOS, EOS, UNK

WeightedJudge: TypeAlias = tuple[Judge[Any], float]
"""A judge and its weight. A search has judges with states of different types, which Python's types
cannot express without Any."""


class Hypothesis(NamedTuple):
    """A finished output."""

    tokens: list[int]
    """Tokens without the start and end tokens."""
    score: float
    """Weighted sum of the scorers' natural log-probabilities plus token_bonus per token, divided by
    length ** length_normalization. The length includes the end token."""


class _Step(NamedTuple):
    """Result of one search step. Ranks are positions in the beam before the step."""

    endings: Tensor
    """Scores of the hypotheses that ended, `(batch, beam)`, before length normalization; -inf marks
    empty entries."""
    ended: Tensor
    """Ranks of the hypotheses that ended, `(batch, beam)`."""
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
) -> list[list[Hypothesis]]:
    """Search for the best outputs of each utterance.

    Args:
        proposer: scorer of the whole vocabulary, which proposes candidates, and its weight.
        judges: scorers of the candidates, and their weights.
        frames: length of each utterance's memory `(batch,)`, which bounds the length of the output.
        config: beam size, candidates, normalization and end conditions.

    Returns:
        One to `beam_size` hypotheses per utterance, best first.
    """
    check_search(config)
    beam, batch, device = config.beam_size, len(frames), frames.device
    shortest = (frames * config.min_length_ratio).floor()
    longest = (frames * config.max_length_ratio).floor().clamp_min(1)
    longest = torch.maximum(longest, shortest)
    # Steps `free` to `forced` neither forbid nor force an ending and need no masks.
    free, forced, limit = (int(n) for n in (shortest.max(), longest.min(), longest.max()))
    scorer, weight = proposer
    # Without judges, twice the beam size gives the same result as all tokens; with judges, each
    # candidate takes time.
    count = config.candidates if judges else 2 * beam
    first_row = torch.arange(batch, device=device)[:, None] * beam
    end_token = torch.full((batch, beam, 1), EOS, device=device)

    proposed, judged = scorer.start(beam), [judge.start(beam) for judge, _ in judges]
    previous = torch.full((batch * beam,), BOS, device=device)
    scores = torch.full((batch, beam), -math.inf, device=device)
    scores[:, 0] = 0.0  # all hypotheses start equal: keep one
    steps: list[_Step] = []
    ended = torch.zeros(batch, dtype=torch.long, device=device)
    # Checking whether all are done synchronizes a GPU, which costs more than a few extra steps.
    ask_every = 1 if device.type == "cpu" else 8

    for step in range(limit + 1):
        log_probs, proposed = scorer.propose(previous, proposed)
        log_probs, candidates = _propose(
            log_probs.view(batch, beam, -1),
            (step < shortest)[:, None] if step < free else None,
            (step >= longest)[:, None] if step >= forced else None,
            end_token,
            count,
            config,
        )
        if not weight:  # 0 x -inf would be NaN
            log_probs = torch.where(log_probs.isneginf(), log_probs, 0.0)
        total = torch.add(scores[:, :, None], log_probs, alpha=weight or 1.0)
        for index, (judge, judge_weight) in enumerate(judges):
            gains, judged[index] = judge.judge(previous, judged[index], candidates.flatten(0, 1))
            total = total.add(gains.view_as(total), alpha=judge_weight)
        if config.token_bonus:
            total[:, :, :-1] += config.token_bonus  # the last candidate is the end

        # At least `beam` of the best 2 x beam continuations do not end, since each hypothesis has
        # only one continuation that ends.
        total = total.flatten(1)
        best, position = total.topk(min(2 * beam, total.size(1)))
        parent = position // candidates.size(2)
        token = candidates.flatten(1).gather(1, position)
        ends = token == EOS

        # Endings count only if they are among the best `beam` continuations.
        endings = torch.where(ends, best, -math.inf)[:, :beam]
        ended += (endings > -math.inf).sum(1)
        scores, keep = best.masked_fill(ends, -math.inf).topk(beam)
        kept_parent, token = parent.gather(1, keep), token.gather(1, keep)
        steps.append(_Step(endings, parent[:, :beam], kept_parent, token))
        if step == limit:
            break
        if (step + 1) % ask_every == 0:
            done = ended >= beam
            if bool((done if step < forced else done | (step >= longest)).all()):
                break

        previous = token.flatten()
        if beam > 1:
            rows = (first_row + kept_parent).flatten()
            proposed = select_rows(proposed, rows)
            judged = [select_rows(state, rows) for state in judged]

    return _backtrace(steps, beam, config.length_normalization)


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
        end = end.masked_fill(forbidden, -math.inf)
    if forced is not None:
        end = torch.where(forced, log_probs[:, :, EOS], end)
        others = others.masked_fill(forced[:, :, None], -math.inf)
    return (
        torch.cat([others, end[:, :, None]], -1),
        torch.cat([candidates + first, end_token], -1),
    )


def _backtrace(
    steps: list[_Step], beam: int, length_normalization: float
) -> list[list[Hypothesis]]:
    """Backtrace the best endings of each utterance."""
    endings = torch.stack([step.endings for step in steps], 1)
    # An utterance is done after `beam` endings; later ones occur only because others are not done,
    # and must not count, or the result would depend on the batch.
    ended = (endings > -math.inf).sum(2)
    late = (ended.cumsum(1) - ended >= beam)[:, :, None]
    lengths = [number**length_normalization for number in range(1, len(steps) + 1)]
    endings = (endings / endings.new_tensor(lengths)[:, None]).masked_fill(late, -math.inf)
    best, position = endings.flatten(1).topk(min(beam, endings[0].numel()))
    scores, positions = best.tolist(), position.tolist()
    # Lists are indexed by [step][utterance][rank].
    ended_ranks, parent, token = (
        torch.stack(part).tolist() for part in list(zip(*steps, strict=True))[1:]
    )
    results = []
    for row in range(len(scores)):
        hypotheses = []
        for score, place in zip(scores[row], positions[row], strict=True):
            if score == -math.inf:
                continue
            step, entry = divmod(place, beam)
            rank = ended_ranks[step][row][entry]
            tokens = []
            for before in range(step - 1, -1, -1):
                tokens.append(token[before][row][rank])
                rank = parent[before][row][rank]
            hypotheses.append(Hypothesis(tokens[::-1], score))
        results.append(hypotheses)
    return results


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
