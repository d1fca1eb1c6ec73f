"""Damaged model folders work, or are refused with an error that names a file in them."""

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

import asr_s2s
from asr_s2s.config import Config, DecoderConfig, FeatureConfig, SearchConfig, SpeechEncoderConfig
from asr_s2s.errors import ConfigError, ModelError
from asr_s2s.lm.kneser_ney import encode_lines, estimate, frequent_words
from asr_s2s.lm.ngram import from_levels
from asr_s2s.lm.ngram_file import NGRAM_FILE, save_ngram
from asr_s2s.lm.word_ngram import spell
from asr_s2s.model.folder import save_model
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.tokenizer import CharacterTokenizer, WordTokenizer
from tests.support.mutations import damage_folder

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "50"))
"""Number of damaged folders; seeds are 0, 1, ..."""
LINES = ["an ant can", "a can", "an ant ran", "ant", "a tan can ran"]
CONFIG = Config(
    features=FeatureConfig(mel_bins=16),
    speech_encoder=SpeechEncoderConfig(layers=2, size=8, time_reduction=4),
    decoder=DecoderConfig(attention_size=8, size=8, embedding_size=4),
    search=SearchConfig(beam_size=2, ngram_weight=0.5, word_bonus=0.1),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    characters = CharacterTokenizer("acnrt ")
    save_model(
        folder, CONFIG, characters, None, Seq2Seq(CONFIG, len(characters)).state_dict(), "int8"
    )
    words = frequent_words(LINES, characters, str, 5)
    units = WordTokenizer(words)
    ngrams = from_levels(estimate(encode_lines(LINES, units, str), len(units), 3))
    save_ngram(folder / NGRAM_FILE, spell(ngrams, words, characters), characters)
    return folder


def test_damaged_model_folders_are_refused_or_work(folder: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 8_000).astype(np.float32)
    refused = 0
    for seed in range(ROUNDS):
        copy = tmp_path / f"damaged_{seed}"
        shutil.copytree(folder, copy)
        name = damage_folder(copy, random.Random(seed))
        try:
            asr_s2s.load(copy, "cpu").transcribe(noise)
        except (ModelError, ConfigError) as error:
            refused += 1
            named = str(copy) in error.where or error.where.startswith("search.")
            assert named, (seed, name, error)
        except Exception as error:
            raise AssertionError(f"damage {seed} to {name}") from error
        shutil.rmtree(copy)
    assert refused > ROUNDS / 4
