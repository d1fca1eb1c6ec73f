"""Calibration of word confidences."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from asr_s2s.audio.augment import add_noise, colored_noise
from asr_s2s.audio.decode import read_audio
from asr_s2s.cli.main import app
from asr_s2s.errors import UserError
from asr_s2s.evaluate.calibration import (
    JudgedWord,
    calibration_error,
    cross_validated,
    fit_confidence,
)
from asr_s2s.model.folder import find_model
from asr_s2s.search.confidence import Evidence, confidence


def drawn_words(count: int, seed: int = 0) -> list[JudgedWord]:
    """Draw words that are right with the probability given by `TRUE_WEIGHTS`."""
    rng = np.random.default_rng(seed)
    words = []
    for index in range(count):
        evidence = Evidence(*rng.normal(-1.0, 0.7, 4).tolist())
        probability = confidence(evidence, TRUE_WEIGHTS)
        right = bool(rng.random() < probability)
        words.append(JudgedWord(evidence, 0.99, right, f"s{index % 9}"))
    return words


TRUE_WEIGHTS = (2.0, 1.5, 0.5, 0.0, -0.5)


def test_fit_recovers_the_true_weights() -> None:
    weights = fit_confidence(drawn_words(20_000), "here")
    assert np.abs(np.subtract(weights, TRUE_WEIGHTS)).max() < 0.15


def test_cross_validated_confidence_is_calibrated() -> None:
    words = drawn_words(4_000)
    right = [word.right for word in words]
    assert calibration_error([word.confidence for word in words], right) > 0.15
    assert calibration_error(cross_validated(words, "here"), right) < 0.03


def test_calibration_error_of_a_small_example() -> None:
    # Bin 0.9 to 1: four words at 0.95, three of them right. Bin 0 to 0.1: one word at 0.05, wrong.
    confidences, right = [0.95] * 4 + [0.05], [True, True, True, False, False]
    assert calibration_error(confidences, right) == pytest.approx((4 * 0.2 + 0.05) / 5)
    assert calibration_error([], []) == 0.0


def test_confidence_without_a_fit_is_the_decoder_probability() -> None:
    assert confidence(Evidence(np.log(0.25), -9.0, -9.0, -9.0), ()) == pytest.approx(0.25)


def test_too_few_errors_are_rejected() -> None:
    words = [word._replace(right=True) for word in drawn_words(50)]
    with pytest.raises(UserError, match="of 50 words, 0 are wrong"):
        fit_confidence(words, "dev.jsonl")


def test_calibration_on_noisy_digits_lowers_the_error(shared_data: Path, tmp_path: Path) -> None:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    rng = np.random.default_rng(1)
    rows = []
    for speaker in ("george", "jackson", "lucas", "theo"):
        for digit, text in enumerate(names):
            for index in (5, 6):
                name = f"{digit}_{speaker}_{index}.wav"
                speech = read_audio(shared_data / "fsdd" / "recordings" / name)
                noise = colored_noise(len(speech), slope=1.0, rng=rng)
                soundfile.write(
                    tmp_path / name, add_noise(speech, noise, rng.uniform(-8, 15)), 16000
                )
                rows.append({"audio": name, "text": text, "speaker": speaker})
    manifest = tmp_path / "dev.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "model"
    folder.mkdir()
    for file in find_model("digits").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())

    command = ["calibrate", str(manifest), "--beam-size", "1"]
    rejected = CliRunner().invoke(app, [*command, "--model", "digits"])
    assert "this model ships with the package" in str(rejected.exception)
    result = CliRunner().invoke(app, [*command, "--model", str(folder)])
    assert result.exit_code == 0, result.output
    counts, errors, _ = result.stdout.splitlines()
    assert "% right" in counts
    before, after = (float(word) for word in errors.split() if word.startswith("0."))
    assert after < before
    weights = yaml.safe_load((folder / "config.yaml").read_text())["search"]["confidence"]
    assert len(weights) == 5
