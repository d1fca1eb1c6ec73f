import dataclasses
import math
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import yaml

from asr_s2s.bounds import Bounds
from asr_s2s.config import Config, SearchConfig
from asr_s2s.config_file import check_values, from_dict, load_config, to_dict
from asr_s2s.errors import ConfigError, ModelError
from asr_s2s.model.folder import read_config

ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text("train: {steps: 5}\ndecoder: {attention: dot}\n")
    return path


def test_overrides_take_precedence_over_the_file_and_the_file_over_defaults(path: Path) -> None:
    config = load_config(
        path, ["train.steps=7", "augment.speeds=[1.0]", "search.end_threshold=null"]
    )
    assert config.train.steps == 7
    assert config.decoder.attention == "dot"
    assert config.augment.speeds == (1.0,)
    assert config.search.end_threshold is None
    assert config.train.warmup_steps == Config().train.warmup_steps


def test_a_configuration_is_unchanged_by_conversion_to_plain_values(path: Path) -> None:
    config = load_config(path)
    assert from_dict(Config, to_dict(config), where="again") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.step=3", "train.step: there is no such key. Did you mean train.steps."),
        ("trian.steps=3", "trian: there is no such key. Did you mean train."),
        ("decoder.zzz=3", "Known keys of decoder: kind, cell"),
        ("train.steps=many", "train.steps: expected a whole number, found 'many'"),
        ("train.steps=2.5", "expected a whole number, found 2.5"),
        ("train.learning_rate=true", "expected a number, found True"),
        (
            "decoder.first_state=magic",
            "decoder.first_state: expected one of zeros, source, found 'magic'",
        ),
        ("augment.noise_snr_db=[1]", "expected a list of 2 values"),
        ("train=3", "train: expected a section"),
        ("steps", "steps: an override must have the form key=value"),
    ],
)
def test_an_invalid_override_is_reported_with_the_key_and_the_fix(
    path: Path, override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(path, [override])
    assert message in str(caught.value)


def bounds_in(hint: Any) -> Bounds | None:
    """Bounds in a type, such as those of the items of a tuple."""
    if isinstance(hint, Bounds):
        return hint
    return next(filter(None, map(bounds_in, get_args(hint))), None)


HINTS = {
    f"{section.name}.{name}": hint
    for section in dataclasses.fields(Config)
    for name, hint in get_type_hints(section.type, include_extras=True).items()
}
BOUNDS = {key: bounds for key, hint in HINTS.items() if (bounds := bounds_in(hint))}
OUTSIDE = [
    (key, value)
    for key, bounds in BOUNDS.items()
    for value in (
        bounds.minimum if bounds.above else bounds.minimum - 1,
        *([bounds.maximum + 1] if bounds.maximum < math.inf else []),
    )
]
UNBOUNDED = {
    "augment.noise_snr_db",
    "search.confidence",
    "search.end_threshold",
    "speech_encoder.time_reduction",
}
"""Numbers of any size, and one that must be a power of 2."""


def test_every_number_has_bounds() -> None:
    numbers = {key for key, hint in HINTS.items() if {int, float} & {hint, *get_args(hint)}}
    assert numbers - set(BOUNDS) == UNBOUNDED


@pytest.mark.parametrize(("key", "value"), OUTSIDE)
def test_a_value_out_of_bounds_is_refused_wherever_it_is_set(
    path: Path, key: str, value: float
) -> None:
    section, name = key.split(".")
    with pytest.raises(ConfigError) as overridden:
        load_config(path, [f"{key}={value}"])
    path.write_text(yaml.safe_dump({section: {name: value}}))
    with pytest.raises(ConfigError) as read:
        load_config(path)
    listed = (value,) if get_origin(HINTS[key]) is tuple else value
    changed = dataclasses.replace(getattr(Config(), section), **{name: listed})
    with pytest.raises(ConfigError) as checked:
        check_values(Config(**{section: changed}))
    assert overridden.value.where == read.value.where == f"{path}: {key}"
    assert checked.value.where == key
    for error in (overridden.value, read.value, checked.value):
        assert str(BOUNDS[key]) in error.problem and str(value) in error.problem
        assert error.fix


@pytest.mark.parametrize("key", BOUNDS)
def test_values_at_the_bounds_are_accepted(path: Path, key: str) -> None:
    bounds = BOUNDS[key]
    for value in (bounds.minimum, bounds.maximum):
        if value in bounds and value < math.inf:
            load_config(path, [f"{key}={value}"])


def test_not_a_number_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.learning_rate"):
        load_config(path, ["train.learning_rate=.nan"])


def test_the_defaults_are_in_bounds() -> None:
    check_values(Config())


def test_the_numbers_of_numpy_are_numbers() -> None:
    check_values(SearchConfig(beam_size=np.int64(4), ctc_weight=np.float32(0.5)), "search")
    with pytest.raises(ConfigError, match=r"search\.beam_size"):
        check_values(SearchConfig(beam_size=np.int64(0)), "search")


def test_a_model_folder_with_a_value_out_of_bounds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("format: 1\nsearch: {beam_size: 0}\n")
    with pytest.raises(ModelError) as caught:
        read_config(tmp_path)
    assert caught.value.where == f"{tmp_path / 'config.yaml'}: search.beam_size"


def test_a_missing_or_malformed_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("train: [unclosed")
    with pytest.raises(ConfigError, match=r"bad\.yaml: .*not valid YAML"):
        load_config(tmp_path / "bad.yaml")


@pytest.mark.parametrize("recipe", sorted(ROOT.glob("recipes/*/*.yaml")), ids=str)
def test_every_recipe_is_valid(recipe: Path) -> None:
    config = load_config(recipe)
    assert config.data.train and config.data.valid
