"""Augmentation of sentence pairs: what changes, on which side, and by which random numbers."""

import re
from pathlib import Path

import numpy as np
import pytest

from asr_s2s.config import TextAugmentConfig
from asr_s2s.errors import ConfigError, ManifestError
from asr_s2s.text.augment import TextAugment, find_names, strip_end

PAIRS = [
    ("Tom comes from Boston.", "Tom kommt aus Boston."),
    ("Last winter I saw Anna.", "Letzten Winter sah ich Anna."),
    ("Is the wind strong?", "Ist der Wind stark?"),
    ("In 1998 the wind was strong.", "In 1998 war der Wind stark."),
]


def augmented(pair: tuple[str, str], count: int = 200, **settings: object) -> list[tuple[str, str]]:
    augment = TextAugment(TextAugmentConfig(**settings), PAIRS)  # type: ignore[arg-type]
    return [augment(*pair, np.random.default_rng(i)) for i in range(count)]


def test_names_are_capitalized_on_both_sides_and_never_in_lower_case() -> None:
    assert find_names(PAIRS) == {"Tom", "Boston", "Anna", "In"}
    assert find_names([*PAIRS, ("He is in.", "Er ist da.")]) == {"Tom", "Boston", "Anna"}


def test_spellings_change_the_source_only() -> None:
    pair = ("Tom paid 5 euros!", "Tom zahlte 5 Euro!")
    lower = augmented(pair, 1, lowercase_probability=1.0)
    upper = augmented(pair, 1, uppercase_probability=1.0)
    ended = augmented(pair, 1, strip_end_probability=1.0)
    assert lower == [("tom paid 5 euros!", pair[1])]
    assert upper == [("TOM PAID 5 EUROS!", pair[1])]
    assert ended == [("Tom paid 5 euros", pair[1])]


def test_each_change_happens_as_often_as_its_probability_says() -> None:
    pair = ("Tom is here.", "Tom ist hier.")
    changed = augmented(pair, 2000, lowercase_probability=0.3, strip_end_probability=0.1)
    assert sum(s.islower() for s, _ in changed) == pytest.approx(600, abs=70)
    assert sum(s[-1] != "." for s, _ in changed) == pytest.approx(200, abs=45)
    assert {t for _, t in changed} == {pair[1]}


def test_names_and_numbers_are_substituted_alike_on_both_sides() -> None:
    pair = ("Tom paid 1,250 euros in 1998.", "Tom zahlte 1998 1.250 Euro.")
    found = augmented(pair, substitute_probability=1.0)
    for source, target in found:
        name, thousands, hundreds, year = re.fullmatch(
            r"([\w ]+) paid (\d),(\d{3}) euros in (\d{4})\.", source
        ).groups()  # type: ignore[union-attr]
        assert target == f"{name} zahlte {year} {thousands}.{hundreds} Euro."
        assert set(name.split()) <= {"Tom", "Boston", "Anna", "In"}
        assert thousands == "1" and hundreds[0] != "0" and year[0] != "0"
    assert len({source for source, _ in found}) > 100


def test_what_occurs_on_one_side_only_is_kept() -> None:
    pair = ("Tom and 3 dogs saw Mary and 1 cat.", "Drei Hunde, 1 Katze und Tom sahen Tom.")
    assert set(augmented(pair, substitute_probability=1.0)) == {pair}


def test_names_of_files_are_used(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Quilla\n\nQuorra \n")
    config = TextAugmentConfig(substitute_probability=1.0, names=("names.txt",))
    augment = TextAugment(config, PAIRS, tmp_path)
    words = set()
    for seed in range(200):
        words |= set(augment("Tom.", "Tom.", np.random.default_rng(seed))[0][:-1].split())
    assert words == {"Tom", "Boston", "Anna", "In", "Quilla", "Quorra"}
    with pytest.raises(ManifestError, match="missing"):
        TextAugment(TextAugmentConfig(substitute_probability=0.1, names=("missing.txt",)), PAIRS)


def test_substitution_without_names_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"text_augment\.substitute_probability"):
        TextAugment(TextAugmentConfig(substitute_probability=0.1), PAIRS[2:3])


def test_symbols_are_added_to_both_sides() -> None:
    found = augmented(("Hello.", "Hallo."), symbol_probability=1.0)
    added = [source.removeprefix("Hello. ") for source, _ in found]
    assert [target for _, target in found] == [f"Hallo. {symbols}" for symbols in added]
    assert all(1 <= len(symbols) <= 3 for symbols in added) and len(set(added)) > 150


def test_the_same_generator_gives_the_same_pair_and_disabled_changes_draw_nothing() -> None:
    settings = {"substitute_probability": 0.5, "symbol_probability": 0.2}
    first, second = (augmented(PAIRS[0], **settings) for _ in range(2))
    assert first == second
    assert set(augmented(PAIRS[0])) == {PAIRS[0]}
    rng = np.random.default_rng(0)
    TextAugment(TextAugmentConfig(), PAIRS)(*PAIRS[0], rng)
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(
    ("text", "stripped"),
    [("Who?!", "Who"), ("Well ...", "Well"), ("...", "..."), ("Yes", "Yes"), ("“Go.”", "“Go")],
)
def test_punctuation_at_the_end_is_removed_unless_nothing_is_left(text: str, stripped: str) -> None:
    assert strip_end(text) == stripped
