"""Tests of the text-to-text recipes on a few lines of the real data."""

import gzip
import os
import shutil
import subprocess
import sys
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


RUNS = {
    "summaries_aeslc": ("text/aeslc_email_subject", "ROUGE-1"),
    "dialogue_dailydialog": ("text/dailydialog", "perplexity"),
    "poetry_tang": ("text/tang_poetry", "perplexity"),
    "tagging": ("text/scan", "accuracy"),
    "text_normalization": ("text/synthetic_textnorm_en", "accuracy"),
    "g2p_sigmorphon": ("text/sigmorphon2020_g2p", "WER"),
    "tatoeba_many": ("text", "chrF"),
}
"""Recipes of one configuration and one script: folder of the corpus, and a word of the report."""


@pytest.mark.parametrize("recipe", RUNS)
def test_the_script_of_a_recipe_trains_and_evaluates_on_the_first_lines_of_its_corpus(
    recipe: str, shared_data: Path, tmp_path: Path
) -> None:
    name, word = RUNS[recipe]
    corpus = shared_data / name
    if not corpus.is_dir():
        pytest.skip(f"the corpus is missing ({corpus})")
    wanted = "tatoeba_*/**/*.gz" if recipe == "tatoeba_many" else "*.gz"
    for file in corpus.glob(wanted):
        copy = tmp_path / "corpus" / file.relative_to(corpus)
        copy.parent.mkdir(parents=True, exist_ok=True)
        count = 120 if "train" in file.name else 12
        with gzip.open(file) as lines, gzip.open(copy, "wb") as shortened:
            shortened.writelines(line for line, _ in zip(lines, range(count), strict=False))
    shutil.copytree(
        RECIPES / recipe, tmp_path / "recipes" / recipe,
        ignore=shutil.ignore_patterns("data", "runs"),
    )  # fmt: skip
    # One vocabulary of five languages needs more subwords.
    size = 600 if recipe == "tatoeba_many" else 400
    small = [f"text.vocabulary_size={size}", "train.steps=2", "data.workers=0",
             "train.attention_pictures=0", "text_encoder.size=16", "text_encoder.layers=1",
             "decoder.size=16"]  # fmt: skip
    program = tmp_path / "bin" / "asr-s2s"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m asr_s2s "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(RECIPES.parent),
    }
    done = subprocess.run(
        [tmp_path / "recipes" / recipe / "run.sh", tmp_path / "corpus", *small],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert word in done.stdout
    assert "Traceback" not in done.stderr


def _files(folder: Path, name: str) -> list[Path]:
    if "{" not in name:
        return [folder / name]
    head, _, rest = name.partition("{")
    sides, _, tail = rest.partition("}")
    return [folder / f"{head}{side}{tail}" for side in sides.split(",")]
