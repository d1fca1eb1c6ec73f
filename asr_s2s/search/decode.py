"""Decoding of a batch: builds the scorers and runs beam search."""

from collections.abc import Sequence

import torch
from torch import Tensor

from asr_s2s.config import DecoderConfig, SearchConfig
from asr_s2s.errors import ConfigError
from asr_s2s.lm.language_model import LanguageModels
from asr_s2s.lm.ngram import NgramModel
from asr_s2s.lm.word_ngram import WordNgramModel
from asr_s2s.model.attention import Memory
from asr_s2s.model.ctc import CTCFrames
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.beam import Hypothesis, WeightedJudge, beam_search
from asr_s2s.search.fusion import (
    LanguageModelScorer,
    NgramScorer,
    WordNgramScorer,
    WordScorer,
)
from asr_s2s.search.phrases import Phrases, PhraseScorer
from asr_s2s.search.scorers import (
    AttentionScorer,
    CoverageScorer,
    CTCPrefixScorer,
    CTCProposer,
)
from asr_s2s.text.tokenizer import BOS


@torch.inference_mode()
def decode(
    model: Seq2Seq,
    kind: str,
    memory: Memory,
    config: SearchConfig,
    prompts: Tensor | None = None,
    *,
    language_models: LanguageModels = LanguageModels(),  # noqa: B008 - it is immutable
    phrases: Phrases | None = None,
    ctc: CTCFrames | None = None,
    further: Sequence[WeightedJudge] = (),
) -> list[list[Hypothesis]]:
    """Find the best outputs for a batch by beam search.

    Args:
        model: in evaluation mode.
        kind: encoder of the memory (`speech` or `text`).
        memory: of the batch.
        config: search settings. `ctc_weight` is ignored without a CTC head and for translations of
            speech; with a weight of 1, attention is not used.
        prompts: tokens at the start of each output, such as its language, `(batch, prompt)`; all of
            transcripts, or all of translations.
        language_models: on the model's device; used if their weights in `config` are positive.
        phrases: phrases to favor, on the model's device.
        ctc: CTC log-probabilities of the memory, if computed already.
        further: judges besides those of the settings, and their weights.

    Returns:
        The hypotheses of each row, best first.
    """
    batch = len(memory.lengths)
    aligned = kind == "speech" and model.ctc is not None and _transcribes(model, prompts)
    ctc_weight = config.ctc_weight if aligned else 0.0
    if ctc is None and ctc_weight > 0.0:
        ctc = model.ctc_frames(memory)
    judges = [*further]
    if ctc is not None and 0.0 < ctc_weight < 1.0:
        judges.append((CTCPrefixScorer(*ctc), ctc_weight))
    ngram, recurrent = language_models
    if isinstance(ngram, NgramModel) and config.ngram_weight > 0.0:
        judges.append((NgramScorer(ngram, batch), config.ngram_weight))
    if isinstance(ngram, WordNgramModel) and config.ngram_weight > 0.0:
        judges.append((WordNgramScorer(ngram, batch), config.ngram_weight))
    if isinstance(ngram, WordNgramModel) and config.word_bonus:
        judges.append((WordScorer(ngram.space), config.word_bonus))
    if recurrent is not None and config.language_model_weight > 0.0:
        judges.append((LanguageModelScorer(recurrent, batch), config.language_model_weight))
    if phrases is not None:
        judges.append((PhraseScorer(phrases, batch), 1.0))

    if ctc is not None and ctc_weight == 1.0:
        by_ctc = CTCProposer(*ctc, model.writable)
        return beam_search((by_ctc, 1.0), judges, memory.lengths, config)
    prompts = prompts if prompts is not None and prompts.numel() else None
    attention = AttentionScorer(model.decoder, memory, prompts, model.writable)
    weight = 1.0 - ctc_weight
    if config.coverage_penalty > 0.0:
        covering = CoverageScorer(attention, config.coverage_penalty)
        return beam_search((covering, weight), judges, memory.lengths, config)
    return beam_search((attention, weight), judges, memory.lengths, config)


def _transcribes(model: Seq2Seq, prompts: Tensor | None) -> bool:
    """Return whether all outputs are transcripts.

    Raises:
        ValueError: some are, and others are translations.
    """
    if prompts is None or not model.translation_tokens:
        return True
    transcripts = model.transcribes(prompts)
    if bool(transcripts.any()) != bool(transcripts.all()):
        raise ValueError("transcripts and translations are decoded in separate batches")
    return bool(transcripts.all())


@torch.inference_mode()
def attention_weights(
    model: Seq2Seq, kind: str, source: Tensor, length: Tensor, written: list[int]
) -> Tensor:
    """Compute the attention weights of an output, `(tokens + 1, time)`; the last row is that of the
    end token.

    Args:
        kind: encoder of the source (`speech` or `text`).
        source: one row of a batch, `(samples or tokens,)`.
        length: number of valid samples or tokens, `()`.
        written: tokens of the prompt and of the output.
    """
    memory = model.encode(kind, source[None, : int(length)], length[None])
    prefix = torch.tensor([[BOS, *written]], device=source.device)
    weights: Tensor = model.decoder(prefix, memory)[1]
    return weights[0]


def check_attended(config: SearchConfig, decoder: DecoderConfig) -> None:
    """Check that no search setting requires attention if the decoder has none.

    Raises:
        ConfigError: one does; names the key.
    """
    if decoder.attention != "none":
        return
    for key, wanted, use in (
        ("coverage_penalty", config.coverage_penalty > 0.0, "coverage sums attention weights"),
        ("unknown", config.unknown, "attention selects the replacements of unknown words"),
    ):
        if wanted:
            raise ConfigError(
                f"search.{key}",
                f"{use}, but decoder.attention is none",
                "Remove it, or use a model with attention",
            )
