"""Training of sequence-to-sequence models: speech recognition, translation of speech or text."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from asr_s2s.config import Config
from asr_s2s.data.corpus import read_corpus
from asr_s2s.data.datasets import Batch
from asr_s2s.data.manifest import cut_text
from asr_s2s.model.folder import build_model, load_tokenizers
from asr_s2s.model.growth import load_speech_encoder
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.extension import extend_tokenizer
from asr_s2s.text.tokenizer import Tokenizer
from asr_s2s.text.vocabulary import train_tokenizer
from asr_s2s.train.distill import Distillation
from asr_s2s.train.objective import Losses, joint_loss
from asr_s2s.train.schedule import sampling_probability
from asr_s2s.train.settings import check_seq2seq, resolve_model
from asr_s2s.train.streams import (
    SourceStream,
    check_kinds,
    check_transcripts,
    infeasible,
    make_streams,
    measure_features,
    teacher_shape,
)
from asr_s2s.train.validation import Validation, validate


class JointLoss(nn.Module):
    """Joint attention and CTC loss, with distillation if there is a teacher.

    Args:
        distillation: prediction layer for the teacher's features, or None.
    """

    def __init__(self, config: Config, distillation: Distillation | None) -> None:
        super().__init__()
        self.config = config.objective
        self.distillation = distillation

    def forward(self, model: Seq2Seq, batch: Batch, step: int) -> Losses:
        """Compute the loss of a batch; `step` counts from 0."""
        sampling = sampling_probability(step, self.config)
        return joint_loss(model, batch, self.config, sampling, self.distillation)


class Seq2SeqTask:
    """Task of models with encoders for speech, text, or both; see `Task`."""

    def __init__(self, config: Config, base: Path) -> None:
        self.config = config
        self.base = base
        self.corpus = read_corpus(config.data.train, base, "data.train")
        self.valid_corpus = read_corpus(config.data.valid, base, "data.valid")
        check_kinds(self.corpus, config, "data.train")
        check_kinds(self.valid_corpus, config, "data.valid")
        check_transcripts(self.corpus, config)

    @staticmethod
    def complete(config: Config, base: Path) -> Config:
        check_seq2seq(config)
        return config

    def save_tokenizers(self, folder: Path) -> None:
        """Save the tokenizers of the model to fine-tune, with missing units if they are to be
        added, or new ones of the training texts."""
        config, corpus = self.config, self.corpus
        has_text = "text" in config.model.encoders
        separate = has_text and not config.source_text.joint
        start_from = resolve_model(config.train.initialize, self.base)
        texts: list[str] = [cut_text(cut) for cut in corpus.cuts]
        texts += [pair.target for pair in corpus.pairs]
        sources = [pair.source for pair in corpus.pairs]
        if has_text and not separate:
            texts += sources
        source = None
        if start_from is None:
            target = train_tokenizer(config.text, texts, base=self.base)
            if separate:
                source = train_tokenizer(config.source_text, sources, "source_text")
        else:
            missing = config.train.missing_units
            target, own_source = load_tokenizers(start_from, config)
            target = extend_tokenizer(target, config.text, texts, missing, "text")
            if separate and own_source is not None:
                source = extend_tokenizer(
                    own_source, config.source_text, sources, missing, "source_text"
                )
        target.save(folder)
        if source is not None:
            source.save(folder, "source")

    def streams(
        self,
        tokenizers: tuple[Tokenizer, Tokenizer | None],
        *,
        training: bool,
        info: Callable[[str], None],
    ) -> list[SourceStream]:
        corpus = self.corpus if training else self.valid_corpus
        return make_streams(
            corpus, self.config, tokenizers, training=training, base=self.base, info=info
        )

    def build_model(self, tokenizers: tuple[Tokenizer, Tokenizer | None]) -> Seq2Seq:
        return build_model(self.config, *tokenizers)

    def build_criterion(self, model: Seq2Seq, streams: Sequence[SourceStream]) -> JointLoss:
        config = self.config.distill
        if not config.weight:
            return JointLoss(self.config, None)
        (speech,) = (stream for stream in streams if stream.kind == "speech")
        rate, size = teacher_shape(speech.items)
        per_frame = max(1, round(rate * model.speech.frame_seconds(config.layer)))
        distillation = Distillation(model.speech.output_size, size, per_frame, config)
        return JointLoss(self.config, distillation)

    def prepare(self, model: Seq2Seq, streams: Sequence[SourceStream]) -> None:
        """Load the speech encoder to start from, if any; otherwise measure the mean and variance of
        features, if they are those of the training set."""
        encoder = resolve_model(self.config.train.initialize_encoder, self.base)
        if encoder is not None:
            load_speech_encoder(model, encoder, self.config)
        elif self.config.features.normalization == "global" and streams[0].kind == "speech":
            measure_features(model, streams[0], self.config)

    def notes(self, streams: Sequence[SourceStream]) -> list[str]:
        """Count the transcripts that are too long for CTC."""
        uses_ctc = self.config.objective.ctc_weight > 0 and streams[0].kind == "speech"
        count = infeasible(streams[0], self.config) if uses_ctc else 0
        if not count:
            return []
        return [
            f"{count} transcripts have more tokens than CTC can align with their audio; "
            "the CTC loss ignores them. Lower speech_encoder.time_reduction, or raise "
            "objective.ctc_per_frame"
        ]

    def validate(
        self, model: Seq2Seq, streams: Sequence[SourceStream], device: torch.device
    ) -> Validation:
        """Decode by beam search, and compute `text.metric`, or a metric for each language."""
        return validate(model, streams, self.config, device)
