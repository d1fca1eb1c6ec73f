"""The index of an output folder: each output file belongs to one recording."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asr_s2s.errors import AudioError, UserError
from asr_s2s.output_index import INDEX_FILE
from asr_s2s.pipeline import Transcript
from asr_s2s.text_files import atomic_write, longest_name, partial_path
from asr_s2s.writers import Writer

RESULT = Transcript("a.wav", 1.0, "one", -1.0)


def record(path: Path, content: str = "audio") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return str(path)


def transcribe(sources: list[str], folder: Path, text: str, **options: bool) -> list[str]:
    """Write what is not done; returns the names of the files written."""
    writer = Writer(["txt"], sources, folder, **options)
    written = []
    for index, source in enumerate(sources):
        if not writer.is_done(index) and writer.claim(index):
            writer.check_place(index)
            writer.write(index, replace(RESULT, source=source, text=f"{text} {source}"))
            written.append(source)
    return written


def texts(folder: Path) -> dict[str, str]:
    found = folder.glob("[!.]*")
    return {path.name: path.read_text("utf-8", "surrogateescape") for path in found}


def test_recordings_of_the_same_name_in_two_runs_have_their_own_files(tmp_path: Path) -> None:
    one, other = record(tmp_path / "A" / "01.wav"), record(tmp_path / "B" / "01.wav")
    assert transcribe([one], tmp_path / "out", "first") == [one]
    assert transcribe([other], tmp_path / "out", "second") == [other]
    both = {"01.txt": f"first {one}\n", "01-2.txt": f"second {other}\n"}
    assert texts(tmp_path / "out") == both
    assert transcribe([other, one], tmp_path / "out", "third") == []
    assert texts(tmp_path / "out") == both


def test_recordings_may_be_added_between_runs(tmp_path: Path) -> None:
    first = record(tmp_path / "in" / "b" / "x.wav")
    transcribe([first], tmp_path / "out", "first")
    added = record(tmp_path / "in" / "a" / "x.wav")  # sorts before the first
    assert transcribe([added, first], tmp_path / "out", "second") == [added]
    assert texts(tmp_path / "out") == {
        "x.txt": f"first {first}\n",
        "x-2.txt": f"second {added}\n",
    }


def test_a_recording_that_was_replaced_by_an_older_file_is_not_done(tmp_path: Path) -> None:
    source = record(tmp_path / "a.wav")
    transcribe([source], tmp_path / "out", "first")
    record(Path(source), "other audio")
    os.utime(source, (0, 0))
    assert transcribe([source], tmp_path / "out", "second") == [source]
    assert texts(tmp_path / "out") == {"a.txt": f"second {source}\n"}


def test_recordings_and_outputs_may_be_moved_together(tmp_path: Path) -> None:
    transcribe([record(tmp_path / "old" / "in" / "a.wav")], tmp_path / "old" / "out", "first")
    (tmp_path / "old").rename(tmp_path / "new")
    moved = str(tmp_path / "new" / "in" / "a.wav")
    assert transcribe([moved], tmp_path / "new" / "out", "second") == []


def test_names_are_free_again_when_their_files_were_removed(tmp_path: Path) -> None:
    transcribe([record(tmp_path / "A" / "01.wav")], tmp_path / "out", "first")
    (tmp_path / "out" / "01.txt").unlink()
    other = record(tmp_path / "B" / "01.wav")
    transcribe([other], tmp_path / "out", "second")
    assert texts(tmp_path / "out") == {"01.txt": f"second {other}\n"}


def test_files_of_unknown_origin_are_replaced_only_if_allowed(tmp_path: Path) -> None:
    source = record(tmp_path / "in" / "a.wav")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("of an earlier version, or by hand")
    transcribe([source], tmp_path / "out", "first")
    assert texts(tmp_path / "out").keys() == {"a.txt", "a-2.txt"}
    assert texts(tmp_path / "out")["a.txt"].startswith("of an earlier")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("to be replaced")
    transcribe([source], tmp_path / "out", "first", overwrite=True)
    assert texts(tmp_path / "out") == {"a.txt": f"first {source}\n"}


def test_standard_input_is_another_recording_each_time(tmp_path: Path) -> None:
    for text in ("first", "second"):
        transcribe(["-"], tmp_path, text)
    assert texts(tmp_path) == {"stdin.txt": "first -\n", "stdin-2.txt": "second -\n"}
    transcribe(["-"], tmp_path, "third", overwrite=True)
    assert "third -\n" in texts(tmp_path).values() and len(texts(tmp_path)) == 2


def test_outputs_beside_recordings_are_replaced_only_if_unchanged(tmp_path: Path) -> None:
    source = record(tmp_path / "a.wav")
    transcribe([source], tmp_path, "first")
    record(Path(source), "other audio")
    assert transcribe([source], tmp_path, "second") == [source]
    (tmp_path / "a.txt").write_text("corrected by hand")
    assert transcribe([source], tmp_path, "third") == []  # newer than the recording
    record(Path(source), "yet another")
    with pytest.raises(UserError, match=r"a\.txt"):
        transcribe([source], tmp_path, "fourth")
    assert (tmp_path / "a.txt").read_text() == "corrected by hand"


def test_incomplete_outputs_are_written_again(tmp_path: Path) -> None:
    source = record(tmp_path / "a.wav")
    damaged = replace(RESULT, warning=AudioError("a.wav", "is cut short", "Copy it again"))
    for _ in range(2):
        writer = Writer(["txt"], [source], tmp_path)  # also beside the recording
        assert not writer.is_done(0)
        writer.check_place(0)
        writer.write(0, damaged)


def test_a_name_is_reserved_until_its_process_ends(tmp_path: Path) -> None:
    source, other = record(tmp_path / "A" / "a.wav"), record(tmp_path / "B" / "b.wav")
    same_name = record(tmp_path / "B" / "a.wav")
    script = (
        "import sys; from asr_s2s.writers import Writer; from pathlib import Path\n"
        "writer = Writer(['txt'], sys.argv[2:], Path(sys.argv[1])); assert writer.claim(0)\n"
        "print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "out"), source]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"\n"
    writer = Writer(["txt"], [source, other, same_name], tmp_path / "out")
    assert [writer.claim(index) for index in range(3)] == [False, True, True]
    process.kill()
    process.communicate()
    assert writer.claim(0)
    for index in range(3):
        writer.write(index, RESULT)
    assert texts(tmp_path / "out").keys() == {"a.txt", "b.txt", "a-2.txt"}


def test_a_line_of_the_index_that_was_cut_is_ignored(tmp_path: Path) -> None:
    one, other = record(tmp_path / "in" / "a.wav"), record(tmp_path / "in" / "b.wav")
    transcribe([one], tmp_path / "out", "first")
    with (tmp_path / "out" / INDEX_FILE).open("ab") as file:
        file.write(b'[1]\n{"name": 1}\n{"name": "x", "sou')
    assert transcribe([one, other], tmp_path / "out", "second") == [other]
    assert transcribe([one, other], tmp_path / "out", "third") == []


def test_names_of_any_length_and_bytes_give_legal_names(tmp_path: Path) -> None:
    longest = longest_name(tmp_path)
    stems = [
        b"a" * (longest - 4),
        b"a" * (longest - 5) + b"b",
        "\N{SNOWMAN}".encode() * ((longest - 4) // 3),
        b"bad\xff",
        b"line\ntab\tbell\a",
    ]
    sources = [record(tmp_path / "in" / os.fsdecode(stem + b".wav")) for stem in stems]
    assert transcribe(sources, tmp_path / "out", "first") == sources
    assert transcribe(sources, tmp_path / "out", "second") == []
    names = [os.fsencode(path.name) for path in (tmp_path / "out").glob("[!.]*")]
    assert len(names) == len(stems) and b"bad\xff.txt" in names
    for source in sources:
        (found,) = [text for text in texts(tmp_path / "out").values() if source in text]
        assert found == f"first {source}\n"


def test_temporary_names_fit(tmp_path: Path) -> None:
    path = tmp_path / ("a" * longest_name(tmp_path))
    assert partial_path(tmp_path / "a.txt").name == ".a.txt.partial"
    with atomic_write(path) as file:
        file.write(b"content")
    assert path.read_bytes() == b"content"
    assert len(list(tmp_path.iterdir())) == 1


def test_json_of_a_name_that_is_not_utf8_is_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"bad\xff.wav")
    Writer(["json"], [name], None).write(0, replace(RESULT, source=name))
    line = capsys.readouterr().out
    line.encode("utf-8")  # no lone surrogates
    assert os.fsencode(json.loads(line)["source"]) == b"bad\xff.wav"


def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = record(tmp_path / "a.wav")
    writer = Writer(["txt", "json"], [source], tmp_path / "out")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("asr_s2s.output_index.OutputIndex._append", fail)
        with pytest.raises(UserError, match="No space left"):
            writer.write(0, RESULT)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [INDEX_FILE]
    writer.write(0, RESULT)
    assert Writer(["txt", "json"], [source], tmp_path / "out").is_done(0)
