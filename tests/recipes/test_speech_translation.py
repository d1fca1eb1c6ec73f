"""Tests of the speech translation recipe."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from speech_translation.cascade import as_written
from synthesize import choose_voices
from voices import Voice

from asr_s2s.config_file import load_config
from asr_s2s.errors import UserError
from asr_s2s.model.folder import find_model
from asr_s2s.model.growth import load_speech_encoder
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.train.settings import check_seq2seq, check_settings

RECIPE = Path(__file__).parents[2] / "recipes" / "speech_translation"


def test_the_configuration_is_valid_and_fits_the_shipped_encoder() -> None:
    config = load_config(RECIPE / "translate.yaml")
    check_settings(config, torch.device("cpu"))
    check_seq2seq(config)
    network = Seq2Seq(config, 100)
    before = network.speech.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    load_speech_encoder(network, find_model(str(config.train.initialize_encoder)), config)
    matrices = [name for name, value in before.items() if value.ndim > 1]
    assert all(
        not torch.equal(before[name], network.speech.state_dict()[name]) for name in matrices
    )


def make_rows(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, RECIPE / "translation_rows.py", folder / "speech" / "train.jsonl"]
    command += ["--output", folder / "data" / "train.jsonl", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.en").write_text("Two dogs are playing.\nIt's raining!\nUnspoken.\n")
    (tmp_path / "train.de").write_text("Zwei Hunde spielen.\nEs regnet!\nStumm.\n")
    (tmp_path / "train.zh").write_text("两只狗在玩。\n下雨了。\n无声。\n")
    story = {
        "corpus": "asp",
        "raw_text": "A tall man",
        "translations": {"de": "Ein Mann", "fr": "x"},
    }
    rows: list[dict[str, Any]] = [
        {"id": "a", "audio": "a.wav", "duration": 1.0, "text": "two dogs are playing"},
        {"id": "b", "audio": "b.wav", "duration": 1.0, "text": "it's raining", "speaker": "joe"},
        {"id": "c", "audio": "c.wav", "duration": 1.0, "text": "something else"},
        {"id": "d", "audio": "d.wav", "duration": 1.0, "text": "a tall man", **story},
    ]
    (tmp_path / "speech").mkdir()
    manifest = tmp_path / "speech" / "train.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_each_recording_gets_a_row_for_each_language(folder: Path) -> None:
    pairs = [part for name in ("de", "zh") for part in ("--pairs", f"{folder}/train.{{en,{name}}}")]
    done = make_rows(folder, *pairs)
    assert done.returncode == 0, done.stderr
    assert "1 of 4" in done.stderr
    made = [json.loads(line) for line in (folder / "data" / "train.jsonl").read_text().splitlines()]
    assert [(row["id"], row["language"], row["text"]) for row in made] == [
        ("train-a-en", "en", "Two dogs are playing."),
        ("train-a-de", "de", "Zwei Hunde spielen."),
        ("train-a-zh", "zh", "两只狗在玩。"),
        ("train-b-en", "en", "It's raining!"),
        ("train-b-de", "de", "Es regnet!"),
        ("train-b-zh", "zh", "下雨了。"),
        ("train-d-en", "en", "A tall man"),
        ("train-d-de", "de", "Ein Mann"),
        ("train-d-fr", "fr", "x"),
    ]
    assert {row["audio"] for row in made} == {f"../speech/{name}.wav" for name in "abd"}
    assert made[3]["speaker"] == "joe"


def test_recordings_and_languages_are_selected(folder: Path) -> None:
    done = make_rows(folder, "--corpus", "asp", "--language", "de", "--language", "zh")
    assert done.returncode == 0, done.stderr
    lines = (folder / "data" / "train.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["train-d-en", "train-d-de"]
    done = make_rows(folder, "--corpus", "none")
    assert done.returncode == 1
    assert "--pairs" in done.stderr and "Traceback" not in done.stderr


def test_voices_are_chosen_by_patterns() -> None:
    voices = {
        "flite": [Voice("flite", "slt"), Voice("flite", "awb")],
        "espeak-ng": [Voice("espeak-ng", "en-us+f5"), Voice("espeak-ng", "en-gb+f1")],
    }
    unheard = ["flite-awb", "espeak-ng-*+f5"]
    only, rest = choose_voices(voices, unheard, []), choose_voices(voices, ["*"], unheard)
    assert [str(one) for own in only.values() for one in own] == ["flite-awb", "espeak-ng-en-us+f5"]
    assert [str(one) for own in rest.values() for one in own] == ["flite-slt", "espeak-ng-en-gb+f1"]
    with pytest.raises(UserError, match="no voice matches"):
        choose_voices(voices, ["festival-*"], [])


def test_the_cascade_writes_transcripts_as_sentences() -> None:
    assert as_written("i think i'm late for it") == "I think I'm late for it."
    assert as_written("") == ""
