"""ESPnet: its BLSTMP encoder, attention decoder and batched beam search (of `espnet.nets`, since
the search of `espnet2` runs recurrent decoders one hypothesis at a time).

The encoder drops every second frame after a layer instead of joining pairs, and projects the rest.
Pairs of frames are joined before the first layer here, so that its sequences have the same lengths
as in the other systems.
"""

import logging
from argparse import Namespace
from importlib.metadata import version as installed

import numpy as np
import torch
from espnet.nets.pytorch_backend.ctc import CTC
from espnet.nets.pytorch_backend.rnn import decoders
from espnet.nets.pytorch_backend.rnn.attentions import AttLoc
from espnet.nets.pytorch_backend.rnn.encoders import RNNP
from peers.case import Case, training_case
from peers.work import (
    CANDIDATES,
    CTC_WEIGHT,
    LABEL_SMOOTHING,
    Setting,
    Work,
    draw_source,
    draw_tokens,
    join_pairs,
)
from torch import Tensor, nn

logging.disable(logging.WARNING)  # ESPnet logs a warning at every step


def version() -> str:
    """Name and version of the system."""
    return f"ESPnet {installed('espnet')}"


class Model(nn.Module):
    """Encoder and input-feeding decoder; location-aware attention with 10 filters of width 31."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        channels, end = 2 * work.size, work.vocabulary - 1
        halvings = np.array([1] + [2] * (work.layers - 1) + [1])
        self.encoder = RNNP(2 * work.mel_bins, work.layers, work.size, channels, halvings, 0.0)
        self.ctc = CTC(work.vocabulary, channels, 0.0)
        self.decoder = decoders.Decoder(
            channels,
            work.vocabulary,
            "lstm",
            1,
            work.size,
            end,
            end,
            nn.ModuleList([AttLoc(channels, work.size, work.size, 10, 15)]),
            char_list=[str(n) for n in range(work.vocabulary)],
            labeldist=np.full(work.vocabulary, 1 / work.vocabulary, np.float32),
            lsm_weight=LABEL_SMOOTHING,
        )

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(batch, frames, mel_bins)` to `(batch, frames / 8, channels)` and lengths."""
        memory, lengths, _ = self.encoder(join_pairs(features), lengths // 2)
        return memory, lengths


def build(work: Work, setting: Setting) -> Case:
    """Build the workload as in ESPnet's recurrent end-to-end model."""
    model = Model(work).to(setting.device)
    features, lengths = draw_source(work, setting.device)
    if work.training:
        tokens = draw_tokens(work, work.tokens, setting.device)

        def loss() -> Tensor:
            memory, frames = model.encode(features, lengths)
            attention, _, _ = model.decoder(memory, frames, tokens)
            ctc = model.ctc(memory, frames, tokens)
            total: Tensor = (1 - CTC_WEIGHT) * attention + CTC_WEIGHT * ctc
            return total

        return training_case(model, loss, setting)
    model.eval()
    # A module constant of ESPnet: candidates per hypothesis in units of the beam.
    decoders.CTC_SCORING_RATIO = CANDIDATES / work.beam
    search = Namespace(
        beam_size=work.beam,
        penalty=0.0,
        nbest=1,
        ctc_weight=CTC_WEIGHT if work.ctc else 0.0,
        maxlenratio=(work.steps + 0.5) / work.memory_length,
        minlenratio=(work.steps - 0.5) / work.memory_length,
    )

    @torch.no_grad()
    def run() -> None:
        memory, frames = model.encode(features, lengths)
        ctc_log_probs = model.ctc.log_softmax(memory) if work.ctc else None
        model.decoder.recognize_beam_batch(
            memory, frames, ctc_log_probs, search, model.decoder.char_list
        )

    return Case(run, model.decoder.output)
