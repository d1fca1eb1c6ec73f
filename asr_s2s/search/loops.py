"""Decoding of text, in which outputs that loop are decoded again without repetitions.

Attention may lose its place in sources unlike those in training; outputs then repeat some tokens
until the maximum length. A repetition is no loop if the source repeats as much itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from asr_s2s.lm.language_model import LanguageModels
from asr_s2s.model.attention import Memory
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.beam import Hypothesis
from asr_s2s.search.decode import decode
from asr_s2s.search.guard import Reason, Repetition, find_repetition
from asr_s2s.search.options import DecodeSettings
from asr_s2s.search.recognize import Remedy

NO_REPEAT_NGRAM = 3
"""Length in tokens of n-grams that may occur once in an output that is decoded again, as is usual
in summarization (Paulus et al., 2018)."""

MAX_REPETITION_RATIO = 1.5
"""Maximum number of repetitions in an output, relative to its source, that is no loop."""


class TextResult(NamedTuple):
    """Result for one source."""

    hypotheses: list[Hypothesis]
    """Best first; samples in the order drawn."""
    reason: Reason | None
    """Problem of the first output; None if there was none."""
    remedy: Remedy | None
    """Remedy that gave the result; None if there was no problem or it remains."""


@torch.inference_mode()
def decode_text(
    model: Seq2Seq,
    memory: Memory,
    settings: DecodeSettings,
    sources: Sequence[list[int]],
    language_models: LanguageModels,
) -> list[TextResult]:
    """Decode a batch of text sources.

    Args:
        model: in evaluation mode.
        memory: of the batch.
        settings: of the call.
        sources: tokens of each row, with its end token.
        language_models: on the model's device.
    """
    hypotheses = _decode(model, memory, settings, sources, language_models)
    results = [TextResult(found, None, None) for found in hypotheses]
    looping = [row for row, found in enumerate(hypotheses) if _loops(found, sources[row])]
    for row in looping:
        results[row] = results[row]._replace(reason=Reason.loop)
    own = settings.search.no_repeat_ngram
    if looping and not 0 < own <= NO_REPEAT_NGRAM:
        again = _decode(
            model,
            memory.select(looping),
            settings._replace(search=replace(settings.search, no_repeat_ngram=NO_REPEAT_NGRAM)),
            [sources[row] for row in looping],
            language_models,
        )
        for row, found in zip(looping, again, strict=True):
            if not _loops(found, sources[row]):
                results[row] = TextResult(found, Reason.loop, Remedy.no_repeat)
    return results


def _decode(
    model: Seq2Seq,
    memory: Memory,
    settings: DecodeSettings,
    sources: Sequence[list[int]],
    language_models: LanguageModels,
) -> list[list[Hypothesis]]:
    device = memory.values.device
    prompts = torch.tensor([settings.prompt] * len(sources), dtype=torch.long, device=device)
    return decode(
        model,
        "text",
        memory,
        settings.search,
        prompts.view(len(sources), -1),
        language_models=language_models,
        phrases=settings.phrases,
        generation=settings.generation,
        keys=[" ".join(map(str, source)).encode() for source in sources],
    )


def _loops(hypotheses: Sequence[Hypothesis], source: list[int]) -> bool:
    """Whether the first output repeats tokens in a row much more often than its source does."""
    written = find_repetition(hypotheses[0].tokens)
    if written is None:
        return False
    read = find_repetition(source)
    return read is None or _times(written) > MAX_REPETITION_RATIO * _times(read)


def _times(repetition: Repetition) -> int:
    """Return how often a sequence is repeated."""
    return (repetition.end - repetition.start) // repetition.period
