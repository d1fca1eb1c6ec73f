from pathlib import Path

import pytest

from asr_s2s.config import Config
from asr_s2s.config_file import from_dict, load_config, to_dict
from asr_s2s.errors import ConfigError

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
            "decoder.attention=magic",
            "one of additive, dot, location, multihead, none, found 'magic'",
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
