"""Training and loading of vocabularies of all kinds."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_s2s.config import SourceTextConfig, TextConfig
from asr_s2s.config_file import find_entry
from asr_s2s.errors import ModelError, TextError
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.phonemes import SPACE, PhonemeTokenizer, read_lexicon
from asr_s2s.text.subwords import SentencePieceTokenizer, train_sentencepiece
from asr_s2s.text.tokenizer import (
    SPECIALS,
    CharacterTokenizer,
    Side,
    Tokenizer,
    WordTokenizer,
    vocabulary_path,
)


def train_tokenizer(
    config: TextConfig | SourceTextConfig,
    texts: Iterable[str],
    section: str = "text",
    base: Path = Path(),
) -> Tokenizer:
    """Build a vocabulary from training texts.

    Args:
        config: settings of the vocabulary.
        texts: training texts, normalized here.
        section: section of the configuration that errors name.
        base: folder that `text.lexicon` is relative to.

    Raises:
        ConfigError: there is no such kind of tokenizer.
        TextError: there is no text, or the vocabulary size does not fit it.
    """
    normalize = normalizer(config.normalizer)
    lines = [line for line in map(normalize, texts) if line]
    if not lines:
        raise TextError(
            "data.train",
            "there is no text to build a vocabulary from",
            f"Check the texts, and whether {section}.normalizer {config.normalizer} fits them",
        )
    return find_tokenizer(config.tokenizer, section).train(config, lines, section, base)


def _train_words(
    config: TextConfig | SourceTextConfig, lines: list[str], section: str, base: Path
) -> WordTokenizer:
    """Build the vocabulary of the most frequent words."""
    counts = Counter(word for line in lines for word in line.split())
    frequent = sorted(counts, key=lambda word: (-counts[word], word))
    return WordTokenizer(frequent[: max(1, config.vocabulary_size - len(SPECIALS))])


def _train_phonemes(
    config: TextConfig | SourceTextConfig, lines: list[str], section: str, base: Path
) -> PhonemeTokenizer:
    assert isinstance(config, TextConfig)  # not for sources
    return phonemes_of_lexicon(config, base)


def phonemes_of_lexicon(config: TextConfig, base: Path) -> PhonemeTokenizer:
    """Build the phoneme vocabulary of a lexicon, which requires no texts.

    Args:
        config: settings of the vocabulary.
        base: folder that `text.lexicon` is relative to.

    Raises:
        TextError: `text.lexicon` is not set, or the lexicon cannot be read.
    """
    if config.lexicon is None:
        raise TextError(
            "text.lexicon", "the phonemes tokenizer requires a lexicon", "Set it to a lexicon file"
        )
    lexicon = read_lexicon(base / config.lexicon)
    return PhonemeTokenizer(sorted({*_phonemes(lexicon), SPACE}), lexicon)


def _phonemes(lexicon: Mapping[str, Sequence[str]]) -> set[str]:
    """Return all phonemes of a lexicon."""
    return set(SPACE.join(v for variants in lexicon.values() for v in variants).split())


def load_tokenizer(folder: str | Path, side: Side = "target") -> Tokenizer:
    """Load the vocabulary that `Tokenizer.save` wrote to a model folder.

    Raises:
        ModelError: the vocabulary is missing or damaged.
    """
    units, subwords = vocabulary_path(folder, side, "json"), vocabulary_path(folder, side, "model")
    if units.is_file():
        try:
            content = json.loads(units.read_text(encoding="utf-8"))
            restore = TOKENIZERS[content["kind"]].restore
            if restore is not None:
                return restore(content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        raise _damaged(units)
    if subwords.is_file():
        try:
            tokenizer = SentencePieceTokenizer(subwords.read_bytes())
        except RuntimeError as error:
            raise _damaged(subwords) from error
        if tuple(tokenizer.pieces[: len(SPECIALS)]) != SPECIALS:
            raise _damaged(subwords)
        return tokenizer
    raise ModelError(
        folder,
        f"there is no {units.name} or {subwords.name} in this folder",
        "Give a model folder written by asr-s2s train",
    )


def _restore_characters(content: Mapping[str, Any]) -> Tokenizer:
    units = _texts(content["units"])
    if any(len(unit) != 1 for unit in units):
        raise ValueError("a unit is not a character")
    return CharacterTokenizer("").extended(units)  # units may have been added at the end


def _restore_words(content: Mapping[str, Any]) -> WordTokenizer:
    return WordTokenizer(_texts(content["units"]))


def _restore_phonemes(content: Mapping[str, Any]) -> PhonemeTokenizer:
    units, lexicon = _texts(content["units"]), content["lexicon"]
    # Lexicons are large: check all pronunciations at once.
    _texts([variant for variants in lexicon.values() for variant in variants])
    if not all(map(list.__len__, lexicon.values())):
        raise ValueError("a word has no pronunciation")
    if not {SPACE} | _phonemes(lexicon) <= set(units):
        raise ValueError("a phoneme of the lexicon is not a unit")
    return PhonemeTokenizer(units, lexicon)


def _texts(values: Any) -> list[str]:
    """Return a list of different texts from a file.

    Raises:
        TypeError: it is something else.
    """
    if type(values) is not list or not set(map(type, values)) <= {str}:
        raise TypeError("expected a list of texts")
    return values


@dataclass(frozen=True, kw_only=True)
class TokenizerKind:
    """Functions that build the vocabularies of one kind."""

    train: Callable[[TextConfig | SourceTextConfig, list[str], str, Path], Tokenizer]
    """Builds a vocabulary from the settings, normalized training texts (at least one), the section
    of the settings that errors name, and the folder that paths in them are relative to."""
    restore: Callable[[Mapping[str, Any]], Tokenizer] | None
    """Builds a vocabulary from the object in its JSON file, whose `kind` is the name of the kind; a
    ValueError, KeyError, TypeError or AttributeError means that the file is damaged. None for
    sentencepiece, which has a file format of its own."""
    for_source: bool = True
    """Whether the source of a text-to-text model may have it."""


TOKENIZERS = {
    "characters": TokenizerKind(
        train=lambda config, lines, section, base: CharacterTokenizer(set().union(*lines)),
        restore=_restore_characters,
    ),
    "sentencepiece": TokenizerKind(
        train=lambda config, lines, section, base: train_sentencepiece(config, lines, section),
        restore=None,
    ),
    "words": TokenizerKind(train=_train_words, restore=_restore_words),
    "phonemes": TokenizerKind(train=_train_phonemes, restore=_restore_phonemes, for_source=False),
}
"""Kinds of tokenizers by `text.tokenizer` and `source_text.tokenizer`."""


def find_tokenizer(name: str, section: str) -> TokenizerKind:
    """Return the kind of tokenizer that a section of the configuration names.

    Raises:
        ConfigError: there is no such kind for this section.
    """
    allowed = {
        name: kind for name, kind in TOKENIZERS.items() if section == "text" or kind.for_source
    }
    return find_entry(allowed, name, f"{section}.tokenizer")


def _damaged(path: Path) -> ModelError:
    return ModelError(path, "this is not a vocabulary of asr_s2s", "Copy the model folder again")
