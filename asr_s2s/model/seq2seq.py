"""Sequence-to-sequence model: encoders, a shared attention decoder, and an optional CTC head."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from asr_s2s.audio.frontend import SpeechFrontend
from asr_s2s.config import Config
from asr_s2s.config_file import find_entry
from asr_s2s.errors import ConfigError
from asr_s2s.model.attention import Memory
from asr_s2s.model.conformer import ConformerEncoder
from asr_s2s.model.ctc import CTCFrames, CTCHead
from asr_s2s.model.decoders import DECODERS
from asr_s2s.model.pyramid import PyramidEncoder
from asr_s2s.model.speech_encoder import SpeechEncoder
from asr_s2s.model.text_encoder import (
    TEXT_ENCODERS,
    RecurrentTextEncoder,
    TransformerTextEncoder,
)
from asr_s2s.nn.masks import padding_mask
from asr_s2s.text.tokenizer import BLANK, UNK

ENCODERS = ("speech", "text")
SPEECH_ENCODERS: dict[str, type[SpeechEncoder]] = {
    "pyramid": PyramidEncoder,
    "conformer": ConformerEncoder,
}
"""Speech encoders by `speech_encoder.kind`."""
FRONTEND, STORED_FRONTEND = "frontend.normalize.", "encoders.speech.normalize."
"""Prefixes of the frontend's weights, within the model and in weights files."""


