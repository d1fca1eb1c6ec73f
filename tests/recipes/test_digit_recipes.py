"""Tests of the recipes for single digits and connected-digit strings."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.support.commands import run_script

RECIPES = Path(__file__).parents[2] / "recipes"

from digit_strings import WORDS, Style, join, trim  # noqa: E402

SPLITS = ("train", "valid", "test")
SMALL = ("--train-strings", "12", "--valid-strings", "6", "--test-strings", "6")


def run(recipe: str, corpus: Path, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run_script(RECIPES / recipe / "prepare.py", corpus, output, *options)


def prepare(recipe: str, corpus: Path, output: Path, *options: str) -> dict[str, Any]:
    """Run a recipe and return the rows of its manifests, by split and kind."""
    result = run(recipe, corpus, output, *options)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    return {
        f"{split}_{kind}": [
            json.loads(line)
            for line in (output / f"{split}_{kind}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for split in SPLITS
        for kind in ("single", "connected")
    }


def word(seconds: float, rate: int, pitch: float, silence: float = 0.0) -> NDArray[np.float64]:
    """A tone with a little noise, padded with noise only."""
    rng = np.random.default_rng(round(pitch))
    tone = 0.3 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)
    padded = np.pad(tone, round(silence * rate))
    return padded + 1e-3 * rng.standard_normal(len(padded))


@pytest.fixture(scope="module")
def fsdd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fsdd")
    (folder / "recordings").mkdir()
    for s, speaker in enumerate(("ann", "bob")):
        for digit in range(10):
            for index in range(10):
                path = folder / "recordings" / f"{digit}_{speaker}_{index}.wav"
                pitch = 200 + 300 * digit + 10 * index + s
                soundfile.write(path, word(0.1 + 0.01 * index, 8000, pitch), 8000)
    return folder


@pytest.fixture
def broken_fsdd(fsdd: Path, tmp_path: Path) -> Path:
    """Copy of the corpus for a test to damage."""
    recordings = tmp_path / "fsdd" / "recordings"
    recordings.mkdir(parents=True)
    for path in (fsdd / "recordings").iterdir():
        (recordings / path.name).hardlink_to(path)
    return tmp_path / "fsdd"


def check_strings(rows: dict[str, Any], output: Path, *, one_speaker: bool) -> None:
    """Check that strings consist of single digits of their own split, listed in `parts`."""
    used: dict[str, set[str]] = {}
    for split in SPLITS:
        singles = {row["id"]: row for row in rows[f"{split}_single"]}
        assert len(singles) == len(rows[f"{split}_single"])
        strings = rows[f"{split}_connected"]
        assert len({row["id"] for row in strings}) == len(strings)
        for row in strings:
            parts = [singles[part] for part in row["parts"]]
            assert 3 <= len(parts) <= 8
            assert row["text"] == " ".join(part["text"] for part in parts)
            if one_speaker:
                assert {part["speaker"] for part in parts} == {row["speaker"]}
            info = soundfile.info(output / row["audio"])
            assert (info.format, info.subtype) == ("FLAC", "PCM_16")
            assert row["duration"] == pytest.approx(info.duration)
        used[split] = {part for row in strings for part in row["parts"]}
        assert used[split]
    for split in SPLITS:
        others = {
            row["audio"] for other in SPLITS if other != split for row in rows[f"{other}_single"]
        }
        assert others.isdisjoint(row["audio"] for row in rows[f"{split}_single"])


def test_fsdd_strings_keep_to_one_speaker_and_one_split(fsdd: Path, tmp_path: Path) -> None:
    rows = prepare("fsdd", fsdd, tmp_path, *SMALL)
    check_strings(rows, tmp_path, one_speaker=True)
    assert [len(rows[f"{split}_single"]) for split in SPLITS] == [40, 60, 100]
    assert [len(rows[f"{split}_connected"]) for split in SPLITS] == [12, 6, 6]
    assert {row["id"][-1] for row in rows["test_single"]} == set("01234")
    assert {row["id"][-1] for row in rows["valid_single"]} == set("567")
    assert all(Path(row["audio"]).is_absolute() for row in rows["train_single"])
    assert soundfile.info(tmp_path / rows["test_connected"][0]["audio"]).samplerate == 8000


def test_fsdd_pauses_vary_from_none_to_half_a_second(fsdd: Path, tmp_path: Path) -> None:
    rows = prepare("fsdd", fsdd, tmp_path, "--train-strings", "60")
    length = {row["id"]: row["duration"] for row in rows["train_single"]}
    means = [
        (row["duration"] - sum(length[part] for part in row["parts"])) / (len(row["parts"]) + 1)
        for row in rows["train_connected"]
    ]
    assert min(means) > -1e-3
    assert max(means) < 0.5
    assert np.std(means) > 0.03


def test_second_run_writes_the_same_bytes(fsdd: Path, tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    prepare("fsdd", fsdd, tmp_path / "a", *SMALL)
    first = contents(tmp_path / "a")
    prepare("fsdd", fsdd, tmp_path / "a", *SMALL)
    assert contents(tmp_path / "a") == first
    prepare("fsdd", fsdd, tmp_path / "b", *SMALL, "--train-strings", "14", "--seed", "1")
    longer = contents(tmp_path / "b")
    assert longer["train_connected.jsonl"].startswith(first["train_connected.jsonl"])
    prepare("fsdd", fsdd, tmp_path / "c", *SMALL, "--seed", "2")
    assert contents(tmp_path / "c")["train_connected.jsonl"] != first["train_connected.jsonl"]


def refused(recipe: str, corpus: Path, output: Path) -> str:
    """Run a recipe that fails and return its message, which is one line."""
    result = run(recipe, corpus, output, *SMALL)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_fsdd_folder_must_hold_recordings(tmp_path: Path) -> None:
    assert "none: folder not found" in refused("fsdd", tmp_path / "none", tmp_path / "out")
    assert "no folder recordings/" in refused("fsdd", tmp_path, tmp_path / "out")


def test_fsdd_missing_recording_is_named(broken_fsdd: Path, tmp_path: Path) -> None:
    (broken_fsdd / "recordings" / "3_ann_4.wav").unlink()
    message = refused("fsdd", broken_fsdd, tmp_path / "out")
    assert "3_ann_4.wav: recording not found" in message


def test_fsdd_unreadable_recording_is_named(broken_fsdd: Path, tmp_path: Path) -> None:
    path = broken_fsdd / "recordings" / "3_ann_4.wav"
    path.unlink()
    path.write_text("not audio")
    message = refused("fsdd", broken_fsdd, tmp_path / "out")
    assert "3_ann_4.wav: not a readable audio file" in message


def test_fsdd_unexpected_file_name_is_named(broken_fsdd: Path, tmp_path: Path) -> None:
    path = broken_fsdd / "recordings" / "3_ann_4.wav"
    path.rename(path.with_name("three_ann.wav"))
    assert "three_ann.wav: expected a file name" in refused("fsdd", broken_fsdd, tmp_path / "out")


def test_output_that_cannot_be_written_is_named(fsdd: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    assert "cannot be written" in refused("fsdd", fsdd, tmp_path / "out")


def test_published_fsdd_gives_the_official_test_set(shared_data: Path, tmp_path: Path) -> None:
    rows = prepare("fsdd", shared_data / "fsdd", tmp_path, *SMALL)
    check_strings(rows, tmp_path, one_speaker=True)
    assert [len(rows[f"{split}_single"]) for split in SPLITS] == [2520, 180, 300]


@pytest.fixture(scope="module")
def speech_commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpus in the original layout: two speakers per split, each with every digit."""
    folder = tmp_path_factory.mktemp("speech_commands")
    lists: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for digit, name in enumerate(WORDS):
        (folder / name).mkdir()
        for speaker in range(6):
            file = f"{speaker:08x}_nohash_0.wav"
            audio = word(0.3, 16000, 200 + 100 * digit + speaker, silence=0.35)
            soundfile.write(folder / name / file, audio, 16000)
            lists[speaker // 2].append(f"{name}/{file}")
    (folder / "validation_list.txt").write_text("\n".join([*lists[1], "bed/0_nohash_0.wav"]))
    (folder / "testing_list.txt").write_text("\n".join(lists[2]))
    return folder


def test_speech_commands_follow_the_official_split(speech_commands: Path, tmp_path: Path) -> None:
    rows = prepare("speechcommands_digits", speech_commands, tmp_path, *SMALL)
    check_strings(rows, tmp_path, one_speaker=False)
    assert [len(rows[f"{split}_single"]) for split in SPLITS] == [20, 20, 20]
    assert {row["speaker"][-1] for row in rows["test_single"]} == {"4", "5"}


def test_half_of_the_test_strings_join_whole_clips(speech_commands: Path, tmp_path: Path) -> None:
    rows = prepare("speechcommands_digits", speech_commands, tmp_path, *SMALL)
    for i, row in enumerate(rows["test_connected"]):
        digits = len(row["parts"])
        if i % 2 == 0:
            assert row["duration"] == pytest.approx(digits * 1.0)
        else:
            tight = 0.3 + 2 * 0.05
            assert digits * tight - 0.05 <= row["duration"] < digits * (tight + 0.5) + 0.55


def write_manifests(folder: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    for name, lines in rows.items():
        text = "".join(json.dumps(row) + "\n" for row in lines)
        (folder / f"{name}.jsonl").write_text(text)


def manifest_rows(folder: Path, split: str) -> list[dict[str, Any]]:
    rows = []
    for digit, name in enumerate(WORDS):
        soundfile.write(folder / f"{split}{digit}.flac", word(1.0, 16000, 300 + digit), 16000)
        rows.append(
            {
                "id": f"{split}{digit}",
                "audio": f"{split}{digit}.flac",
                "duration": 1.0,
                "text": name,
                "speaker": "s",
                "corpus": "speechcommands",
            }
        )
    return rows


def test_a_recording_is_used_once_with_its_first_word(tmp_path: Path) -> None:
    rows = {split: manifest_rows(tmp_path, split) for split in ("train", "dev", "test")}
    rows["train"].append({**rows["train"][3], "id": "again", "text": "nine"})
    rows["train"].append({**rows["train"][3], "corpus": "another", "text": "three hundred"})
    write_manifests(tmp_path, rows)
    result = run("speechcommands_digits", tmp_path, tmp_path / "out", *SMALL)
    assert result.returncode == 0
    assert "train.jsonl: dropped 1 rows" in result.stderr
    singles = (tmp_path / "out" / "train_single.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in singles] == list(WORDS)


def test_a_row_with_a_wrong_duration_is_dropped(tmp_path: Path) -> None:
    rows = {split: manifest_rows(tmp_path, split) for split in ("train", "dev", "test")}
    rows["dev"][7]["duration"] = 0.8
    write_manifests(tmp_path, rows)
    result = run("speechcommands_digits", tmp_path, tmp_path / "out", *SMALL)
    assert result.returncode == 1
    assert "dev.jsonl: dropped 1 rows" in result.stderr
    assert "valid split: no recording of: seven" in result.stderr


def test_bad_manifest_line_is_named(tmp_path: Path) -> None:
    rows = {split: manifest_rows(tmp_path, split) for split in ("train", "dev", "test")}
    del rows["train"][1]["speaker"]
    write_manifests(tmp_path, rows)
    message = refused("speechcommands_digits", tmp_path, tmp_path / "out")
    assert "train.jsonl:2: the field speaker" in message


def test_folder_without_speech_commands_is_refused(tmp_path: Path) -> None:
    message = refused("speechcommands_digits", tmp_path, tmp_path / "out")
    assert "expected the folders zero/ to nine/" in message


def test_english_manifests_give_splits_without_common_speakers(
    shared_data: Path, tmp_path: Path
) -> None:
    rows = prepare("speechcommands_digits", shared_data / "english", tmp_path, *SMALL)
    check_strings(rows, tmp_path, one_speaker=False)
    speakers = [{row["speaker"] for row in rows[f"{split}_single"]} for split in SPLITS]
    assert not (speakers[0] & speakers[1] or speakers[0] & speakers[2] or speakers[1] & speakers[2])
    assert soundfile.info(tmp_path / rows["test_connected"][0]["audio"]).samplerate == 16000


def test_trimming_keeps_the_word_and_a_margin() -> None:
    rate = 16000
    recording = word(0.3, rate, 440, silence=0.4).astype(np.float32)
    assert len(trim(recording, rate, 0.0)) == len(recording)
    tight = trim(recording, rate, 1.0)
    assert len(tight) / rate == pytest.approx(0.3 + 2 * 0.05, abs=0.02)
    assert np.square(tight).sum() == pytest.approx(np.square(recording).sum(), rel=0.01)
    assert len(tight) < len(trim(recording, rate, 0.5)) < len(recording)


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_recording_without_silence_is_not_trimmed(level: float) -> None:
    noise = level * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    assert len(trim(noise.astype(np.float32), 16000, 1.0)) == 16000


def test_joined_recordings_keep_their_levels() -> None:
    rate = 8000
    loud, quiet = ((gain * word(0.2, rate, 440)).astype(np.float32) for gain in (1.0, 0.1))
    style = Style(trims=(0.0, 0.0), pauses=(0.0, 0.25, 0.0), noisy_pauses=False)
    joined, _ = join([(loud, rate), (quiet, rate)], style, np.random.default_rng(0))
    assert len(joined) == len(loud) + 2000 + len(quiet)
    middle = slice(len(loud) // 4, len(loud) // 2)
    np.testing.assert_array_equal(joined[middle], loud[middle])
    assert not joined[len(loud) : len(loud) + 2000].any()
    np.testing.assert_array_equal(joined[len(loud) + 2000 :][middle], quiet[middle])


def test_noisy_pauses_match_the_noise_floor() -> None:
    rate = 8000
    recording = word(0.2, rate, 440, silence=0.2).astype(np.float32)
    style = Style(trims=(0.0,), pauses=(0.5, 0.0), noisy_pauses=True)
    joined, _ = join([(recording, rate)], style, np.random.default_rng(0))
    assert 0.5e-3 < joined[:4000].std() < 1.5e-3
