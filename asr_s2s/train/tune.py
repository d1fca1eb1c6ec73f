"""Tuning of search settings on a development set by coordinate search."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from lhotse import CutSet
from torch import Tensor

from asr_s2s.config import DataConfig, SearchConfig
from asr_s2s.config_file import from_dict, to_dict
from asr_s2s.data.batches import ordered_batches
from asr_s2s.data.corpus import read_corpus
from asr_s2s.data.datasets import Batch
from asr_s2s.errors import ConfigError, TrainingError
from asr_s2s.lm.word_ngram import WordNgramModel
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.metrics.language import settings_of_language
from asr_s2s.metrics.metric import find_metric
from asr_s2s.model.attention import Memory
from asr_s2s.model.ctc import CTCFrames
from asr_s2s.model.folder import LoadedModel
from asr_s2s.search.decode import decode
from asr_s2s.text.tokenizer import Tokenizer
from asr_s2s.train.streams import by_language, check_kinds, make_streams
from asr_s2s.train.validation import measure_texts

VALUES: dict[str, tuple[float, ...]] = {
    "ngram_weight": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0),
    "language_model_weight": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0),
    "token_bonus": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0),
    "word_bonus": (0.0, -1.0, -2.0, -3.0, -4.0),
    "ctc_weight": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7),
    "length_normalization": (0.0, 0.5, 1.0),
}
"""Values tried for each setting, in this order."""
MAX_ROUNDS = 3


class Trial(NamedTuple):
    """Search settings with the error measured for them."""

    values: dict[str, float]
    error: float
    """Word error rate, or 1 - BLEU / 100; the mean over languages if the model translates
    speech."""


class _Encoded(NamedTuple):
    """Encoded batch, ready for decoding."""

    kind: str
    language: str | None
    """Language of all its texts, if the model translates speech."""
    memory: Memory
    ctc: CTCFrames | None
    prompts: Tensor
    ids: list[str]
    texts: list[str]
    tokenizers: list[Tokenizer]
    """Tokenizer of each row's output."""


class Tuner:
    """Measures search settings on a development set, which is encoded only once.

    Args:
        manifest: recordings or parallel text, as the model expects.
        utterances: maximum number of utterances or pairs; more are sampled with `seed`.

    Raises:
        UserError: the manifest cannot be used.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        manifest: Path,
        *,
        utterances: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.loaded = loaded
        config = loaded.config
        if find_metric(config.text.metric).needs_model:
            problem = f"the model's metric is {config.text.metric}, which no search setting changes"
            raise ConfigError("text.metric", problem, "Set another one in its config.yaml")
        corpus = read_corpus((str(manifest),), Path(), "MANIFEST")
        check_kinds(corpus, config, "MANIFEST", partly=True)
        self.encoded: list[_Encoded] = []
        tokenizers = loaded.tokenizer, loaded.source_tokenizer
        languages = config.text.languages if config.text.translation_languages else ()
        for stream in make_streams(corpus, config, tokenizers, training=False):
            items = list(stream.items)
            if len(items) > utterances:
                items = random.Random(seed).sample(items, utterances)
            sampled = replace(stream, items=CutSet(items))
            for language, own in by_language(sampled, languages):
                for batch in ordered_batches(own.items, own.dataset, DataConfig()):
                    if batch.ids:
                        outputs = own.dataset.tokenizers(batch)
                        self.encoded.append(self._encode(batch.to(device), language, outputs))
        if not self.encoded:
            raise TrainingError(
                manifest, "none of its utterances could be read", "Run asr-s2s check"
            )

    @torch.inference_mode()
    def _encode(self, batch: Batch, language: str | None, tokenizers: list[Tokenizer]) -> _Encoded:
        memory = self.loaded.model.encode(batch.kind, batch.source, batch.lengths, batch.prompts)
        ctc = self.loaded.model.ctc_frames(memory) if batch.kind == "speech" else None
        return _Encoded(
            batch.kind, language, memory, ctc, batch.prompts, batch.ids, batch.texts, tokenizers
        )

    @property
    def keys(self) -> list[str]:
        """Settings that affect this model."""
        ngram, recurrent = self.loaded.language_models
        speech = any(part.kind == "speech" for part in self.encoded)
        relevant = {
            "ngram_weight": ngram is not None,
            "word_bonus": isinstance(ngram, WordNgramModel),
            "language_model_weight": recurrent is not None,
            "ctc_weight": speech and self.loaded.model.ctc is not None,
        }
        return [key for key in VALUES if relevant.get(key, True)]

    def error(self, search: SearchConfig) -> float:
        """Decode the development set with some settings and return the error, as in `Trial`."""
        utterances: defaultdict[str | None, list[Utterance]] = defaultdict(list)
        for part in self.encoded:
            results = decode(
                self.loaded.model,
                part.kind,
                part.memory,
                search,
                part.prompts,
                language_models=self.loaded.language_models,
                ctc=part.ctc,
            )
            for name, reference, hypotheses, tokenizer in zip(
                part.ids, part.texts, results, part.tokenizers, strict=True
            ):
                text = tokenizer.decode(hypotheses[0].tokens)
                utterances[part.language].append(Utterance(name, reference, text))
        settings = replace(self.loaded.config.text, further_metrics=())
        return fmean(
            measure_texts(own, settings_of_language(settings, language)).error
            for language, own in utterances.items()
        )


def tune(tuner: Tuner, search: SearchConfig, report: Callable[[Trial], None]) -> list[Trial]:
    """Set one setting at a time to its best value, in rounds, until a round changes nothing.

    Args:
        search: initial settings.
        report: called with each trial.

    Returns:
        All trials, best first; ties in the order of trial.
    """
    trials: dict[tuple[float, ...], Trial] = {}

    def attempt(values: Mapping[str, float]) -> Trial:
        tried = tuple(values.values())
        if tried not in trials:
            trials[tried] = Trial(dict(values), tuner.error(_changed(search, values)))
            report(trials[tried])
        return trials[tried]

    best = attempt({key: getattr(search, key) for key in tuner.keys})
    for _ in range(MAX_ROUNDS):
        before = best
        for key in tuner.keys:
            for value in VALUES[key]:
                trial = attempt(best.values | {key: value})
                best = trial if trial.error < best.error else best
        if best is before:
            break
    return sorted(trials.values(), key=lambda trial: trial.error)


def _changed(search: SearchConfig, values: Mapping[str, float]) -> SearchConfig:
    return from_dict(SearchConfig, to_dict(search) | dict(values), where="search")
