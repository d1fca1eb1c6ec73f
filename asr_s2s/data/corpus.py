"""Corpora of several manifests, and epochs that mix them in given shares."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from lhotse import SupervisionSegment
from lhotse.cut import Cut

from asr_s2s.config import DataConfig, DataSource
from asr_s2s.data.manifest import read_manifest
from asr_s2s.data.parallel import TextPair, is_parallel, read_parallel
from asr_s2s.errors import ConfigError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Corpus:
    """Contents of manifests, before normalization and tokenization."""

    cuts: list[Cut]
    """Utterances with transcripts."""
    pairs: list[TextPair]
    origins: dict[str, int]
    """Index of the manifest of each utterance or pair, by its id."""


class Group(NamedTuple):
    """Items of one manifest in one language."""

    manifest: int
    """Index of the manifest."""
    language: str | None


def data_sources(entries: Sequence[str | DataSource]) -> list[DataSource]:
    """Return the entries of `data.train` and similar keys; a name stands for its manifest."""
    return [DataSource(manifest=entry) if isinstance(entry, str) else entry for entry in entries]


def read_corpus(entries: Sequence[str | DataSource], base: Path, key: str) -> Corpus:
    """Read several manifests.

    Ids that occur in an earlier manifest get the manifest's number appended.

    Args:
        entries: manifests of recordings and parallel text.
        base: folder that their names are relative to.
        key: key or argument that names them.

    Raises:
        ConfigError: there are none.
        ManifestError: a manifest cannot be used.
    """
    require_names(entries, key)
    corpus = Corpus([], [], {})
    for number, source in enumerate(data_sources(entries)):
        path = base / source.manifest
        if source.columns or is_parallel(path):
            for pair in read_parallel(path, source.columns):
                name = _new_id(corpus, pair.id, number)
                corpus.pairs.append(replace(with_pair_language(pair, source), id=name))
            continue
        for cut in read_manifest(path):
            name = _new_id(corpus, cut.id, number)
            cut = with_cut_language(cut, source)
            corpus.cuts.append(cut if name == cut.id else cut.with_id(name))
    return corpus


def with_pair_language(pair: TextPair, source: DataSource) -> TextPair:
    """Give a pair the language of its source, unless it names one itself."""
    return replace(pair, language=pair.language or source.language)


def with_cut_language(cut: Cut, source: DataSource) -> Cut:
    """Give a cut the language of its source, unless it names one itself."""
    if source.language is None:
        return cut

    def fill(supervision: SupervisionSegment) -> SupervisionSegment:
        return replace(supervision, language=supervision.language or source.language)

    return cut.map_supervisions(fill)


def require_names(entries: Sequence[str | DataSource], key: str) -> None:
    """Refuse a key that names no data.

    Raises:
        ConfigError: names `key`.
    """
    if not entries:
        raise ConfigError(key, "no manifest is given", f"Set {key} to one or more manifests")


def _new_id(corpus: Corpus, name: str, number: int) -> str:
    """Return an id that no earlier item has, and record its manifest."""
    if name in corpus.origins:
        name = f"{name}#{number + 1}"
    corpus.origins[name] = number
    return name


class Mix(Generic[Item]):
    """Chooses the items of each epoch, so that corpora and languages have given shares.

    An epoch has as many items as the data. The share of a manifest in a language is proportional to
    its weight times its items ** (1 / temperature), and that of a language to the sum over its
    manifests ** (1 / language temperature), times the weight of the language (temperature-based
    sampling; Arivazhagan et al., 2019). Items of a group with more than its natural share occur
    several times, each copy with its own id and so with its own augmentation; of a group with less,
    a part is drawn anew for each epoch. The choice is a function of seed and epoch.

    Args:
        groups: items of each group.
        sources: manifests, with their weights.
        config: temperatures, and weights of languages.
        copy: returns an item with another id; called with the item and a suffix.
    """

    def __init__(
        self,
        groups: Mapping[Group, Sequence[Item]],
        sources: Sequence[DataSource],
        config: DataConfig,
        copy: Callable[[Item, str], Item],
    ) -> None:
        self.groups = groups
        self.copy = copy
        sizes = {group: len(items) for group, items in groups.items()}
        self.shares = shares(sizes, sources, config)
        self.counts = _round(self.shares, sum(sizes.values()))

    def epoch(self, seed: int, epoch: int) -> list[Item]:
        """Return the items of an epoch, by group."""
        chosen: list[Item] = []
        for group, items in self.groups.items():
            copies, rest = divmod(self.counts[group], len(items))
            for number in range(copies):
                chosen += (self._copied(item, number) for item in items)
            rng = random.Random(f"{seed} {epoch} {group.manifest} {group.language}")
            drawn = sorted(rng.sample(range(len(items)), rest))
            chosen += (self._copied(items[position], copies) for position in drawn)
        return chosen

    def _copied(self, item: Item, number: int) -> Item:
        return item if number == 0 else self.copy(item, f"+{number + 1}")


def check_language_weights(languages: Iterable[str | None], config: DataConfig) -> None:
    """Refuse a weight of a language that no training item has.

    Args:
        languages: languages of the training items.
        config: weights of languages.

    Raises:
        ConfigError: there is such a weight.
    """
    known = set(languages) - {None}
    for one in config.language_weights:
        if one.language not in known:
            named = ", ".join(sorted(filter(None, known))) or "none"
            raise ConfigError(
                "data.language_weights",
                f"no training item is in {one.language}; the languages are: {named}",
                "Correct the language, or remove its weight",
            )


def is_mixed(config: DataConfig) -> bool:
    """Return whether the training data is mixed in other shares than those of its sizes."""
    return (
        config.temperature != 1.0
        or config.language_temperature != 1.0
        or bool(config.language_weights)
        or any(source.weight != 1.0 for source in data_sources(config.train))
    )


def shares(
    sizes: Mapping[Group, int], sources: Sequence[DataSource], config: DataConfig
) -> dict[Group, float]:
    """Compute the share of each group in an epoch, as described in `Mix`; they sum to 1.

    Args:
        sizes: number of items of each group, at least one.
        sources: manifests, with their weights.
        config: temperatures, and weights of languages.
    """
    masses = {
        group: sources[group.manifest].weight * size ** (1 / config.temperature)
        for group, size in sizes.items()
    }
    of_language: dict[str | None, float] = {}
    for group, mass in masses.items():
        of_language[group.language] = of_language.get(group.language, 0.0) + mass
    weights = {one.language: one.weight for one in config.language_weights}
    wanted = {
        language: weights.get(language or "", 1.0) * mass ** (1 / config.language_temperature)
        for language, mass in of_language.items()
    }
    whole = sum(wanted.values())
    return {
        group: mass / of_language[group.language] * wanted[group.language] / whole
        for group, mass in masses.items()
    }


def _round(shares: Mapping[Group, float], total: int) -> dict[Group, int]:
    """Round shares of a total to whole numbers of at least 1, the total up to such small ones."""
    exact = {group: share * total for group, share in shares.items()}
    counts = {group: max(1, int(value)) for group, value in exact.items()}
    by_rest = sorted(exact, key=lambda group: counts[group] - exact[group])
    for group in by_rest[: max(0, total - sum(counts.values()))]:
        counts[group] += 1
    return counts
