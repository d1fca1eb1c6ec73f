"""Search of folders for recordings."""

import os
from pathlib import Path

import pytest

from asr_s2s.audio.folder import search_folder


def test_recordings_are_found_and_other_files_counted(tmp_path: Path) -> None:
    names = ["b.WAV", "a.mp3", "deep/c.m2ts", "deep/notes.txt", "x.TXT", "README", "._b.WAV",
             ".hidden/d.wav", ".e.wav"]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nothing")
    (tmp_path / "linked").symlink_to(tmp_path / "deep")
    os.mkfifo(tmp_path / "pipe.wav")
    content = search_folder(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in content.recordings]
    assert found == ["a.mp3", "b.WAV", "deep/c.m2ts", "gone.wav"]
    assert dict(content.passed_over) == {
        ".txt": 2,
        "files without suffix": 1,
        "linked folders": 1,
    }
    assert content.errors == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read any folder")
def test_folders_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    (error,) = search_folder(tmp_path).errors
    assert error.where == str(tmp_path / "locked")
