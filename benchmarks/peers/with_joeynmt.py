"""JoeyNMT: its recurrent encoder and decoder with additive attention and input feeding, and its
beam search."""

from importlib.metadata import version as installed
from types import SimpleNamespace

import torch
from joeynmt.decoders import RecurrentDecoder
from joeynmt.embeddings import Embeddings
from joeynmt.encoders import RecurrentEncoder
from joeynmt.model import Model
from joeynmt.search import beam_search
from joeynmt.vocabulary import Vocabulary
from peers.case import Case, training_case
from peers.work import LABEL_SMOOTHING, Setting, Work, draw_source, draw_tokens
from torch import Tensor
from torch.nn import functional as F

PADDING, START, END = 1, 2, 3


def version() -> str:
    """Name and version of the system."""
    return f"JoeyNMT {installed('joeynmt')}"


def build(work: Work, setting: Setting) -> Case:
    """Build the workload with JoeyNMT's model and search."""
    model = make_model(work).to(setting.device)
    source, lengths = draw_source(work, setting.device)
    seen = torch.ones_like(source, dtype=torch.bool)[:, None]
    if work.training:
        tokens = draw_tokens(work, work.tokens, setting.device)
        prefix, target = F.pad(tokens, (1, 0), value=START), F.pad(tokens, (0, 1), value=END)
        model.loss_function = ("crossentropy", LABEL_SMOOTHING)

        def loss() -> Tensor:
            total: Tensor = model(
                return_type="loss",
                src=source,
                src_length=lengths,
                src_mask=seen,
                trg_input=prefix,
                trg=target,
                trg_mask=torch.ones_like(target, dtype=torch.bool)[:, None],
            )[0]
            return total / target.numel()

        return training_case(model, loss, setting)
    model.eval()

    @torch.no_grad()
    def run() -> None:
        memory, last, _, _ = model(
            return_type="encode", src=source, src_length=lengths, src_mask=seen
        )
        beam_search(
            model=model,
            beam_size=work.beam,
            encoder_output=memory,
            encoder_hidden=last,
            src_mask=seen,
            max_output_length=work.steps,
            min_output_length=work.steps,
            alpha=1.0,
        )

    return Case(run, model.decoder.output_layer)


def make_model(work: Work) -> Model:
    """Build bidirectional LSTM layers and a decoder that starts from their last states."""
    # The vocabulary starts with the special tokens; <unk> is token 0.
    specials = SimpleNamespace(
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        sep_token=None,
        **{"unk_id": 0, "pad_id": PADDING, "bos_id": START, "eos_id": END, "lang_tags": []},
    )
    vocabulary = Vocabulary([f"t{n}" for n in range(work.vocabulary - 4)], specials)
    encoder = RecurrentEncoder("lstm", work.size, work.size, work.layers)
    decoder = RecurrentDecoder(
        rnn_type="lstm",
        emb_size=work.size,
        hidden_size=work.size,
        encoder=encoder,
        attention="bahdanau",
        vocab_size=work.vocabulary,
    )
    source, output = (
        Embeddings(work.size, vocab_size=work.vocabulary, padding_idx=PADDING) for _ in range(2)
    )
    return Model(encoder, decoder, source, output, vocabulary, vocabulary)
