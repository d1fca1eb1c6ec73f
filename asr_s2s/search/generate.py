"""Choice of the search: beam search for the best outputs, or sampling."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from asr_s2s.config import SearchConfig
from asr_s2s.search.beam import Hypothesis, beam_search
from asr_s2s.search.must import Must
from asr_s2s.search.sampling import Sampling, sample
from asr_s2s.search.scorers import Proposer, State
from asr_s2s.search.steps import WeightedJudge


class Generation(NamedTuple):
    """Options of one call that are no settings of the search."""

    sampling: Sampling | None = None
    """Draw outputs instead of searching for the best ones."""
    prefix: tuple[int, ...] = ()
    """Tokens that outputs start with."""
    must: Must | None = None
    """Phrases that outputs must contain, on the model's device; not with sampling."""


def generate(
    proposer: tuple[Proposer[State], float],
    judges: Sequence[WeightedJudge],
    frames: Tensor,
    config: SearchConfig,
    generation: Generation,
    keys: Sequence[bytes],
) -> list[list[Hypothesis]]:
    """Sample if `generation` has `sampling`, else run beam search; arguments and results are as in
    `sampling.sample` and `beam.beam_search`."""
    sampling, prefix, must = generation
    if sampling is not None:
        return sample(proposer, judges, frames, config, sampling, keys, prefix=prefix)
    return beam_search(proposer, judges, frames, config, prefix=prefix, must=must)
