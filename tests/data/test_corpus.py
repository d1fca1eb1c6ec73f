"""Corpora of several manifests, and their shares of an epoch."""

from collections import Counter
from pathlib import Path

import pytest

from asr_s2s.config import DataConfig, DataSource, LanguageWeight
from asr_s2s.config_file import from_dict, to_dict
from asr_s2s.data.corpus import Group, Mix, check_language_weights, is_mixed, read_corpus, shares
from asr_s2s.errors import ConfigError

SOURCES = [DataSource(manifest="a"), DataSource(manifest="b"), DataSource(manifest="c")]
SIZES = {Group(0, "de"): 900, Group(1, "de"): 100, Group(2, "vi"): 10}


def mixed(config: DataConfig, sources: list[DataSource] = SOURCES) -> Mix[str]:
    groups = {g: [f"{g.manifest}:{i}" for i in range(size)] for g, size in SIZES.items()}
    return Mix(groups, sources, config, lambda item, suffix: item + suffix)


def test_shares_are_natural_by_default() -> None:
    found = shares(SIZES, SOURCES, DataConfig())
    assert found == pytest.approx({group: size / 1010 for group, size in SIZES.items()})
    assert not is_mixed(DataConfig(train=("a", "b")))
    mix = mixed(DataConfig())
    assert mix.epoch(1, 0) == [item for items in mix.groups.values() for item in items]


def test_a_weight_multiplies_the_share_of_a_manifest() -> None:
    sources = [SOURCES[0], DataSource(manifest="b", weight=3), SOURCES[2]]
    found = shares(SIZES, sources, DataConfig())
    assert found[Group(1, "de")] / found[Group(0, "de")] == pytest.approx(3 * 100 / 900)
    assert found[Group(2, "vi")] / found[Group(0, "de")] == pytest.approx(10 / 900)
    assert is_mixed(DataConfig(train=tuple(sources)))


def test_temperatures_even_out_manifests_and_languages() -> None:
    even = shares(SIZES, SOURCES, DataConfig(temperature=1e9))
    assert list(even.values()) == pytest.approx([1 / 3] * 3, abs=1e-6)
    found = shares(SIZES, SOURCES, DataConfig(language_temperature=2))
    german = found[Group(0, "de")] + found[Group(1, "de")]
    assert german / found[Group(2, "vi")] == pytest.approx((1000 / 10) ** 0.5)
    assert found[Group(0, "de")] / found[Group(1, "de")] == pytest.approx(9)
    weighted = DataConfig(language_weights=(LanguageWeight(language="vi", weight=4),))
    found = shares(SIZES, SOURCES, weighted)
    assert found[Group(2, "vi")] / found[Group(1, "de")] == pytest.approx(4 * 10 / 100)


def test_an_epoch_has_the_shares_and_depends_on_seed_and_epoch_only() -> None:
    mix = mixed(DataConfig(temperature=2))
    epoch = mix.epoch(7, 3)
    assert len(epoch) == len(set(epoch)) == 1010  # copies have ids of their own
    drawn = Counter(item.split(":")[0] for item in epoch)
    root = [900**0.5, 100**0.5, 10**0.5]
    for number, value in enumerate(root):
        assert drawn[str(number)] == pytest.approx(1010 * value / sum(root), abs=1)
    copies = Counter(item.split("+")[0] for item in epoch if item.startswith("2:"))
    assert len(copies) == 10 and max(copies.values()) - min(copies.values()) <= 1
    assert mixed(DataConfig(temperature=2)).epoch(7, 3) == epoch
    kept = {item for item in epoch if item.startswith("0:")}
    assert kept != {item for item in mix.epoch(7, 4) if item.startswith("0:")}


def test_an_unknown_language_is_refused() -> None:
    config = DataConfig(language_weights=(LanguageWeight(language="fr", weight=2),))
    with pytest.raises(ConfigError, match="de, vi") as caught:
        check_language_weights(["vi", None, "de"], config)
    assert caught.value.where == "data.language_weights"


def test_entries_give_languages_and_manifests_keep_their_items_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.tsv").write_text(f"x\t{name}\ny\t{name}\n")
    (tmp_path / "a.jsonl").write_text('{"id": "a:1", "source": "z", "target": "c"}\n')
    entries = (DataSource(manifest="a.tsv", language="de"), "b.tsv", "a.jsonl")
    corpus = read_corpus(entries, tmp_path, "data.train")
    assert [pair.id for pair in corpus.pairs] == ["a:1", "a:2", "b:1", "b:2", "a:1#3"]
    assert [pair.language for pair in corpus.pairs] == ["de", "de", None, None, None]
    assert [corpus.origins[pair.id] for pair in corpus.pairs] == [0, 0, 1, 1, 2]


def test_entries_are_read_and_written_in_their_short_form() -> None:
    given = {"train": ["a.tsv", {"manifest": "b.tsv", "weight": 2}], "valid": "c.tsv"}
    config = from_dict(DataConfig, given, where="recipe.yaml")
    assert config.train == ("a.tsv", DataSource(manifest="b.tsv", weight=2.0))
    assert config.valid == ("c.tsv",)
    assert from_dict(DataConfig, to_dict(config), where="again") == config
    assert to_dict(config)["train"][0] == "a.tsv"
    with pytest.raises(ConfigError, match=r"weight.*above 0"):
        from_dict(DataConfig, {"train": [{"manifest": "a", "weight": 0}]}, where="recipe.yaml")
