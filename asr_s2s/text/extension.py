"""Extension of a model's vocabulary by units of new texts."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from asr_s2s.config import SourceTextConfig, TextConfig
from asr_s2s.errors import ConfigError
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.tokenizer import Tokenizer, WordTokenizer

NAMED = 20
"""Maximum number of missing units that an error names."""


def extend_tokenizer(
    tokenizer: Tokenizer,
    config: TextConfig | SourceTextConfig,
    texts: Iterable[str],
    missing: Literal["refuse", "add", "unknown"],
    section: str,
) -> Tokenizer:
    """Extend the vocabulary of a model by the units of new texts that it lacks.

    Args:
        tokenizer: vocabulary of the model.
        config: settings of the vocabulary: `vocabulary_size` bounds one of words, and characters
            beyond `character_coverage` are not refused.
        texts: training texts, normalized here.
        missing: as `train.missing_units`.
        section: section of the configuration that errors name.

    Raises:
        ConfigError: units are missing and refused, or there is no room for them; names the units.
        TextError: a vocabulary of this kind cannot be extended.
    """
    normalize = normalizer(config.normalizer)
    lines = [normalize(text) for text in texts]
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(tokenizer.unknown_characters(line))
    if not counts or missing == "unknown":
        return tokenizer
    frequent = sorted(counts, key=lambda unit: (-counts[unit], unit))
    if missing == "refuse":
        rare = sum(line.count(unit) for line in lines for unit in counts if unit in line)
        covered = 1 - rare / sum(map(len, lines))
        if tokenizer.lacks_rare_units or covered >= config.character_coverage < 1:
            return tokenizer
        named = " ".join(map(repr, frequent[:NAMED]))
        more = f" and {len(frequent) - NAMED} more" if len(frequent) > NAMED else ""
        raise ConfigError(
            "train.missing_units",
            f"the vocabulary of train.initialize lacks {named}{more} of the training texts",
            "Set it to add, which adds them to the vocabulary, or to unknown; or choose another "
            f"{section}.normalizer",
        )
    if isinstance(tokenizer, WordTokenizer):
        room = config.vocabulary_size - len(tokenizer)
        if room <= 0:
            raise ConfigError(
                f"{section}.vocabulary_size",
                f"{config.vocabulary_size} leaves no room for {len(frequent)} missing words: the "
                f"vocabulary of train.initialize has {len(tokenizer)} tokens",
                f"Set it to {len(tokenizer) + len(frequent)}, or less to add only frequent words",
            )
        frequent = frequent[:room]
    return tokenizer.extended(sorted(frequent))
