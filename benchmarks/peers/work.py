"""What is measured: the same work and sizes for every system.

Inputs are random numbers, all of one length, so that nothing is padded; weights are random, and
every search is held to a fixed number of steps.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

PAD, BOS, EOS, UNK = 0, 1, 2, 3
"""CTC's blank is PAD, too."""
FIRST_TOKEN = 10
"""Drawn tokens lie between this and as many from the vocabulary's end: no system's specials."""
LABEL_SMOOTHING = 0.1
CTC_WEIGHT = 0.3
"""Of the loss, and of the search where it has CTC prefix scores."""
CANDIDATES = 20
"""Tokens of a hypothesis that CTC prefix scores judge at a step."""


@dataclass(frozen=True)
class Work:
    """One thing to be timed: a training step, or the decoding of a batch."""

    name: str
    """A row of the table."""
    group: str
    """What `--work` calls it."""
    kind: Literal["speech", "text"]
    training: bool
    batch: int
    length: int
    """Frames of 10 ms, or tokens, of each source."""
    vocabulary: int
    layers: int
    """Of the encoder, bidirectional."""
    tokens: int = 0
    """Of each output in training, the end not counted."""
    beam: int = 1
    steps: int = 0
    """Steps of the decoder in a search, the last of which may only end."""
    ctc: bool = False
    """Whether the search has CTC prefix scores."""
    size: int = 256
    """Units of an encoder direction, of the decoder, of attention and of embeddings."""
    mel_bins: int = 80
    time_reduction: int = 8

    @property
    def memory_length(self) -> int:
        """Places that attention sees."""
        return self.length // self.time_reduction if self.kind == "speech" else self.length


class Setting(NamedTuple):
    """How a system does the work."""

    device: torch.device
    precision: str = "fp32"
    """`bf16` trains under autocast, `int8` decodes with weights of 8 bits."""
    input_feeding: bool = False
    """Of asr_s2s alone: the decoder's first layer reads the previous context."""


def all_works(tiny: bool = False) -> list[Work]:
    """Every work, in the order of the tables.

    Args:
        tiny: sizes that only show that all of it runs.
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
    return [_shrunk(work) for work in works] if tiny else works


def _shrunk(work: Work) -> Work:
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
    """Log-mel features `(batch, frames, mel_bins)` or tokens `(batch, tokens)`, and the lengths of
    rows `(batch,)`."""
    lengths = torch.full((work.batch,), work.length, device=device)
    if work.kind == "text":
        return draw_tokens(work, work.length, device), lengths
    return torch.randn(work.batch, work.length, work.mel_bins, device=device), lengths


def draw_tokens(work: Work, count: int, device: torch.device) -> Tensor:
    """Tokens `(batch, count)`, no special ones among them."""
    last = work.vocabulary - FIRST_TOKEN
    return torch.randint(FIRST_TOKEN, last, (work.batch, count), device=device)


def join_pairs(features: Tensor) -> Tensor:
    """Pairs of frames as one: `(batch, time, channels)` to `(batch, time / 2, 2 x channels)`."""
    return features.reshape(features.size(0), -1, 2 * features.size(2))
