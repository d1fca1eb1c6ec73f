"""Joint attention and CTC loss (Kim et al., 2017), and the loss of language models."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from asr_s2s.config import ObjectiveConfig
from asr_s2s.data.datasets import Batch
from asr_s2s.lm.language_model import LanguageModel
from asr_s2s.model.attention import Memory
from asr_s2s.model.ctc import CTCHead
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.nn.masks import padding_mask
from asr_s2s.text.tokenizer import BLANK, BOS, EOS
from asr_s2s.train.distill import Distillation

IGNORED = -100
"""Target of padding, which the loss ignores."""


class Losses(NamedTuple):
    """Losses and accuracy of one batch, as scalars."""

    total: Tensor
    """Training objective: (1 - ctc_weight) x (attention + coverage_weight x coverage) + ctc_weight
    x CTC, without CTC for text; with a teacher, plus distill.weight x distill. Translations of
    speech have no CTC loss: CTC counts by the share of the batch's tokens that are in
    transcripts."""
    attention: Tensor
    """Cross-entropy per token of the decoder or language model, including the end token and label
    smoothing."""
    ctc: Tensor | None
    """CTC loss per token of the transcripts, if any."""
    accuracy: Tensor
    """Fraction of tokens predicted correctly under teacher forcing."""
    distill: Tensor | None = None
    """Distillation loss per frame, if any."""
    coverage: Tensor | None = None
    """Coverage loss per token, if any."""


def joint_loss(
    model: Seq2Seq,
    batch: Batch,
    config: ObjectiveConfig,
    sampling: float = 0.0,
    distillation: Distillation | None = None,
) -> Losses:
    """Compute the loss of a batch.

    Args:
        sampling: probability of feeding the decoder its own prediction instead of the true token.
            Predictions come from a first pass without gradient over all steps at once (Mihaylova
            and Martins, 2019), so that scheduled sampling keeps the decoder's fused unrolling.
        distillation: prediction layer, used if the batch has teacher features.
    """
    prompted = torch.cat([batch.prompts, batch.tokens], dim=1)
    prefix, target = teacher_forcing(prompted, batch.token_lengths + batch.prompts.size(1))
    distill = None
    if distillation is not None and batch.teacher is not None:
        assert batch.teacher_lengths is not None
        features = model.encoder_inputs(batch.kind, batch.source, batch.lengths, batch.prompts)
        outputs = list(model.speech.layer_outputs(*features))
        memory = model.speech.memory_of(*outputs[-1])
        hidden, lengths = outputs[distillation.layer - 1]
        distill = distillation(hidden, lengths, batch.teacher, batch.teacher_lengths)
    else:
        memory = model.encode(batch.kind, batch.source, batch.lengths, batch.prompts)
    if sampling > 0.0:
        prefix = mix_guesses(model, memory, prefix, sampling)
    logits, weights = model.decoder(prefix, memory)
    attention = attention_loss(logits, target, config.label_smoothing, model.vocabulary)
    accuracy = _accuracy(logits, target)
    total, coverage, ctc = attention, None, None
    if config.coverage_weight > 0.0:
        coverage = coverage_loss(weights, target)
        total = total + config.coverage_weight * coverage
    if model.ctc is not None and batch.kind == "speech":
        transcripts = model.transcribes(batch.prompts)
        if not model.translation_tokens or bool(transcripts.all()):
            ctc = weighted = _ctc_loss(model.ctc, memory, batch)
        else:
            ctc, weighted = _ctc_loss_of_transcripts(model.ctc, memory, batch, transcripts)
        total = (1 - config.ctc_weight) * total + config.ctc_weight * weighted
    if distillation is not None and distill is not None:
        total = total + distillation.weight * distill
    return Losses(
        total, attention.detach(), _detach(ctc), accuracy, _detach(distill), _detach(coverage)
    )


def _ctc_loss(head: CTCHead, memory: Memory, batch: Batch) -> Tensor:
    frames = head.per_frame * memory.lengths
    return ctc_loss(head(memory.values), frames, batch.tokens, batch.token_lengths)


def _ctc_loss_of_transcripts(
    head: CTCHead, memory: Memory, batch: Batch, transcripts: Tensor
) -> tuple[Tensor | None, Tensor]:
    """Compute the CTC loss of some rows.

    Args:
        transcripts: which rows are transcripts, `(batch,)`.

    Returns:
        The loss per token of the transcripts, None without any, and its part of the total loss.
    """
    own = memory.select(transcripts)
    if not len(own.lengths):
        # Zero, but with gradients: all processes average the same ones.
        return None, head(own.values).sum()
    tokens, lengths = batch.tokens[transcripts], batch.token_lengths[transcripts]
    ctc = _ctc_loss(head, own, batch._replace(tokens=tokens, token_lengths=lengths))
    return ctc, ctc * (lengths.sum() / batch.token_lengths.sum().clamp_min(1))


def language_model_loss(model: LanguageModel, batch: Batch, label_smoothing: float) -> Losses:
    """Compute the cross-entropy of a language model."""
    prefix, target = teacher_forcing(batch.tokens, batch.token_lengths)
    logits = model(prefix)
    loss = attention_loss(logits, target, label_smoothing)
    return Losses(loss, loss.detach(), None, _accuracy(logits, target))


def teacher_forcing(tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return decoder inputs with start token and targets with end token, `(batch, tokens + 1)`.

    Padding is BLANK in the inputs and IGNORED in the targets.
    """
    prefix = F.pad(tokens, (1, 0), value=BOS)
    target = F.pad(tokens, (0, 1), value=BLANK)
    target = target.scatter(1, lengths[:, None], EOS)
    return prefix, target.masked_fill(padding_mask(lengths + 1, target.size(1)), IGNORED)


