import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, MultiCut, Recording

from asr_s2s.data.manifest import (
    audio_file,
    cut_source,
    cut_speaker,
    cut_text,
    iter_manifest,
    read_cut_audio,
    read_manifest,
    write_manifest,
)
from asr_s2s.errors import AudioError, ManifestError


def record(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1) -> Path:
    """Write a recording of noise of rising level, so that its parts differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).normal(size=(round(seconds * rate), channels))
    soundfile.write(path, 0.1 * samples * np.linspace(0.1, 1, len(samples))[:, None], rate)
    return path


def write_rows(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_json_lines_tsv_and_csv_give_the_same_cuts(tmp_path):
    record(tmp_path / "wav" / "a.wav")
    rows = write_rows(
        tmp_path / "m.jsonl",
        {"audio": "wav/a.wav", "text": "one, two", "speaker": "s1", "duration": 1.0, "mood": "x"},
    )
    tsv = tmp_path / "m.tsv"
    tsv.write_text("audio\ttext\tspeaker\tduration\tmood\nwav/a.wav\tone, two\ts1\t1.0\tx\n")
    table = tmp_path / "m.csv"
    table.write_text('audio,text,speaker,duration,mood\nwav/a.wav,"one, two",s1,1.0,x\n')
    (cut,) = read_manifest(rows)
    assert cut.id == "a"
    assert (cut_text(cut), cut_speaker(cut)) == ("one, two", "s1")
    assert cut.custom == {"mood": "x"}
    assert cut_source(cut) == str(tmp_path / "wav" / "a.wav")
    assert list(read_manifest(tsv)) == list(read_manifest(table)) == [cut]


def test_recordings_with_a_given_duration_are_not_opened(tmp_path):
    row = {"audio": "not/there.flac", "text": "hello", "duration": 2.5}
    (cut,) = read_manifest(write_rows(tmp_path / "m.jsonl", row))
    assert (cut.start, cut.duration, cut.sampling_rate) == (0.0, 2.5, 16_000)
    with pytest.raises(AudioError, match="there is no such file"):
        read_cut_audio(cut)
    (cut,) = read_manifest(write_rows(tmp_path / "m.jsonl", {**row, "sample_rate": 44_100}))
    assert (cut.sampling_rate, cut.num_samples) == (44_100, 110_250)


def test_recordings_without_duration_are_measured(tmp_path):
    record(tmp_path / "a.flac", seconds=1.5, rate=44_100, channels=2)
    (cut,) = read_manifest(write_rows(tmp_path / "m.jsonl", {"audio": "a.flac", "text": "hi"}))
    assert isinstance(cut, MultiCut)
    assert (cut.duration, cut.sampling_rate, cut.channel) == (1.5, 44_100, [0, 1])
    samples = read_cut_audio(cut)
    assert (samples.dtype, samples.shape) == (np.float32, (24_000,))


def test_measuring_replaces_a_given_duration(tmp_path):
    record(tmp_path / "a.wav", seconds=1.5)
    row = {"audio": "a.wav", "text": "hi", "duration": 3.0}
    (cut,) = iter_manifest(write_rows(tmp_path / "m.jsonl", row), measure=True)
    assert cut.duration == 1.5


def test_rows_with_a_start_are_parts_of_a_recording(tmp_path):
    whole = soundfile.read(record(tmp_path / "talk.wav", seconds=2.0), dtype="float32")[0]
    parts = read_manifest(
        write_rows(
            tmp_path / "m.jsonl",
            {"audio": "talk.wav", "text": "one", "start": 0, "duration": 0.5},
            {"audio": "talk.wav", "text": "two", "start": 0.5, "duration": 1.0},
            {"audio": "talk.wav", "text": "three", "start": 1.5},
        )
    )
    assert [cut.id for cut in parts] == ["talk", "talk-2", "talk-3"]
    assert [cut.recording.duration for cut in parts] == [2.0, 2.0, 2.0]
    np.testing.assert_array_equal(np.concatenate([read_cut_audio(cut) for cut in parts]), whole)


def test_files_of_the_same_name_get_different_ids(tmp_path):
    rows = [{"audio": f"{d}/1.wav", "text": "x", "duration": 1} for d in "abc"]
    manifest = read_manifest(write_rows(tmp_path / "m.jsonl", *rows))
    assert [cut.id for cut in manifest] == ["1", "1-2", "1-3"]


def test_quotation_marks_in_a_tsv_are_part_of_the_text(tmp_path):
    path = tmp_path / "m.tsv"
    path.write_text('audio\ttext\tduration\na.wav\t"hello" he said\t1\nb.wav\t"oh\t1\n')
    assert [cut_text(cut) for cut in read_manifest(path)] == ['"hello" he said', '"oh']


def test_byte_order_mark_crlf_and_blank_lines_are_ignored(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"audio": "a.wav", "text": "x", "duration": 1}\r\n\r\n'
        + '{"audio": "b.wav", "text": "a\u2028b", "duration": 1}\r\n'.encode()
    )
    assert [cut_text(cut) for cut in read_manifest(path)] == ["x", "a\u2028b"]


@pytest.mark.parametrize(
    ("name", "header", "rows"),
    [
        ("m.tsv", "audio\ttext\tduration", ["a.wav\tx\ry\t1", "b.wav\tz\t1"]),
        ("m.csv", "audio,text,duration", ['a.wav,"x\ry",1', "b.wav,z,1"]),
    ],
)
def test_a_lone_carriage_return_does_not_end_a_line_of_a_table(tmp_path, name, header, rows):
    path = tmp_path / name
    for end in "\n", "\r\n":
        path.write_bytes("".join(line + end for line in ["", header, "", *rows]).encode())
        assert [cut_text(cut) for cut in read_manifest(path)] == ["x\ry", "z"]


def test_the_error_of_a_json_array_shows_an_example_of_both_kinds(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('[{"source": "a", "target": "b"}]')
    with pytest.raises(ManifestError, match=r'\{"audio": .*\} or \{"source": .*\}'):
        read_manifest(path)


def test_ids_and_speakers_may_be_numbers(tmp_path):
    row = {"audio": "a.wav", "text": "x", "duration": 1, "id": 0, "speaker": 1272}
    (cut,) = read_manifest(write_rows(tmp_path / "m.jsonl", row))
    assert (cut.id, cut_speaker(cut)) == ("0", "1272")


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_a_written_manifest_can_be_moved_with_its_folder(tmp_path, name):
    inside = record(tmp_path / "here" / "wav" / "a.wav")
    outside = record(tmp_path / "b.wav", channels=2)
    rows = [{"audio": str(path), "text": path.stem} for path in (inside, outside)]
    cuts = read_manifest(write_rows(tmp_path / "m.jsonl", *rows))
    write_manifest(cuts, tmp_path / "here" / name)
    assert list(read_manifest(tmp_path / "here" / name)) == list(cuts)
    shutil.move(tmp_path / "here", tmp_path / "there")
    first, second = read_manifest(tmp_path / "there" / name)
    assert audio_file(first) == str(tmp_path / "there" / "wav" / "a.wav")
    assert audio_file(second) == str(outside)


def test_the_same_cuts_give_the_same_file(tmp_path):
    cuts = read_manifest(
        write_rows(tmp_path / "m.jsonl", {"audio": "a.wav", "text": "ü", "duration": 1})
    )
    write_manifest(cuts, tmp_path / "one.jsonl.gz")
    write_manifest(cuts, tmp_path / "two.jsonl.gz")
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()


def test_a_failed_write_keeps_the_old_manifest(tmp_path):
    path = write_rows(tmp_path / "m.jsonl", {"audio": "a.wav", "text": "x", "duration": 1})
    before = path.read_bytes()

    def cuts():
        yield from read_manifest(path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_manifest(cuts(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ManifestError, match=r"\.jsonl or \.jsonl\.gz"):
        write_manifest([], tmp_path / "m.json")
    with pytest.raises(ManifestError, match="cannot be written"):
        write_manifest([], path / "m.jsonl")


def test_paths_of_lhotse_cuts_are_relative_to_the_manifest(tmp_path):
    record(tmp_path / "wav" / "a.wav", seconds=2.0)
    cut = Recording.from_file(tmp_path / "wav" / "a.wav", relative_path_depth=2).to_cut()
    CutSet([cut.truncate(offset=0.5, duration=1.0)]).to_file(tmp_path / "cuts.jsonl.gz")
    (part,) = read_manifest(tmp_path / "cuts.jsonl.gz")
    assert audio_file(part) == str(tmp_path / "wav" / "a.wav")
    assert read_cut_audio(part).shape == (16_000,)
    assert cut_text(part) == ""
    assert cut_speaker(part) is None


def test_mixed_and_in_memory_cuts_are_read_with_lhotse(tmp_path):
    stereo = record(tmp_path / "a.wav", rate=8_000, channels=2)
    left = MonoCut("left", 0.0, 1.0, channel=0, recording=Recording.from_file(stereo))
    mixed = left.append(left)
    in_memory = left.move_to_memory()
    for cut, seconds in (left, 1), (mixed, 2), (in_memory, 1):
        assert audio_file(cut) is None
        samples = read_cut_audio(cut)
        assert (samples.dtype, samples.shape) == (np.float32, (16_000 * seconds,))
    write_manifest([mixed], tmp_path / "mixed.jsonl")
    np.testing.assert_allclose(
        read_cut_audio(next(iter(read_manifest(tmp_path / "mixed.jsonl")))), read_cut_audio(mixed)
    )
    stereo.unlink()
    with pytest.raises(AudioError, match="cut left: lhotse cannot read its audio"):
        read_cut_audio(left)


GOOD = '{"audio": "a.wav", "text": "x", "duration": 1}\n'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"audio": "b.wav", ', "this line is not JSON"),
        ("[1, 2]", "expected a JSON object, found '[1, 2]'"),
        ('{"path": "b.wav", "text": "x"}', "there is no column 'audio'; found path, text"),
        ('{"audio": "b.wav", "sentence": "x"}', "no column 'text'; found audio, sentence"),
        ('{"audio": 5, "text": "x"}', "audio: expected a path, found 5"),
        ('{"audio": "b.wav", "text": null}', "text: expected text, found None"),
        (
            '{"audio": "b.wav", "text": "x", "duration": 0}',
            "duration: expected a positive number of",
        ),
        ('{"audio": "b.wav", "text": "x", "duration": NaN}', "at most 1,000,000, found nan"),
        ('{"audio": "b.wav", "text": "x", "duration": Infinity}', "at most 1,000,000, found inf"),
        ('{"audio": "b.wav", "text": "x", "duration": 1e300}', "at most 1,000,000, found 1e+300"),
        ('{"audio": "b.wav", "text": "x", "start": 1e300}', "to 1,000,000, found 1e+300"),
        (
            '{"audio": "b.wav", "text": "x", "duration": 1, "sample_rate": 0.1}',
            "sample_rate: expected a rate from 4,000 to 768,000 Hz, found 0.1",
        ),
        ('{"audio": "b.wav", "text": "x", "duration": 1, "sample_rate": 1e300}', "found 1e+300"),
        ('{"audio": "\\ud800.wav", "text": "x", "duration": 1}', r"'audio' contains '\ud800'"),
        ('{"audio": "b.wav", "text": "\\udfff", "duration": 1}', r"'text' contains '\udfff'"),
        ('{"audio": "b.wav", "text": "x", "duration": 1, "id": "\\ud800"}', "'id' contains"),
        (
            '{"audio": "b.wav", "text": "x", "duration": 1, "moods": ["\\ud800"]}',
            "'moods' contains",
        ),
        ('{"audio": "b.wav", "text": "x", "duration": "long"}', "found 'long'"),
        ('{"audio": "b.wav", "text": "x", "duration": true}', "found True"),
        (
            '{"audio": "b.wav", "text": "x", "start": -1}',
            "start: expected a number of seconds from 0",
        ),
        ('{"audio": "b.wav", "text": "x", "speaker": ["s"]}', "speaker: expected text"),
        ('{"audio": "b.wav", "text": "x"}', "b.wav: there is no such file"),
        ('{"type": "MonoCut", "id": "z"}', "this lhotse cut is incomplete"),
    ],
)
def test_the_error_of_a_bad_row_names_its_line(tmp_path, line, problem):
    path = tmp_path / "m.jsonl"
    path.write_text(GOOD + line + "\n" + GOOD.replace("a.wav", "c.wav"))
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert caught.value.where == f"{path}:2"
    assert problem in caught.value.problem
    assert [getattr(item, "id", None) for item in iter_manifest(path)] == ["a", None, "c"]


@pytest.mark.parametrize(("start", "duration"), [(2.0, 1.0), (0.5, 1.0), (1.5, None)])
def test_a_part_outside_its_recording_is_refused(tmp_path, start, duration):
    record(tmp_path / "a.wav")
    row = {"audio": "a.wav", "text": "x", "start": start, "duration": duration}
    with pytest.raises(ManifestError, match=r"lies outside its recording \(1.00 s\)"):
        read_manifest(write_rows(tmp_path / "m.jsonl", row))


@pytest.mark.parametrize(
    ("name", "content", "where", "problem"),
    [
        ("m.jsonl", b"", "", "it is empty"),
        ("m.tsv", b"\r\n\n", "", "it is empty"),
        ("m.json", b"[\n  " + GOOD.encode() + b"]\n", "", "this is a JSON array"),
        ("m.tsv", b"audio\ttext\n", "", "it contains no utterances"),
        ("m.tsv", b"file\ttext\na.wav\tx\n", ":1", "there is no column 'audio'; found file, text"),
        ("m.tsv", b"audio\ttext\na.wav\n", ":2", "expected the 2 columns of the header, found 1"),
        ("m.tsv", b"audio\ttext\tduration\na.wav\tx\tz\n", ":2", "found 'z'"),
        ("m.csv", b'audio,text\n"a.wav,x\n', ":2", "found 1"),
        ("m.csv", b"audio,text\na.wav,x\ry\n", ":2", "a carriage return in a value"),
        ("m.jsonl", GOOD.encode() + b'{"audio": "\xff"}\n', ":2", "this is not UTF-8 text"),
        (
            "m.jsonl.gz",
            gzip.compress(GOOD.encode(), mtime=0)[:-9],
            "",
            "the compressed file is damaged",
        ),
        ("m.jsonl.gz", b"\x1f\x8b" + bytes(40), "", "cannot be read"),
    ],
)
def test_an_unusable_manifest_gives_one_error(tmp_path, name, content, where, problem):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert caught.value.where == f"{path}{where}"
    assert problem in caught.value.problem


def test_a_missing_manifest_and_a_folder_are_errors(tmp_path):
    with pytest.raises(ManifestError, match="there is no such manifest"):
        read_manifest(tmp_path / "m.jsonl")
    with pytest.raises(ManifestError, match=r"this is a folder.*asr-s2s prepare"):
        read_manifest(tmp_path)


def test_real_recordings_are_read_from_their_manifest(shared_data):
    items = iter_manifest(shared_data / "english" / "dev.jsonl")
    cuts = [cut for cut, _ in zip(items, range(20), strict=False)]
    for cut in cuts:
        assert len(read_cut_audio(cut)) / 16_000 == pytest.approx(cut.duration, abs=0.001)
        assert cut_speaker(cut)
        assert cut_text(cut)


def test_repeated_ids_are_numbered_by_read_and_errors_in_iter(tmp_path):
    path = tmp_path / "m.jsonl"
    row = '{"audio": "a.wav", "text": "x", "id": "%s", "duration": 1}\n'
    path.write_text("".join(row % name for name in ("a", "a-2", "a", "a")))
    assert [cut.id for cut in read_manifest(path)] == ["a", "a-2", "a-3", "a-4"]
    items = list(iter_manifest(path))
    assert [isinstance(item, ManifestError) for item in items] == [False, False, True, True]
    assert "the id 'a' is already used" in str(items[2])
