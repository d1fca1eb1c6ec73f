"""asr_s2s, with log-mel features as input like its peers.

By default the decoder has a query layer and additive attention, which is the fastest form. With
input feeding it resembles the peers: one layer that reads the previous context and, for speech,
location-aware attention.
"""

import torch
from peers.case import Case, training_case
from peers.work import (
    CANDIDATES,
    CTC_WEIGHT,
    LABEL_SMOOTHING,
    Setting,
    Work,
    draw_source,
    draw_tokens,
)
from torch import Tensor, nn

import asr_s2s
from asr_s2s.allocator import keep_freed_memory
from asr_s2s.config import (
    AugmentConfig,
    Config,
    DecoderConfig,
    ModelConfig,
    ObjectiveConfig,
    SearchConfig,
    SpeechEncoderConfig,
    TextEncoderConfig,
)
from asr_s2s.data.datasets import Batch
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.nn.low_precision import use_low_precision
from asr_s2s.search.decode import decode
from asr_s2s.train.objective import joint_loss


def version() -> str:
    """Name and version of the system."""
    return f"asr_s2s {asr_s2s.__version__}"


class _Features(nn.Module):
    """Replaces the log-mel frontend; returns the features unchanged."""

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return features, lengths


class _Normalized(nn.Module):
    """Replaces feature normalization; returns the features unchanged."""

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        return features


def build(work: Work, setting: Setting) -> Case:
    """Build the workload as in `asr-s2s train` and `asr-s2s transcribe`."""
    keep_freed_memory()
    config = configure(work, setting.input_feeding)
    model = Seq2Seq(config, work.vocabulary, work.vocabulary).to(setting.device)
    if work.kind == "speech":
        model.frontend.log_mel, model.frontend.normalize = _Features(), _Normalized()  # type: ignore
    source, lengths = draw_source(work, setting.device)
    if work.training:
        tokens = draw_tokens(work, work.tokens, setting.device)
        batch = Batch(
            kind=work.kind,
            ids=[],
            texts=[],
            source=source,
            lengths=lengths,
            prompts=tokens[:, :0],
            tokens=tokens,
            token_lengths=torch.full_like(lengths, work.tokens),
            failures=[],
        )
        return training_case(
            model, lambda: joint_loss(model, batch, config.objective).total, setting
        )
    model.eval()
    if setting.precision == "int8":
        use_low_precision(model)

    @torch.inference_mode()
    def run() -> None:
        decode(model, work.kind, model.encode(work.kind, source, lengths), config.search)

    return Case(run, model.decoder.output)


def configure(work: Work, input_feeding: bool) -> Config:
    """Configure the model without dropout and SpecAugment, like all systems compared."""
    length = work.steps - 1  # the last step outputs the end token
    location = input_feeding and work.kind == "speech"
    return Config(
        model=ModelConfig(encoders=(work.kind,)),
        augment=AugmentConfig(frequency_masks=0, time_masks=0),
        speech_encoder=SpeechEncoderConfig(
            layers=work.layers, size=work.size, time_reduction=work.time_reduction, dropout=0.0
        ),
        text_encoder=TextEncoderConfig(
            layers=work.layers, size=work.size, embedding_size=work.size, dropout=0.0
        ),
        decoder=DecoderConfig(
            attention="location" if location else "additive",
            first_state="source" if work.kind == "text" else "zeros",
            input_feeding=input_feeding,
            size=work.size,
            attention_size=work.size,
            embedding_size=work.size,
            dropout=0.0,
        ),
        objective=ObjectiveConfig(ctc_weight=CTC_WEIGHT, label_smoothing=LABEL_SMOOTHING),
        search=SearchConfig(
            beam_size=work.beam,
            ctc_weight=CTC_WEIGHT if work.ctc else 0.0,
            candidates=CANDIDATES,
            end_threshold=None,
            min_length_ratio=(length + 0.3) / work.memory_length,
            max_length_ratio=(length + 0.6) / work.memory_length,
        ),
    )
