# ruff: noqa: E402 - stubs of missing packages must precede the imports
"""OpenNMT-py: its recurrent encoder, decoder with input feeding and additive attention, and its
beam search.

OpenNMT-py requires a decoder that is as wide as its memory and has as many layers as the encoder.
Linear layers between the two give it the same sizes as the other systems.
"""

import sys
from types import ModuleType

# Imported by its data preparation modules, which are not used here.
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
    """Name and version of the system."""
    return f"OpenNMT-py {onmt.__version__}"


class Encoder(nn.Module):
    """OpenNMT-py's encoder, projected to the width of the decoder."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        channels = 2 * work.size
        embeddings = Embeddings(work.size, work.vocabulary, PAD)
        self.layers = RNNEncoder("LSTM", True, work.layers, channels, embeddings=embeddings)
        self.values = nn.Linear(channels, work.size, bias=False)
        self.first = nn.ModuleList(nn.Linear(channels, work.size) for _ in range(2))

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Map tokens `(batch, tokens, 1)` to values, first decoder states and lengths."""
        values, last, lengths = self.layers(source, lengths)
        ends = (torch.cat([state[-2], state[-1]], -1) for state in last)
        first = (layer(end)[None] for layer, end in zip(self.first, ends, strict=True))
        return self.values(values), tuple(first), lengths


class Vocabulary:
    """Stub of a vocabulary with the methods that the translator calls."""

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
        """Id of a special token."""
        return self.specials.get(token, UNK)


def build(work: Work, setting: Setting) -> Case:
    """Build the workload as in OpenNMT-py's trainer and translator."""
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
        outputs = F.pad(F.pad(tokens, (1, 0), value=BOS), (0, 1), value=EOS)[:, :, None]

        def loss() -> Tensor:
            hidden, _ = model(source, outputs, lengths)
            logits = model.generator(hidden)
            target = outputs[:, 1:, 0].flatten()
            # OpenNMT-py's loss is also torch's.
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
