"""Decoding of a batch: builds the scorers and runs the search."""

from collections.abc import Sequence

import torch
from torch import Tensor

from asr_s2s.config import DecoderConfig, SearchConfig
from asr_s2s.errors import ConfigError
from asr_s2s.lm.language_model import LanguageModels
from asr_s2s.model.attention import Memory
from asr_s2s.model.ctc import CTCFrames
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.beam import Hypothesis
from asr_s2s.search.generate import Generation, generate
from asr_s2s.search.judges import SearchInputs, make_judges
from asr_s2s.search.phrases import Phrases
from asr_s2s.search.scorers import (
    AttentionScorer,
    CoverageScorer,
    CTCProposer,
    KnownTokensJudge,
)
from asr_s2s.search.steps import WeightedJudge
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
    generation: Generation = Generation(),  # noqa: B008 - it is immutable
    keys: Sequence[bytes] = (),
) -> list[list[Hypothesis]]:
    """Find outputs for a batch by beam search or sampling.

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
        further: judges besides those of `search/judges.py:JUDGES`, and their weights.
        generation: sampling, and texts that outputs must contain.
        keys: what identifies the source of each row, as bytes; samples depend on it.

    Returns:
        The hypotheses of each row, best first; samples in the order drawn.
    """
    aligned = kind == "speech" and model.ctc is not None and _transcribes(model, prompts)
    ctc_weight = config.ctc_weight if aligned else 0.0
    if ctc_weight == 0.0:
        ctc = None
    elif ctc is None:
        ctc = model.ctc_frames(memory)
    beside = ctc if ctc_weight < 1.0 else None
    inputs = SearchInputs(len(memory.lengths), config, beside, language_models, phrases)
    judges = [*further, *make_judges(inputs)]
    if model.copies:
        judges = [(KnownTokensJudge(judge, model.writable), weight) for judge, weight in judges]

    if ctc is not None and ctc_weight == 1.0:
        by_ctc = CTCProposer(*ctc, model.writable)
        return generate((by_ctc, 1.0), judges, memory.lengths, config, generation, keys)
    prompts = prompts if prompts is not None and prompts.numel() else None
    attention = AttentionScorer(model.decoder, memory, prompts, model.writable, model.vocabulary)
    weight = 1.0 - ctc_weight
    if config.coverage_penalty > 0.0:
        covering = CoverageScorer(attention, config.coverage_penalty)
        return generate((covering, weight), judges, memory.lengths, config, generation, keys)
    return generate((attention, weight), judges, memory.lengths, config, generation, keys)


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
    prefix = torch.tensor([[BOS, *written]], device=source.device)
    memory = model.encode(kind, source[None, : int(length)], length[None], prefix[:, 1:2])
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