class Seq2Seq(nn.Module):
    """Model with one or two encoders (`speech`, `text`), one attention decoder (Chan et al., 2016),
    and an optional CTC head on the memory of speech (Kim et al., 2017). The names in its state
    dictionary are those of weights files.

    Args:
        config: the configuration of the run; only the model's sections are used.
        vocabulary: number of output tokens, specials and languages included. Languages come last.
        source_vocabulary: number of tokens of a text source.

    Raises:
        ConfigError: the settings contradict each other.
    """

    frontend: SpeechFrontend
    """Frontend of the speech encoder; missing without one."""

    def __init__(self, config: Config, vocabulary: int, source_vocabulary: int = 0) -> None:
        super().__init__()
        check_encoders(config)
        encoders: dict[str, SpeechEncoder | RecurrentTextEncoder | TransformerTextEncoder] = {}
        if "speech" in config.model.encoders:
            self.frontend = SpeechFrontend(config.features, config.augment)
            self.register_state_dict_post_hook(_store_names)  # type: ignore[no-untyped-call]
            self.register_load_state_dict_pre_hook(_restore_names)  # type: ignore[no-untyped-call]
            encoders["speech"] = SPEECH_ENCODERS[config.speech_encoder.kind](
                config.speech_encoder, config.features.mel_bins
            )
        if "text" in config.model.encoders:
            text_encoder = find_entry(TEXT_ENCODERS, config.text_encoder.cell, "text_encoder.cell")
            encoders["text"] = text_encoder(config.text_encoder)
        self.encoders = nn.ModuleDict(encoders)
        sizes = {name: encoder.output_size for name, encoder in encoders.items()}
        if len(set(sizes.values())) > 1:
            raise ConfigError(
                "model.encoders",
                f"encoders with one decoder must have the same output size, found {sizes}",
                "Change speech_encoder.size or text_encoder.size",
            )
        memory_size = next(iter(sizes.values()))
        decoder = find_entry(DECODERS, config.decoder.kind, "decoder.kind")
        if config.decoder.copy and not decoder.can_copy:
            raise ConfigError(
                "decoder.copy",
                f"a decoder of kind {config.decoder.kind} cannot copy",
                "Set it to false, or choose another decoder.kind",
            )
        self.decoder = decoder(vocabulary, memory_size, config.decoder)
        self.source_embedding = (
            nn.Embedding(source_vocabulary, config.text_encoder.embedding_size, padding_idx=BLANK)
            if "text" in sizes and not config.text_encoder.shared_embedding
            else None
        )
        self.source_scale = _source_scale(config)
        self.languages: nn.ModuleDict | None = None
        if config.model.language_to_encoder:
            self.languages = nn.ModuleDict(
                {name: _language_embedding(config, name) for name in encoders}
            )
        with_ctc = "speech" in sizes and config.objective.ctc_weight > 0
        per_frame = config.objective.ctc_per_frame
        self.ctc = CTCHead(memory_size, vocabulary, per_frame) if with_ctc else None
        self.copies = config.decoder.copy
        self.vocabulary = vocabulary
        """Number of tokens; ids from this one on are unknown words of a source."""
        self.writable = vocabulary - len(config.text.languages)
        """Number of tokens that may occur in text; those of languages follow."""
        translated = config.text.translation_languages
        self.translation_tokens = tuple(
            self.writable + index
            for index, language in enumerate(config.text.languages)
            if language in translated
        )
        """Tokens of the languages in which outputs are translations of speech."""

    @property
    def speech(self) -> SpeechEncoder:
        """Speech encoder; the model must have one."""
        encoder = self.encoders["speech"]
        assert isinstance(encoder, SpeechEncoder)
        return encoder

    def frame_time(self, frame: float) -> float:
        """Return the start of a memory frame of speech in seconds; negative for frames added before
        the recording."""
        return self.speech.frame_time(frame) - self.frontend.edge_seconds

    def frame_center(self, frame: float) -> float:
        """Return the center of a memory frame of speech in seconds, as in `frame_time`."""
        return self.speech.frame_center(frame) - self.frontend.edge_seconds

    def embed_source(self, tokens: Tensor) -> Tensor:
        """Embed source tokens `(batch, tokens)` for the text encoder; returns `(batch, tokens,
        embedding_size)`."""
        if self.copies:
            tokens = tokens.where(tokens < self.vocabulary, UNK)
        embedding = self.source_embedding or self.decoder.embedding
        embedded: Tensor = embedding(tokens) * self.source_scale
        return embedded

    def add_language(
        self, kind: str, inputs: Tensor, lengths: Tensor, prompts: Tensor | None
    ) -> Tensor:
        """Add the embedding of each row's language to the inputs of an encoder, if the model gives
        it to encoders.

        Args:
            kind: name of the encoder.
            inputs: features or embedded tokens, `(batch, time, channels)`.
            lengths: number of valid inputs of each row, `(batch,)`.
            prompts: prompt tokens of the outputs, `(batch, 1)`.
        """
        if self.languages is None:
            return inputs
        assert prompts is not None
        added = self.languages[kind](prompts[:, :1] - self.writable)
        # Inputs beyond a row's length stay zero, which convolutions read.
        padded = padding_mask(lengths, inputs.size(1))[:, :, None]
        total: Tensor = inputs + added.masked_fill(padded, 0.0)
        return total

    def encode(
        self, kind: str, source: Tensor, lengths: Tensor, prompts: Tensor | None = None
    ) -> Memory:
        """Encode a batch of sources.

        Args:
            kind: name of the encoder.
            source: for `speech`, waveforms `(batch, samples)` in [-1, 1] at 16 kHz; for `text`,
                token ids `(batch, tokens)`, padded with BLANK.
            lengths: samples or tokens of each row, `(batch,)`.
            prompts: prompt tokens of the outputs, `(batch, 1)`; required if the model gives the
                language to encoders.
        """
        inputs, lengths = self.encoder_inputs(kind, source, lengths, prompts)
        memory: Memory = self.encoders[kind](inputs, lengths)
        return memory._replace(tokens=source) if kind == "text" else memory

    def encoder_inputs(
        self, kind: str, source: Tensor, lengths: Tensor, prompts: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compute features of speech or embeddings of text, `(batch, time, channels)`, and their
        lengths; arguments are as in `encode`."""
        if kind == "text":
            inputs = self.embed_source(source)
        else:
            inputs, lengths = self.frontend(source, lengths)
        return self.add_language(kind, inputs, lengths, prompts), lengths

    def transcribes(self, prompts: Tensor) -> Tensor:
        """Return which outputs for speech are transcripts, by their prompts.

        CTC aligns a transcript with the speech. It has no alignment for a translation, whose words
        come in another order.

        Args:
            prompts: `(batch, prompt)`.

        Returns:
            Booleans `(batch,)`; false for translations.
        """
        tokens = torch.tensor(self.translation_tokens, dtype=torch.long, device=prompts.device)
        return ~torch.isin(prompts, tokens).any(1)

    def ctc_frames(self, memory: Memory) -> CTCFrames | None:
        """Compute CTC log-probabilities of a memory of speech; None without a CTC head."""
        if self.ctc is None:
            return None
        log_probs = self.ctc(memory.values).float().log_softmax(-1)
        return CTCFrames(log_probs, self.ctc.per_frame * memory.lengths)


def _store_names(
    model: nn.Module, weights: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    """Rename the frontend's weights to their names in weights files."""
    _rename(weights, prefix + FRONTEND, prefix + STORED_FRONTEND)


def _restore_names(model: nn.Module, weights: dict[str, Any], prefix: str, *_: object) -> None:
    """Rename the frontend's weights from their names in weights files."""
    _rename(weights, prefix + STORED_FRONTEND, prefix + FRONTEND)


def _rename(weights: dict[str, Any], prefix: str, new_prefix: str) -> None:
    for name in [name for name in weights if name.startswith(prefix)]:
        weights[new_prefix + name.removeprefix(prefix)] = weights.pop(name)


def _language_embedding(config: Config, encoder: str) -> nn.Embedding:
    """Build the embedding of languages that is added to the inputs of an encoder; it starts with
    zeros, which leave inputs unchanged."""
    speech, text = config.features.mel_bins, config.text_encoder.embedding_size
    size = speech if encoder == "speech" else text
    embedding = nn.Embedding(len(config.text.languages), size)
    nn.init.zeros_(embedding.weight)
    return embedding


def _source_scale(config: Config) -> float:
    """Return the factor by which embedded source tokens are multiplied.

    A Transformer adds positional encodings of magnitude 1. A tied embedding is initialized with a
    standard deviation of embedding_size ** -0.5, which these would dominate, so it is scaled to 1,
    the initial value of other embeddings (Vaswani et al., 2017, section 3.4). Recurrent layers use
    embeddings unscaled.
    """
    encoder = config.text_encoder
    small = encoder.shared_embedding and config.decoder.tied_output
    return math.sqrt(encoder.embedding_size) if encoder.cell == "transformer" and small else 1.0


def check_encoders(config: Config) -> None:
    """Check that the encoders exist and that their settings are consistent.

    Raises:
        ConfigError: they are not; names the key.
    """
    names = config.model.encoders
    if not names or len(set(names)) < len(names) or not set(names) <= set(ENCODERS):
        raise ConfigError(
            "model.encoders",
            f"expected speech, text or both, found {', '.join(names) or 'none'}",
            "Use for example [text]",
        )
    if "speech" in names:
        encoder = find_entry(SPEECH_ENCODERS, config.speech_encoder.kind, "speech_encoder.kind")
        encoder.check(config.speech_encoder)
    if config.model.language_to_encoder and not config.text.languages:
        raise ConfigError(
            "model.language_to_encoder",
            "text.languages lists no language that encoders could be given",
            "List the output languages in text.languages, or set this to false",
        )
    if config.decoder.copy and (names != ("text",) or not config.source_text.joint):
        raise ConfigError(
            "decoder.copy",
            "only tokens of a text source can be copied, which must be those of the output; found "
            f"model.encoders [{', '.join(names)}] and source_text.joint "
            f"{str(config.source_text.joint).lower()}",
            "Set model.encoders to [text] and source_text.joint to true, or this to false",
        )
    if "text" not in names or not config.text_encoder.shared_embedding:
        return
    if not config.source_text.joint:
        raise ConfigError(
            "text_encoder.shared_embedding",
            "source and output have separate vocabularies, which cannot share an embedding",
            "Set source_text.joint to true, or this to false",
        )
    if config.text_encoder.embedding_size != config.decoder.embedding_size:
        raise ConfigError(
            "text_encoder.embedding_size",
            f"expected decoder.embedding_size, {config.decoder.embedding_size}, as the embedding "
            f"is shared, found {config.text_encoder.embedding_size}",
            "Make them equal",
        )
