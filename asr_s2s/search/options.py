"""Decoding options, which `Transcriber`, `Translator`, the command line and the server share.

A new option is a field of `DecodeOptions`, the same key in `DecodeKeywords`, and its use in
`DecodeOptions.prepare` or where it is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

import torch

from asr_s2s.config import LARGEST_BEAM, Config, SearchConfig
from asr_s2s.errors import ConfigError
from asr_s2s.search.decode import check_attended
from asr_s2s.search.generate import Generation
from asr_s2s.search.must import make_must
from asr_s2s.search.phrases import Phrases, read_phrases
from asr_s2s.search.sampling import Sampling
from asr_s2s.text.output import Output

_BOUNDS: dict[str, tuple[float, float]] = {
    "beam_size": (1, LARGEST_BEAM),
    "n_best": (1, LARGEST_BEAM),
    "length_penalty": (0, 10),
    "coverage_penalty": (0, 10),
    "temperature": (0.01, 100),
    "top_k": (1, 1_000_000),
    "top_p": (0.001, 1),
    "seed": (0, 2**63),
    "beam_groups": (1, LARGEST_BEAM),
    "diversity": (0, 10),
    "no_repeat_ngram": (0, 1000),
    "min_length": (0, 1000),
}
_WHOLE = ("beam_size", "n_best", "top_k", "seed", "beam_groups", "no_repeat_ngram", "min_length")
"""Options that are whole numbers."""
_SPOKEN = "the text of a recording is recognized"
_WITHOUT_EFFECT = {
    "speech": {
        "replace_unknown": "a recording has no words that could replace unknown tokens",
        "sample": f"{_SPOKEN}, not sampled",
        "prefix": f"{_SPOKEN}, not given",
        "must": f"{_SPOKEN}, not given",
        "min_length": f"{_SPOKEN}, however short it is",
    },
    "text": {"words": "word times need a recording"},
}
"""Options without effect on a kind of source, and why."""
_REQUIRED = {
    "temperature": "sample",
    "top_k": "sample",
    "top_p": "sample",
    "seed": "sample",
    "diversity": "beam_groups",
}
"""Options that have no effect without another one."""
_EXCLUSIVE = (
    ("beam_size", "sample"),
    ("coverage_penalty", "sample"),
    ("beam_groups", "sample"),
    ("must", "sample"),
    ("must", "beam_groups"),
)
"""Options that exclude each other."""


class DecodeKeywords(TypedDict, total=False):
    """Fields of `DecodeOptions` as keyword arguments, such as `transcribe(source, n_best=3)`."""

    language: str | None
    beam_size: int | None
    n_best: int
    length_penalty: float | None
    coverage_penalty: float | None
    phrases: str | Path | Phrases | None
    words: bool
    replace_unknown: bool
    sample: bool
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None
    beam_groups: int | None
    diversity: float | None
    no_repeat_ngram: int | None
    min_length: int | None
    prefix: str
    must: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """Decoding options of one call; equal options may be decoded in one batch."""

    language: str | None = None
    """Output language; required for models of several languages, refused by those without. For
    speech, by default the language spoken, if the model has only one."""
    beam_size: int | None = None
    """Beam size, by default the model's own; at least `n_best`."""
    n_best: int = 1
    """Maximum number of distinct alternatives to return; with `sample`, number of samples."""
    length_penalty: float | None = None
    """Exponent of the output length by which scores are divided, by default the model's
    `search.length_normalization`."""
    coverage_penalty: float | None = None
    """Weight of the coverage penalty, by default the model's `search.coverage_penalty`."""
    phrases: str | Path | Phrases | None = None
    """Phrases to favor: a file with one per line, or the result of `read_phrases`."""
    words: bool = False
    """Speech: whether to return words with times and confidence."""
    replace_unknown: bool = False
    """Text: whether to allow unknown tokens in outputs, and to replace each by the source word with
    the largest attention weight (Luong et al., 2015). Refused by models that spell all words by
    bytes (`text.byte_fallback`)."""
    sample: bool = False
    """Text: whether to draw outputs at random instead of searching for the best ones; excludes
    `beam_size`, `coverage_penalty`, `beam_groups` and `must`. See `search/sampling.py`."""
    temperature: float | None = None
    """Divisor of log-probabilities in sampling, by default 1; below 1, likely tokens become more
    likely."""
    top_k: int | None = None
    """Sample only from this number of the most likely tokens."""
    top_p: float | None = None
    """Sample only from the smallest set of the most likely tokens whose probabilities sum to at
    least this (Holtzman et al., 2020)."""
    seed: int | None = None
    """Seed of sampling, by default 1. Equal sources, options and seeds give equal samples."""
    beam_groups: int | None = None
    """Number of groups of the beam that avoid each other's tokens, by default the model's own; a
    divisor of the beam size (Vijayakumar et al., 2018)."""
    diversity: float | None = None
    """Cost in nats of a token that an earlier group chose at the same step, by default the model's
    own."""
    no_repeat_ngram: int | None = None
    """Length in tokens of n-grams that an output may contain only once, by default the model's own;
    0 allows repetitions."""
    min_length: int | None = None
    """Text: minimum number of output tokens, by default the model's own."""
    prefix: str = ""
    """Text: text that outputs start with."""
    must: Sequence[str] = ()
    """Text: phrases that outputs must contain, as whole words; excludes `beam_groups`. See
    `search/must.py`."""

    def prepare(
        self, config: Config, output: Output, kind: Literal["speech", "text"], device: torch.device
    ) -> "DecodeSettings":
        """Check all options for a model, and complete them with the model's own settings.

        Args:
            config: configuration of the model.
            output: conversion of the model's output.
            kind: kind of source that is decoded.
            device: device of the model.

        Raises:
            ConfigError: an option is out of range, has no effect on this kind of source or model or
                without another option, excludes another option, or needs attention or languages
                that the model does not have; names the option.
            ManifestError: the language is missing, or not a language of the model, or the file of
                phrases cannot be read.
            TextError: a phrase or the prefix is invalid.
        """
        self._check(kind)
        if self.replace_unknown and output.tokenizer.spells_all_text:
            problem = "this model spells unknown words by bytes, and so has no unknown tokens"
            raise ConfigError("replace_unknown", problem, "Remove this option")
        if self.language is not None and not output.languages:
            problem = "this model writes one language only"
            raise ConfigError("language", problem, "Remove this option")
        language = self.language
        if language is None and kind == "speech":
            language = output.spoken_language()
        prompt = output.prompt(language, "language")
        search = self._search(config.search)
        check_attended(search, config.decoder)
        phrases = self.phrases
        if isinstance(phrases, (str, Path)):
            phrases = read_phrases(Path(phrases), output.tokenizer, output.normalize)
        return DecodeSettings(
            search,
            language,
            prompt,
            None if phrases is None else phrases.to(device),
            Generation(
                sampling=self._sampling(),
                prefix=tuple(output.encode(self.prefix, "prefix")),
                must=make_must(self.must, output).to(device) if self.must else None,
            ),
        )

    def _check(self, kind: Literal["speech", "text"]) -> None:
        """Check the options that do not depend on the model; see `prepare`."""
        for name, (lowest, highest) in _BOUNDS.items():
            value = getattr(self, name)
            if value is None:
                continue
            expected = Integral if name in _WHOLE else Real
            if isinstance(value, bool) or not isinstance(value, expected):
                noun = "a whole number" if name in _WHOLE else "a number"
                raise ConfigError(name, f"expected {noun}, found {value!r}", "Correct it")
            if not lowest <= float(value) <= highest:
                problem = f"expected a number from {lowest:,} to {highest:,}, found {value:,}"
                raise ConfigError(name, problem, "Correct it")
        phrases: object = self.phrases
        if phrases is not None and not isinstance(phrases, str | Path | Phrases):
            problem = f"expected the path of a file of phrases, found a {type(phrases).__name__}"
            raise ConfigError("phrases", problem, "Write them to a file, one per line")
        if isinstance(self.must, str):
            problem = f"expected a list of phrases, found {self.must!r}"
            raise ConfigError("must", problem, "Give for example ['a phrase']")
        given = {each.name for each in fields(self) if getattr(self, each.name) != each.default}
        for name, problem in _WITHOUT_EFFECT[kind].items():
            if name in given:
                raise ConfigError(name, problem, "Remove this option")
        for name, other in _REQUIRED.items():
            if name in given and other not in given:
                raise ConfigError(name, f"it has no effect without {other}", f"Add {other}")
        for name, other in _EXCLUSIVE:
            if {name, other} <= given:
                raise ConfigError(name, f"it excludes {other}", f"Remove {name} or {other}")

    def _sampling(self) -> Sampling | None:
        """Return the distribution that tokens are drawn from; None without `sample`."""
        if not self.sample:
            return None
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            seed=1 if self.seed is None else self.seed,
        )

    def _search(self, own: SearchConfig) -> SearchConfig:
        """Change the search settings of a model by these options.

        Raises:
            ConfigError: `beam_groups` does not divide the beam size.
        """
        changes = {key: getattr(self, name) for name, key in _SETTINGS.items()}
        changed = replace(
            own,
            unknown=self.replace_unknown or own.unknown,
            **{key: value for key, value in changes.items() if value is not None},
        )
        if self.sample:  # samples follow the model's distribution, which these would change
            return replace(
                changed,
                beam_size=self.n_best,
                beam_groups=1,
                coverage_penalty=0.0,
                end_threshold=None,
            )
        if self.must:
            changed = replace(changed, beam_groups=1)
        changed = replace(changed, beam_size=max(changed.beam_size, self.n_best))
        if changed.beam_size % changed.beam_groups:
            problem = (
                f"expected a divisor of the beam size, {changed.beam_size}, "
                f"found {changed.beam_groups}"
            )
            raise ConfigError("beam_groups", problem, "Choose a divisor, or set beam_size")
        return changed


_SETTINGS = {
    "beam_size": "beam_size",
    "length_penalty": "length_normalization",
    "coverage_penalty": "coverage_penalty",
    "beam_groups": "beam_groups",
    "diversity": "diversity",
    "no_repeat_ngram": "no_repeat_ngram",
    "min_length": "min_length",
}
"""Options that replace a model's own search setting, and the keys of these settings."""
DEFAULTS = DecodeOptions()
"""Decoding with the model's own settings."""


class DecodeSettings(NamedTuple):
    """Checked options, completed with a model's own settings."""

    search: SearchConfig
    language: str | None
    """Output language; None if the model has no languages."""
    prompt: list[int]
    """Tokens at the start of each output."""
    phrases: Phrases | None
    """Phrases to favor, on the model's device."""
    generation: Generation = Generation()
    """Sampling, and texts that outputs must contain."""
