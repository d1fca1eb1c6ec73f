"""SpeechBrain: its LSTM layers, AttentionalRNNDecoder and beam search.

SpeechBrain has no pyramidal encoder. Pairs of frames are joined between its layers here, so that
its sequences have the same lengths as in the other systems.
"""

from importlib.metadata import version as installed

import torch
from peers.case import Case, training_case
from peers.work import (
    BOS,
    CANDIDATES,
    CTC_WEIGHT,
    EOS,
    LABEL_SMOOTHING,
    PAD,
    Setting,
    Work,
    draw_source,
    draw_tokens,
    join_pairs,
)
from speechbrain.decoders import CTCScorer, S2SRNNBeamSearcher, S2SRNNGreedySearcher, ScorerBuilder
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.losses import ctc_loss, nll_loss
from speechbrain.nnet.RNN import LSTM, AttentionalRNNDecoder
from torch import Tensor, nn
from torch.nn import functional as F


def version() -> str:
    """Name and version of the system."""
    return f"SpeechBrain {installed('speechbrain')}"


class Model(nn.Module):
    """Encoder and input-feeding decoder; location-aware attention with 10 filters of width 31."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        size, channels = work.size, 2 * work.size
        self.layers = nn.ModuleList(
            LSTM(size, input_size=n, num_layers=1, bidirectional=True)
            for n in [2 * work.mel_bins] + [2 * channels] * (work.layers - 1)
        )
        self.embedding = nn.Embedding(work.vocabulary, size)
        self.decoder = AttentionalRNNDecoder(
            rnn_type="lstm",
            attn_type="location",
            hidden_size=size,
            attn_dim=size,
            num_layers=1,
            enc_dim=channels,
            input_size=size,
            channels=10,
            kernel_size=15,
        )
        self.output = Linear(work.vocabulary, input_size=size)
        self.ctc = Linear(work.vocabulary, input_size=channels)

    def encode(self, features: Tensor) -> Tensor:
        """Map `(batch, frames, mel_bins)` to `(batch, frames / 8, channels)`."""
        for layer in self.layers:
            features = layer(join_pairs(features))[0]
        return features


def build(work: Work, setting: Setting) -> Case:
    """Build the workload as in SpeechBrain's recipes for attention with CTC."""
    model = Model(work).to(setting.device)
    features, _ = draw_source(work, setting.device)
    whole = torch.ones(work.batch, device=setting.device)  # lengths relative to the longest
    if work.training:
        tokens = draw_tokens(work, work.tokens, setting.device)
        prefix, target = F.pad(tokens, (1, 0), value=BOS), F.pad(tokens, (0, 1), value=EOS)

        def loss() -> Tensor:
            memory = model.encode(features)
            hidden, _ = model.decoder(model.embedding(prefix), memory, whole)
            log_probs = model.output(hidden).log_softmax(-1)
            attention = nll_loss(log_probs, target, whole, label_smoothing=LABEL_SMOOTHING)
            ctc_log_probs = model.ctc(memory).log_softmax(-1)
            ctc: Tensor = ctc_loss(ctc_log_probs, tokens, whole, whole, PAD)
            return (1 - CTC_WEIGHT) * attention + CTC_WEIGHT * ctc

        return training_case(model, loss, setting)
    model.eval()
    ratio = (work.steps + 0.5) / work.memory_length
    common = {
        "embedding": model.embedding,
        "decoder": model.decoder,
        "linear": model.output,
        "bos_index": BOS,
        "eos_index": EOS,
        "max_decode_ratio": ratio,
    }
    if work.beam == 1 and not work.ctc:
        # The greedy searcher counts steps from the minimum length, so a minimum length cannot
        # prevent an early end. A low bias of the end token does.
        assert model.output.w.bias is not None
        model.output.w.bias.data[EOS] = -1e4
        searcher = S2SRNNGreedySearcher(min_decode_ratio=0.0, **common)
    else:
        searcher = S2SRNNBeamSearcher(
            min_decode_ratio=ratio,
            beam_size=work.beam,
            using_eos_threshold=False,
            scorer=ctc_scorer(work, model) if work.ctc else None,
            **common,
        )

    @torch.inference_mode()
    def run() -> None:
        searcher(model.encode(features), whole)

    return Case(run, model.output)


def ctc_scorer(work: Work, model: Model) -> ScorerBuilder:
    """Build CTC prefix scores of the decoder's best candidates."""
    return ScorerBuilder(
        weights={"ctc": CTC_WEIGHT},
        partial_scorers=[CTCScorer(ctc_fc=model.ctc, blank_index=PAD, eos_index=EOS)],
        scorer_beam_scale=CANDIDATES / work.beam,
    )
