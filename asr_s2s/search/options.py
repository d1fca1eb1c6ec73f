"""Decoding options, which `Transcriber`, `Translator`, the command line and the server share.

A new option is a field of `DecodeOptions`, the same key in `DecodeKeywords`, and its use in
`DecodeOptions.prepare` or where it is read.
"""

from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

import torch

from asr_s2s.config import LARGEST_BEAM, Config, SearchConfig
from asr_s2s.errors import ConfigError
from asr_s2s.search.decode import check_attended
from asr_s2s.search.phrases import Phrases, read_phrases
from asr_s2s.text.output import Output

_BOUNDS: dict[str, tuple[float, float]] = {
    "beam_size": (1, LARGEST_BEAM),
    "n_best": (1, LARGEST_BEAM),
    "length_penalty": (0, 10),
    "coverage_penalty": (0, 10),
}
_WHOLE = ("beam_size", "n_best")
_WITHOUT_EFFECT = {
    "speech": ("replace_unknown", "a recording has no words that could replace unknown tokens"),
    "text": ("words", "word times need a recording"),
}


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


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """Decoding options of one call; equal options may be decoded in one batch."""

    language: str | None = None
    """Output language; required for models of several languages, refused by those without."""
    beam_size: int | None = None
    """Beam size, by default the model's own; at least `n_best`."""
    n_best: int = 1
    """Maximum number of distinct alternatives to return."""
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
    the largest attention weight (Luong et al., 2015)."""

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
            ConfigError: an option is out of range, has no effect on this kind of source, or needs
                attention or languages that the model does not have; names the option.
            ManifestError: the language is missing, or not a language of the model, or the file of
                phrases cannot be read.
            TextError: a phrase is invalid.
        """
        for name, (lowest, highest) in _BOUNDS.items():
            value = getattr(self, name)
            if value is None:
                continue
            expected = Integral if name in _WHOLE else Real
            if isinstance(value, bool) or not isinstance(value, expected):
                noun = "a whole number" if name in _WHOLE else "a number"
                raise ConfigError(name, f"expected {noun}, found {value!r}", "Correct it")
            if not lowest <= value <= highest:
                problem = f"expected a number from {lowest:,} to {highest:,}, found {value:,}"
                raise ConfigError(name, problem, "Correct it")
        name, problem = _WITHOUT_EFFECT[kind]
        if getattr(self, name):
            raise ConfigError(name, problem, "Remove this option")
        if self.language is not None and not output.languages:
            problem = "this model writes one language only"
            raise ConfigError("language", problem, "Remove this option")
        prompt = output.prompt(self.language, "language")
        search = self._search(config.search)
        check_attended(search, config.decoder)
        phrases = self.phrases
        if phrases is not None and not isinstance(phrases, str | Path | Phrases):
            problem = f"expected the path of a file of phrases, found a {type(phrases).__name__}"
            raise ConfigError("phrases", problem, "Write them to a file, one per line")
        if isinstance(phrases, (str, Path)):
            phrases = read_phrases(Path(phrases), output.tokenizer, output.normalize)
        return DecodeSettings(search, prompt, None if phrases is None else phrases.to(device))

    def _search(self, own: SearchConfig) -> SearchConfig:
        """Change the search settings of a model by these options."""
        beam_size = own.beam_size if self.beam_size is None else self.beam_size
        length_penalty, coverage_penalty = self.length_penalty, self.coverage_penalty
        return replace(
            own,
            beam_size=max(beam_size, self.n_best),
            length_normalization=(
                own.length_normalization if length_penalty is None else length_penalty
            ),
            coverage_penalty=(
                own.coverage_penalty if coverage_penalty is None else coverage_penalty
            ),
            unknown=self.replace_unknown or own.unknown,
        )


DEFAULTS = DecodeOptions()
"""Decoding with the model's own settings."""


class DecodeSettings(NamedTuple):
    """Checked options, completed with a model's own settings."""

    search: SearchConfig
    prompt: list[int]
    """Tokens at the start of each output."""
    phrases: Phrases | None
    """Phrases to favor, on the model's device."""
