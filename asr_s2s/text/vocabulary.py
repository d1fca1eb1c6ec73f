"""Training and loading of vocabularies of all kinds."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asr_s2s.config import SourceTextConfig, TextConfig
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
    if config.tokenizer == "characters":
        return CharacterTokenizer(set().union(*lines))
    if isinstance(config, TextConfig) and config.tokenizer == "phonemes":
        return phonemes_of_lexicon(config, base)
    if config.tokenizer == "words":
        counts = Counter(word for line in lines for word in line.split())
        frequent = sorted(counts, key=lambda word: (-counts[word], word))
        return WordTokenizer(frequent[: max(1, config.vocabulary_size - len(SPECIALS))])
    return train_sentencepiece(config, lines, section)


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
            if content["kind"] == "words" and all(isinstance(u, str) for u in content["units"]):
                return WordTokenizer(content["units"])
            if content["kind"] == "phonemes" and (
                {SPACE} | _phonemes(content["lexicon"]) <= set(content["units"])
            ):
                return PhonemeTokenizer(content["units"], content["lexicon"])
            if content["kind"] == "characters" and all(len(u) == 1 for u in content["units"]):
                return CharacterTokenizer(content["units"])
        except (ValueError, KeyError, TypeError, AttributeError):
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


def _damaged(path: Path) -> ModelError:
    return ModelError(path, "this is not a vocabulary of asr_s2s", "Copy the model folder again")