def attention_loss(
    logits: Tensor, target: Tensor, label_smoothing: float, vocabulary: int | None = None
) -> Tensor:
    """Compute cross-entropy per target token with label smoothing (Szegedy et al., 2016).

    Args:
        logits: `(batch, steps, ids)`.
        target: `(batch, steps)`; positions with IGNORED do not contribute.
        vocabulary: number of tokens among which labels are smoothed, by default all; unknown words
            of sources, which a decoder may copy, follow.
    """
    scores, labels = _at_least_float32(logits).flatten(0, 1), target.flatten()
    if vocabulary is None or scores.size(1) == vocabulary:
        return F.cross_entropy(
            scores, labels, ignore_index=IGNORED, label_smoothing=label_smoothing
        )
    counted = labels != IGNORED
    log_probs = scores[counted].log_softmax(-1)
    smooth = -log_probs[:, :vocabulary].mean()
    exact = F.nll_loss(log_probs, labels[counted])
    return (1 - label_smoothing) * exact + label_smoothing * smooth


def coverage_loss(weights: Tensor, target: Tensor) -> Tensor:
    """Compute the coverage loss of See et al. (2017), equation 12, per target token: the sum over
    frames of min(weight, sum of the weights of previous steps).

    Args:
        weights: attention weights, `(batch, steps, time)`.
        target: `(batch, steps)`; positions with IGNORED do not contribute.
    """
    before = weights.cumsum(1) - weights
    repeated = torch.minimum(weights, before).sum(-1)
    counted = target != IGNORED
    return (repeated * counted).sum() / counted.sum()


def ctc_loss(logits: Tensor, frames: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Compute CTC loss per target token (Graves et al., 2006).

    Transcripts that do not fit their frames contribute neither loss nor gradient. An empty
    transcript counts as one token.

    Args:
        logits: `(batch, time, vocabulary)`.
        frames: valid frames, `(batch,)`.
        tokens: transcripts, `(batch, tokens)`.
        lengths: tokens per transcript, `(batch,)`.
    """
    log_probs = _at_least_float32(logits).log_softmax(-1).transpose(0, 1)
    losses = F.ctc_loss(
        log_probs, tokens, frames, lengths, blank=BLANK, reduction="sum", zero_infinity=True
    )
    return losses / lengths.clamp_min(1).sum()


@torch.no_grad()
def mix_guesses(model: Seq2Seq, memory: Memory, prefix: Tensor, probability: float) -> Tensor:
    """Replace previous tokens at random by samples of the model, except start token and prompts."""
    logits, _ = model.decoder(prefix, memory)
    drawn = logits.float().softmax(-1).flatten(0, 1).multinomial(1).view_as(prefix)
    guesses = F.pad(drawn[:, :-1], (1, 0), value=BOS)
    swap = torch.rand(prefix.shape, device=prefix.device) < probability
    swap &= (prefix != BLANK) & (prefix != BOS) & (prefix < model.writable)
    return torch.where(swap, guesses, prefix)


def _detach(loss: Tensor | None) -> Tensor | None:
    return None if loss is None else loss.detach()


def _accuracy(logits: Tensor, target: Tensor) -> Tensor:
    counted = target != IGNORED
    # The maximum is ten times as fast on CPU as its position.
    of_target = logits.gather(-1, target.masked_fill(~counted, 0)[..., None])[..., 0]
    return ((of_target == logits.amax(-1)) & counted).sum() / counted.sum()


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
