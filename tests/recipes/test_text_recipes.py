"""Tests of the text-to-text recipes on a few lines of the real data."""

import gzip
import subprocess
from pathlib import Path

import pytest
import torch

from asr_s2s.config_file import load_config
from asr_s2s.train.settings import check_settings
from tests.support.commands import run_text_command

RECIPES = Path(__file__).parent.parent.parent / "recipes"
CONFIGS = sorted(p for p in RECIPES.glob("*/*.yaml") if "encoders: [text]" in p.read_text())
SCRIPTS = sorted(RECIPES.glob("*/*.sh"))
DATA = {
    "multi30k/en-de.yaml": ("multi30k", "{}.{{en,de}}.gz", ("train", "val")),
    "multi30k/en-fr.yaml": ("multi30k", "{}.{{en,fr}}.gz", ("train", "val")),
    "tatoeba_en_zh/en-zh.yaml": (
        "text/tatoeba_en_zh/clean_split", "{}.{{en,zh}}.gz", ("train", "dev"),
    ),
    "tatoeba_en_de/en-de.yaml": (
        "text/tatoeba_en_de", "{}.{{en,de}}.gz", ("train", "dev"),
    ),
    "g2p_cmudict/g2p.yaml": ("text/cmudict_g2p/nostress", "{}.tsv.gz", ("train", "dev")),
}  # fmt: skip


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_the_configuration_of_a_recipe_is_valid(path: Path) -> None:
    check_settings(load_config(path), torch.device("cpu"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_script_without_arguments_prints_its_usage(script: Path) -> None:
    result = subprocess.run([script], capture_output=True, text=True)
    assert result.returncode != 0
    assert f"usage: recipes/{script.parent.name}/{script.name} " in result.stderr


@pytest.mark.parametrize("recipe", DATA)
def test_a_recipe_runs_on_the_first_lines_of_its_corpus(
    recipe: str, shared_data: Path, tmp_path: Path
) -> None:
    folder, pattern, splits = DATA[recipe]
    names = []
    for split, count in zip(splits, (200, 20), strict=True):
        name = pattern.format(split)
        for file in _files(shared_data / folder, name):
            with gzip.open(file) as lines, gzip.open(tmp_path / file.name, "wb") as shortened:
                shortened.writelines(line for line, _ in zip(lines, range(count), strict=False))
        names.append(name)
    config = (RECIPES / recipe).read_text().replace("data/", "")
    (tmp_path / "recipe.yaml").write_text(config)
    small = ["text.vocabulary_size=400", "source_text.vocabulary_size=150", "train.steps=2"]
    small += ["text_augment.substitute_probability=0"]  # the names are not in the corpus
    small += ["data.batch_tokens=300", "data.workers=0", "train.attention_pictures=0"]
    trained = run_text_command("train", "recipe.yaml", *small, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    evaluated = run_text_command(
        "evaluate", names[1], "--model", "runs/recipe/model", "--format", "json", cwd=tmp_path
    )
    assert evaluated.returncode == 0, evaluated.stderr


def _files(folder: Path, name: str) -> list[Path]:
    if "{" not in name:
        return [folder / name]
    head, _, rest = name.partition("{")
    sides, _, tail = rest.partition("}")
    return [folder / f"{head}{side}{tail}" for side in sides.split(",")]
