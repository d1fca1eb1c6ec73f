# ruff: noqa: E402 - what it imports must find stand-ins for what is not installed
"""OpenNMT-py: its recurrent encoder, decoder with input feeding and additive attention, and its
beam search.

Its decoder is as wide as what it attends to and has as many layers as the encoder; linear layers
between the two let it have everyone's sizes here.
"""

import sys
from types import ModuleType

# Its modules for preparing data want these as soon as they are imported; no data is prepared here.
for absent in ("ahocorasick", "fasttext", "rapidfuzz", "spacy"):
    sys.modules.setdefault(absent, ModuleType(absent))
sys.modules["rapidfuzz"].__dict__.setdefault("fuzz", None)
sys.modules["rapidfuzz"].__dict__.setdefault("process", None)

import onmt
import torch
from onmt.constants import DefaultTokens
from onmt.decoders.decoder import InputFeedRNNDecoder
from onmt.encoders.rnn_encoder import RNNEncoder
from onmt.models import NMTModel
from onmt.modules import Embeddings
from onmt.translate import GNMTGlobalScorer, Translator
from peers.case import Case, training_case
from peers.work import BOS, EOS, LABEL_SMOOTHING, PAD, UNK, Setting, Work, draw_source, draw_tokens
from torch import Tensor, nn
from torch.nn import functional as F


def version() -> str:
    """Name and version."""
    return f"OpenNMT-py {onmt.__version__}"


class Encoder(nn.Module):
    """Its encoder, brought to the decoder's width."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        channels = 2 * work.size
        embeddings = Embeddings(work.size, work.vocabulary, PAD)
        self.layers = RNNEncoder("LSTM", True, work.layers, channels, embeddings=embeddings)
        self.values = nn.Linear(channels, work.size, bias=False)
        self.first = nn.ModuleList(nn.Linear(channels, work.size) for _ in range(2))

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Tokens `(batch, tokens, 1)` to values, first states and lengths."""
        values, last, lengths = self.layers(source, lengths)
        ends = (torch.cat([state[-2], state[-1]], -1) for state in last)
        first = (layer(end)[None] for layer, end in zip(self.first, ends, strict=True))
        return self.values(values), tuple(first), lengths


class Vocabulary:
    """What its translator asks of a vocabulary."""

    def __init__(self, work: Work) -> None:
        self.size = work.vocabulary
        self.specials = {
            DefaultTokens.PAD: PAD,
            DefaultTokens.BOS: BOS,
            DefaultTokens.EOS: EOS,
            DefaultTokens.UNK: UNK,
        }

    def __len__(self) -> int:
        return self.size

    def lookup_token(self, token: str) -> int:
        """A special token's number."""
        return self.specials.get(token, UNK)


def build(work: Work, setting: Setting) -> Case:
    """The work, as its trainer and translator do it."""
    decoder = InputFeedRNNDecoder(
        "LSTM", False, 1, work.size, "mlp", embeddings=Embeddings(work.size, work.vocabulary, PAD)
    )
    model = NMTModel(Encoder(work), decoder)
    model.generator = nn.Linear(work.size, work.vocabulary)
    model.to(setting.device)
    source, lengths = draw_source(work, setting.device)
    source = source[:, :, None]  # a last axis of features
    if work.training:
        tokens = draw_tokens(work, work.tokens, setting.device)
        written = F.pad(F.pad(tokens, (1, 0), value=BOS), (0, 1), value=EOS)[:, :, None]

        def loss() -> Tensor:
            hidden, _ = model(source, written, lengths)
            logits = model.generator(hidden)
            target = written[:, 1:, 0].flatten()
            # Its own loss, too, is torch's.
            return F.cross_entropy(
                logits.flatten(0, 1), target, ignore_index=PAD, label_smoothing=LABEL_SMOOTHING
            )

        return training_case(model, loss, setting)
    model.eval()
    scorer = GNMTGlobalScorer(alpha=0.0, beta=0.0, length_penalty="none", coverage_penalty="none")
    translator = Translator(
        model,
        {"tgt": Vocabulary(work), "decoder_start_token": DefaultTokens.BOS},
        gpu=0 if setting.device.type == "cuda" else -1,
        beam_size=work.beam,
        min_length=work.steps,
        max_length=work.steps,
        max_length_ratio=0,
        global_scorer=scorer,
    )

    @torch.no_grad()
    def run() -> None:
        translator.translate_batch({"src": source, "srclen": lengths}, attn_debug=False)

    return Case(run, model.generator)
