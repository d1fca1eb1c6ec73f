"""Tests of synthetic speech for the English recognizer, with the installed synthesizers."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr_s2s.audio.decode import read_audio
from tests.support.commands import run_script

ENGLISH = Path(__file__).parents[2] / "recipes" / "english"

from rooms import add_background, limit_band, reverberate, set_level, shift_voice  # noqa: E402

SENTENCES = (
    "A small boat drifts across the bay.",
    "We bought three apples, didn't we?",
    "Nobody heard the telephone last night.",
    "The teacher closed her old green book.",
    "It cost 40 dollars.",  # skipped: digits can be read in several ways
    "The kite flew high above the quiet harbour today.",
)
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.float32)


def synthesize(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    prompts = folder / "prompts.txt"
    prompts.write_text("\n".join(SENTENCES) + "\n", "utf-8")
    return run_script(ENGLISH / "synthesize.py", prompts, "--jobs", "1", *options)


def rows(output: Path) -> list[dict[str, Any]]:
    lines = (output / "train.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


needs_synthesizers = pytest.mark.skipif(
    not any(map(shutil.which, ("flite", "festival", "espeak-ng"))),
    reason="no speech synthesizer is installed",
)


@needs_synthesizers
def test_sentences_are_synthesized_and_an_interrupted_run_resumes(tmp_path: Path) -> None:
    held_out = tmp_path / "held_out.jsonl"
    soundfile.write(tmp_path / "kite.wav", TONE, 16000)
    text = "the kite flew high above the quiet harbour today"
    held_out.write_text(json.dumps({"audio": "kite.wav", "text": text}) + "\n")
    output = tmp_path / "speech"
    options = ("--hours", "0.03", "--held-out", str(held_out), "--output", str(output))
    result = synthesize(tmp_path, *options)
    assert result.returncode == 0, result.stderr
    assert "4 prompts; skipped 1" in result.stderr

    made = rows(output)
    assert sum(row["duration"] for row in made) >= 108.0
    assert {row["text"] for row in made} == {
        "a small boat drifts across the bay",
        "we bought three apples didn't we",
        "nobody heard the telephone last night",
        "the teacher closed her old green book",
    }
    for row in made[:5]:
        samples = read_audio(output / row["audio"])
        assert len(samples) / 16000 == pytest.approx(row["duration"], abs=0.02)
        assert np.abs(samples).max() > 0.01

    # Remove the second part, as if the run had been killed; it is made again with the same content.
    (output / "parts" / "00001.jsonl").unlink()
    first = output / made[0]["audio"]
    written, before = first.stat().st_mtime_ns, made
    assert synthesize(tmp_path, *options).returncode == 0
    assert rows(output) == before
    assert first.stat().st_mtime_ns == written

    other = synthesize(tmp_path, *options, "--seed", "2")
    assert other.returncode == 1
    assert "another seed" in other.stderr and "Traceback" not in other.stderr


def test_a_missing_file_of_prompts_is_named(tmp_path: Path) -> None:
    result = synthesize(tmp_path, str(tmp_path / "none.txt"), "--output", str(tmp_path / "out"))
    assert result.returncode == 1
    assert "none.txt: cannot be read" in result.stderr and "Traceback" not in result.stderr


def test_recordings_without_speech_are_reproducible(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", TONE, 16000)
    (tmp_path / "voices.jsonl").write_text(json.dumps({"audio": "tone.wav", "text": "hum"}))
    made = []
    for name in ("a", "b"):
        options = ("--voices", str(tmp_path / "voices.jsonl"), "--output", str(tmp_path / name))
        result = run_script(ENGLISH / "silence.py", "--hours", "0.02", *options)
        assert result.returncode == 0, result.stderr
        made.append(rows(tmp_path / name))
    assert made[0] == made[1] and len(made[0]) == 12
    for row in made[0]:
        assert row["text"] == ""
        samples = read_audio(tmp_path / "a" / row["audio"])
        assert len(samples) / 16000 == pytest.approx(row["duration"], abs=0.001)
        assert 0.0 < np.abs(samples).max() < 1.0
        assert np.array_equal(samples, read_audio(tmp_path / "b" / row["audio"]))


def test_shifting_a_voice_raises_pitch_and_shortens_it() -> None:
    shifted = shift_voice(TONE, 1.25)
    assert len(shifted) == pytest.approx(len(TONE) / 1.25, abs=2)
    spectrum = np.abs(np.fft.rfft(shifted * np.hanning(len(shifted))))
    assert spectrum.argmax() * 16000 / len(shifted) == pytest.approx(550, abs=3)


def test_room_effects_keep_the_length_and_are_reproducible() -> None:
    for change in (reverberate, limit_band, set_level):
        first = change(TONE, np.random.default_rng(3))
        assert first.shape == TONE.shape and first.dtype == np.float32
        assert np.array_equal(first, change(TONE, np.random.default_rng(3)))
    babble = [TONE[::-1].copy(), TONE * 0.5]
    first = add_background(TONE, babble, np.random.default_rng(3))
    assert np.array_equal(first, add_background(TONE, babble, np.random.default_rng(3)))
    assert not np.array_equal(first, TONE)


def test_prepared_corpus_has_each_file_once(tmp_path: Path) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()

    def row(name: str, seconds: float, text: str, corpus: str) -> str:
        fields = {"id": name, "audio": f"{name}.wav", "duration": seconds, "text": text}
        return json.dumps(fields | {"speaker": "ann", "corpus": corpus})

    train = [
        row("a", 2.0, "first", "home"),
        row("a", 2.0, "second", "home"),
        row("b", 30.0, "long", "home"),
    ]
    (corpus / "train.jsonl").write_text("\n".join(train))
    soundfile.write(corpus / "a.wav", np.full(32_000, 0.1), 16_000)
    (corpus / "dev.jsonl").write_text(
        "\n".join(row(f"d{i}", 30.0, "text", "home" if i < 3 else "street") for i in range(5))
    )
    command = (ENGLISH / "prepare.py", corpus, output, "--each", "1")
    result = run_script(*command)
    assert result.returncode == 0, result.stderr
    assert "1 rows left out: of a file that an earlier row has" in result.stderr

    def texts(name: str) -> list[str]:
        return [json.loads(line)["text"] for line in (output / name).read_text().splitlines()]

    assert texts("train.jsonl") == ["first"]
    assert len(texts("dev_home.jsonl")) == 3 and len(texts("dev_street.jsonl")) == 2
    assert len(texts("valid.jsonl")) == 2

    (corpus / "dev.jsonl").write_text('{"id": "x"}\n')
    result = run_script(*command)
    assert result.returncode == 1
    assert "dev.jsonl:1: the field audio" in result.stderr
    assert "Traceback" not in result.stderr
