"""Definitions of the workloads, with the same sizes for every system.

Inputs are random and of equal length, so that there is no padding. Weights are random, and
every search takes a fixed number of steps.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

PAD, BOS, EOS, UNK = 0, 1, 2, 3
"""Ids of special tokens; PAD is also the blank of CTC."""
FIRST_TOKEN = 10
"""Margin at both ends of the vocabulary in which no tokens are drawn, so that no system's special
tokens occur."""
LABEL_SMOOTHING = 0.1
CTC_WEIGHT = 0.3
"""Weight of CTC in the loss, and in searches with CTC prefix scores."""
CANDIDATES = 20
"""Candidate tokens per hypothesis and step that get CTC prefix scores."""


@dataclass(frozen=True)
class Work:
    """A workload to be timed: a training step, or the decoding of a batch."""

    name: str
    """Row of the table."""
    group: str
    """Value of the option `--work` that selects it."""
    kind: Literal["speech", "text"]
    training: bool
    batch: int
    length: int
    """Length of each source in 10 ms frames or tokens."""
    vocabulary: int
    layers: int
    """Number of bidirectional encoder layers."""
    tokens: int = 0
    """Length of each output in training, without the end token."""
    beam: int = 1
    steps: int = 0
    """Decoder steps of a search; the last one outputs the end token."""
    ctc: bool = False
    """Whether the search has CTC prefix scores."""
    size: int = 256
    """Units of each encoder direction, the decoder, attention and embeddings."""
    mel_bins: int = 80
    time_reduction: int = 8

    @property
    def memory_length(self) -> int:
        """Number of memory frames."""
        return self.length // self.time_reduction if self.kind == "speech" else self.length


class Setting(NamedTuple):
    """Device, precision and decoder form that a system runs a workload with."""

    device: torch.device
    precision: str = "fp32"
    """`bf16` trains under autocast, `int8` decodes with 8-bit weights."""
    input_feeding: bool = False
    """Whether the decoder's first layer reads the previous context; asr_s2s only."""


def all_works(tiny: bool = False) -> list[Work]:
    """All workloads, in the order of the tables.

    Args:
        tiny: use small sizes, to test that all workloads run.
    """
    asr = Work("", "", "speech", False, batch=16, length=800, vocabulary=500, layers=3)
    text = Work("", "", "text", False, batch=64, length=15, vocabulary=8000, layers=2)
    works = [replace(asr, name="training step", group="asr_train", training=True, tokens=40)]
    for ctc in (False, True):
        for batch in (1, 16):
            for beam in (1, 10):
                name = f"decoding, batch {batch}, beam {beam}" + (", CTC" if ctc else "")
                decoding = replace(asr, name=name, group="asr_decode", batch=batch, beam=beam)
                works.append(replace(decoding, steps=60, ctc=ctc))
    works.append(replace(text, name="training step", group="text_train", training=True, tokens=15))
    name = "decoding, batch 64, beam 5"
    works.append(replace(text, name=name, group="text_decode", beam=5, steps=20))
    return [_shrink(work) for work in works] if tiny else works


def _shrink(work: Work) -> Work:
    length = 80 if work.kind == "speech" else 8
    return replace(
        work,
        batch=min(work.batch, 2),
        length=length,
        vocabulary=60,
        tokens=min(work.tokens, 5),
        steps=min(work.steps, 6),
        size=16,
        name=work.name.replace("batch 16", "batch 2").replace("batch 64", "batch 2"),
    )


def draw_source(work: Work, device: torch.device) -> tuple[Tensor, Tensor]:
    """Draw log-mel features `(batch, frames, mel_bins)` or tokens `(batch, tokens)`, and lengths
    `(batch,)`."""
    lengths = torch.full((work.batch,), work.length, device=device)
    if work.kind == "text":
        return draw_tokens(work, work.length, device), lengths
    return torch.randn(work.batch, work.length, work.mel_bins, device=device), lengths


def draw_tokens(work: Work, count: int, device: torch.device) -> Tensor:
    """Draw tokens `(batch, count)` without special tokens."""
    last = work.vocabulary - FIRST_TOKEN
    return torch.randint(FIRST_TOKEN, last, (work.batch, count), device=device)


def join_pairs(features: Tensor) -> Tensor:
    """Join pairs of frames: `(batch, time, channels)` to `(batch, time / 2, 2 x channels)`."""
    return features.reshape(features.size(0), -1, 2 * features.size(2))
