"""One batched beam search for every task and device.

All utterances and all their hypotheses advance together; a step is a fixed number of tensor
operations, whatever the batch and the beam. Greedy search is a beam of one.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr_s2s.config import SearchConfig
from asr_s2s.errors import ConfigError
from asr_s2s.search.scorers import Scorer
from asr_s2s.text.tokenizer import BLANK, BOS, EOS, UNK

LARGEST_BEAM = 1000
"""Most hypotheses of an utterance: time and memory grow with the square of the beam."""


class Hypothesis(NamedTuple):
    """One finished output."""

    tokens: list[int]
    """Without the start and end tokens."""
    score: float
    """Weighted sum of the scorers' natural log-probabilities, and token_bonus for each token, over
    length ** length_normalization, the end token counted in the length."""


class _Finished(NamedTuple):
    """The best finished hypotheses of each utterance, best first."""

    scores: Tensor
    """`(batch, beam)`, -inf where there is none yet."""
    tokens: Tensor
    """`(batch, beam, steps)`"""
    lengths: Tensor
    """`(batch, beam)`"""


@torch.inference_mode()
def beam_search(
    scorers: Sequence[tuple[Scorer, float]], frames: Tensor, config: SearchConfig
) -> list[list[Hypothesis]]:
    """Search for the best outputs of each utterance.

    Args:
        scorers: with their weights. The first scores the whole vocabulary and proposes
            candidates; the others judge only those.
        frames: length of each utterance's memory `(batch,)`, which bounds the output's length.
        config: beam size, candidates, normalisation and end conditions.

    Returns:
        For each utterance up to `beam_size` hypotheses, best first; always at least one.
    """
    check_search(config)
    beam, batch, device = config.beam_size, len(frames), frames.device
    shortest = (frames * config.min_length_ratio).floor()
    longest = (frames * config.max_length_ratio).floor().clamp_min(1)
    longest = torch.maximum(longest, shortest)
    limit = int(longest.max())
    (proposer, weight), *judges = scorers
    first_row = torch.arange(batch, device=device)[:, None] * beam

    states: list[Any] = [scorer.start(beam) for scorer, _ in scorers]
    previous = torch.full((batch * beam,), BOS, device=device)
    scores = torch.full((batch, beam), -math.inf, device=device)
    scores[:, 0] = 0.0  # all hypotheses start alike: one of them is enough
    tokens = torch.full((batch, beam, limit), BLANK, device=device)
    finished = _Finished(
        torch.full_like(scores, -math.inf), tokens.clone(), torch.zeros_like(scores).long()
    )
    ended = torch.zeros(batch, dtype=torch.long, device=device)
    done = torch.zeros(batch, dtype=torch.bool, device=device)
    # Asking a GPU whether all are done makes it wait; a few idle steps cost less.
    ask_every = 1 if device.type == "cpu" else 8

    for step in range(limit + 1):
        log_probs, states[0] = proposer.step(previous, states[0], None)
        log_probs, candidates = _propose(
            log_probs.view(batch, beam, -1), step, shortest, longest, config
        )
        # A weight of 0 must not turn what is forbidden (-inf) into NaN.
        total = scores[:, :, None] + torch.where(
            log_probs.isneginf(), log_probs, weight * log_probs
        )
        for index, (judge, judge_weight) in enumerate(judges, start=1):
            judged, states[index] = judge.step(previous, states[index], candidates.flatten(0, 1))
            total = total + judge_weight * judged.view_as(total)
        if config.token_bonus:
            total[:, :, :-1] += config.token_bonus  # the last candidate is the end

        # Among the best 2 x beam continuations at least `beam` go on, since each hypothesis ends
        # in at most one way.
        best, place = total.flatten(1).topk(min(2 * beam, total[0].numel()))
        parent = place // candidates.size(2)
        token = candidates.flatten(1).gather(1, place)
        ends = token == EOS

        counted = ends & best.isfinite() & ~done[:, None]
        counted[:, beam:] = False  # an ending counts only if it would have kept its place
        finished = _merge(finished, counted, best, tokens, parent, step, config)
        ended += counted.sum(1)
        done |= (ended >= beam) | (step >= longest)
        if step == limit or ((step + 1) % ask_every == 0 and bool(done.all())):
            break

        scores, keep = best.masked_fill(ends, -math.inf).topk(beam)
        parent, token = parent.gather(1, keep), token.gather(1, keep)
        tokens = tokens.gather(1, parent[:, :, None].expand_as(tokens))
        tokens[:, :, step] = token
        previous = token.flatten()
        rows = (first_row + parent).flatten()
        states = [type(s)(*(part.index_select(0, rows) for part in s)) for s in states]

    return _read(finished)


def _propose(
    log_probs: Tensor, step: int, shortest: Tensor, longest: Tensor, config: SearchConfig
) -> tuple[Tensor, Tensor]:
    """The proposer's best candidates, and the end token as the last one.

    Args:
        log_probs: `(batch, beam, vocabulary)`.

    Returns:
        Log-probabilities and tokens, each `(batch, beam, candidates + 1)`; -inf marks what the
        length bounds or the end threshold forbid.
    """
    end = log_probs[:, :, EOS]
    others = log_probs.clone()
    others[:, :, [BLANK, BOS, EOS] if config.unknown else [BLANK, BOS, EOS, UNK]] = -math.inf
    count = min(max(config.candidates, 2 * config.beam_size), others.size(-1) - 4)
    others, candidates = others.topk(count)
    if config.end_threshold is not None:
        unsure = end < config.end_threshold * others[:, :, 0]
        end = end.masked_fill(unsure, -math.inf)
    end = end.masked_fill((step < shortest)[:, None], -math.inf)
    must_end = (step >= longest)[:, None]
    end = torch.where(must_end, log_probs[:, :, EOS], end)
    others = others.masked_fill(must_end[:, :, None], -math.inf)
    return (
        torch.cat([others, end[:, :, None]], -1),
        torch.cat([candidates, torch.full_like(candidates[:, :, :1], EOS)], -1),
    )


def _merge(
    finished: _Finished,
    counted: Tensor,
    best: Tensor,
    tokens: Tensor,
    parent: Tensor,
    step: int,
    config: SearchConfig,
) -> _Finished:
    """Take the hypotheses that end here into the finished ones, keeping the best."""
    beam = finished.scores.size(1)
    ending = best / (step + 1) ** config.length_normalization
    ending = ending.masked_fill(~counted, -math.inf)[:, :beam]
    written = tokens.gather(1, parent[:, :beam, None].expand(-1, -1, tokens.size(2)))
    scores, keep = torch.cat([finished.scores, ending], 1).topk(beam)
    lengths = torch.cat(
        [finished.lengths, torch.full_like(finished.lengths[:, : ending.size(1)], step)], 1
    )
    written = torch.cat([finished.tokens, written], 1)
    return _Finished(
        scores,
        written.gather(1, keep[:, :, None].expand(-1, -1, written.size(2))),
        lengths.gather(1, keep),
    )


def _read(finished: _Finished) -> list[list[Hypothesis]]:
    scores, tokens, lengths = (part.tolist() for part in finished)
    return [
        [
            Hypothesis(tokens[row][rank][: lengths[row][rank]], score)
            for rank, score in enumerate(scores[row])
            if score > -math.inf
        ]
        for row in range(len(scores))
    ]


def check_beam_size(key: str, value: int) -> None:
    """Refuse a width of the search, or a number of its outputs, that it cannot have.

    Raises:
        ConfigError: naming the key.
    """
    if not 1 <= value <= LARGEST_BEAM:
        raise ConfigError(
            key,
            f"expected a number from 1 to {LARGEST_BEAM:,}, found {value:,}",
            "Use for example 8",
        )


def check_search(config: SearchConfig) -> None:
    """Refuse search settings that make no sense.

    Raises:
        ConfigError: naming the key.
    """
    check_beam_size("search.beam_size", config.beam_size)
    for key, value, least in (
        ("candidates", config.candidates, 1),
        ("piece_tokens", config.piece_tokens, 2),
        ("min_length_ratio", config.min_length_ratio, 0),
    ):
        if value < least:
            raise ConfigError(
                f"search.{key}", f"expected at least {least}, found {value}", "Raise it"
            )
    for key, value, usual in (
        ("length_normalization", config.length_normalization, 1),
        ("coverage_penalty", config.coverage_penalty, 0.2),
        ("ngram_weight", config.ngram_weight, 0.3),
        ("language_model_weight", config.language_model_weight, 0.3),
    ):
        if not 0.0 <= value <= 10.0:
            raise ConfigError(
                f"search.{key}",
                f"expected a number from 0 to 10, found {value}",
                f"Use for example {usual}",
            )
    if not -10.0 <= config.token_bonus <= 10.0:
        raise ConfigError(
            "search.token_bonus",
            f"expected a number from -10 to 10, found {config.token_bonus}",
            "Use for example 0.5",
        )
    if not 0.0 <= config.ctc_weight <= 1.0:
        raise ConfigError(
            "search.ctc_weight",
            f"expected a weight from 0 to 1, found {config.ctc_weight}",
            "Use for example 0.3",
        )
    if config.max_length_ratio <= config.min_length_ratio:
        raise ConfigError(
            "search.max_length_ratio",
            f"{config.max_length_ratio} is not above min_length_ratio {config.min_length_ratio}",
            "Raise it",
        )
