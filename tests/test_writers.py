"""Transcript files: formats, names, and which recordings count as done."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from asr_s2s.errors import AudioError, UserError
from asr_s2s.output_index import INDEX_FILE
from asr_s2s.pipeline import Alternative, Segment, Transcript, Word
from asr_s2s.search.confidence import Evidence
from asr_s2s.search.guard import Reason
from asr_s2s.search.recognize import Remedy
from asr_s2s.writers import FORMATS, Writer, to_record, to_tsv

PARTS = (Segment(0.25, 1.5, "one\ttwo", -0.5), Segment(2.0, 3.0004, "three", -1.5))
RESULT = Transcript("a.wav", 4.0, "one\ttwo three", -1.0, PARTS)


@pytest.fixture
def recordings(sample: Path, tmp_path: Path) -> list[str]:
    """Five recordings, three of them named `same`."""
    paths = [tmp_path / name for name in ("x/same.wav", "x/other.wav", "y/same.wav", "y/same.mp3")]
    for path in [*paths, tmp_path / "z/same-2.wav"]:
        path.parent.mkdir(exist_ok=True)
        shutil.copy(sample, path)
    return [str(path) for path in [*paths, tmp_path / "z/same-2.wav"]]


def files(folder: Path) -> set[str]:
    """Names of the output files in a folder, that is, all but its hidden index."""
    return {path.name for path in folder.iterdir() if path.name != INDEX_FILE}


def test_a_record_has_all_fields_of_a_transcript() -> None:
    assert to_record(RESULT) == {
        "source": "a.wav",
        "duration": 4.0,
        "text": "one\ttwo three",
        "score": -1.0,
        "task": "transcribe",
        "language": None,
        "segments": [
            {"start": 0.25, "end": 1.5, "text": "one\ttwo", "score": -0.5},
            {"start": 2.0, "end": 3.0, "text": "three", "score": -1.5},
        ],
    }


def test_a_record_has_reason_and_remedy() -> None:
    fixed = Segment(0.0, 1.0, "one", -0.5, reason=Reason.gap, remedy=Remedy.pieces)
    unfixed = Segment(1.0, 2.0, "two", -3.0, reason=Reason.unsure)
    record = to_record(Transcript("a.wav", 2.0, "one two", -1.0, (fixed, unfixed)))
    assert record["segments"] == [
        {"start": 0.0, "end": 1.0, "text": "one", "score": -0.5}
        | {"reason": "gap", "remedy": "pieces"},
        {"start": 1.0, "end": 2.0, "text": "two", "score": -3.0, "reason": "unsure"},
    ]


def test_a_record_marks_words_outside_the_lexicon() -> None:
    evidence = Evidence(mean=-0.1, lowest=-0.2, ctc=-0.1, utterance=-0.1)
    words = tuple(
        Word(text, start, start + 0.5, 0.9, evidence, known)
        for text, start, known in (("one", 0.0, True), ("meet", 0.5, False))
    )
    segment = Segment(0.0, 1.0, "one meet", -0.5, words=words)
    known, unknown = to_record(Transcript("a.wav", 1.0, "", -0.5, (segment,)))["segments"][0][
        "words"
    ]
    assert "known" not in known
    assert unknown["known"] is False


def test_segments_without_text_are_only_in_json() -> None:
    noise = Segment(3.2, 4.0, "", 0.0, reason=Reason.unspoken, remedy=Remedy.cut)
    noisy = replace(RESULT, segments=(*PARTS, noise))
    for name, format in FORMATS.items():
        assert (format.content(noisy) == format.content(RESULT)) == (name != "json")
    assert to_record(noisy)["segments"][2]["text"] == ""


def test_alternatives_are_written_only_once() -> None:
    several = (Alternative("one", -1.0), Alternative("won", -2.0))
    part = Segment(0.0, 1.0, "one", -1.0, several)
    written = [{"text": "one", "score": -1.0}, {"text": "won", "score": -2.0}]
    short = to_record(Transcript("a.wav", 1.0, "one", -1.0, (part,), several))
    assert short["alternatives"] == written and "alternatives" not in short["segments"][0]
    long = to_record(Transcript("a.wav", 30.0, "one", -1.0, (part,)))
    assert long["segments"][0]["alternatives"] == written and "alternatives" not in long


def test_tsv_has_milliseconds_and_text() -> None:
    assert to_tsv(RESULT) == "start\tend\ttext\n250\t1500\tone two\n2000\t3000\tthree\n"


def test_all_formats_are_written_and_the_first_is_printed(
    recordings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Writer(["json", *FORMATS], recordings[:1], tmp_path / "out")
    writer.write(0, RESULT)
    assert files(tmp_path / "out") == {f"same.{format}" for format in FORMATS}
    assert json.loads(capsys.readouterr().out) == to_record(RESULT)
    assert (tmp_path / "out" / "same.txt").read_text() == "one\ttwo three\n"


def test_file_names_do_not_depend_on_which_recordings_are_written(
    recordings: list[str], tmp_path: Path
) -> None:
    for order in ([0, 1, 2, 3, 4], [3, 0], [4]):
        folder = tmp_path / f"out-{len(order)}"
        writer = Writer(["txt"], recordings, folder)
        for index in order:
            writer.write(index, RESULT)
        names = ["same.txt", "other.txt", "same-2.txt", "same-3.txt", "same-2-2.txt"]
        assert files(folder) == {names[index] for index in order}


def test_a_recording_is_done_if_all_its_files_exist_and_are_newer(
    recordings: list[str], tmp_path: Path
) -> None:
    writer = Writer(["txt", "srt"], recordings, tmp_path / "out")
    assert not writer.is_done(0)
    writer.write(0, RESULT)
    assert writer.is_done(0) and not writer.is_done(2)
    assert not Writer(["txt", "vtt"], recordings, tmp_path / "out").is_done(0)
    later = (tmp_path / "out" / "same.srt").stat().st_mtime + 10
    os.utime(recordings[0], (later, later))
    assert not writer.is_done(0)


def test_a_recording_with_a_warning_is_never_done(recordings: list[str], tmp_path: Path) -> None:
    writer = Writer(["txt"], recordings, tmp_path / "out")
    damaged = AudioError("a.wav", "is cut short", "Copy it again")
    writer.write(0, Transcript("a.wav", 4.0, "one", -1.0, PARTS, warning=damaged))
    assert (tmp_path / "out" / "same.txt").read_text() == "one\n"
    assert not writer.is_done(0)


def test_formats_that_cannot_share_standard_output_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Add --output-dir"):
        Writer(["txt", "srt"], ["a.wav"], None)
    with pytest.raises(UserError, match="Add --output-dir"):
        Writer(["srt"], ["a.wav", "b.wav"], None)
    Writer(["srt"], ["a.wav"], None)
    Writer(["srt"], ["a.wav", "b.wav"], tmp_path / "out")
