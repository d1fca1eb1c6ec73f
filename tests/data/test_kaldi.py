"""Kaldi folders, and the manifests and tables of other tools."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from asr_s2s.cli.main import app
from asr_s2s.data.manifest import cut_language, cut_speaker, cut_text, read_manifest
from asr_s2s.data.parallel import is_parallel
from asr_s2s.errors import ManifestError
from asr_s2s.evaluate.transcripts import read_transcripts


def record(path: Path, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(len(path.name)).normal(0, 0.1, round(16_000 * seconds))
    soundfile.write(path, samples, 16_000)
    return path


def kaldi(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("wav_scp", "wav.scp")).write_text(content)
    return folder


def prepare(source: Path, output: Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["prepare", str(source), "-o", str(output)])
    return result.exit_code, result.output


def test_a_kaldi_folder_becomes_a_manifest(tmp_path: Path) -> None:
    one, two = record(tmp_path / "a b.wav"), record(tmp_path / "two.flac")
    folder = kaldi(
        tmp_path / "data",
        wav_scp=f"u1 {one}\nu2 flac -c -d -s {two} |\r\n",
        text="u1 one two\nu2\tthree\n",
        utt2spk="u1 s1\nu2 s2\n",
    )
    assert prepare(folder, tmp_path / "m.jsonl")[0] == 0
    first, second = read_manifest(tmp_path / "m.jsonl")
    assert [(c.id, cut_text(c), cut_speaker(c), c.duration) for c in (first, second)] == [
        ("u1", "one two", "s1", 1.0),
        ("u2", "three", "s2", 1.0),
    ]


def test_segments_are_parts_of_recordings(tmp_path: Path) -> None:
    record(tmp_path / "data" / "long.wav", seconds=3)
    folder = kaldi(
        tmp_path / "data",
        wav_scp="long long.wav\n",
        text="u1 one\nu2 two\n",
        segments="u1 long 0.5 1.25\nu2 long 2.0 -1\n",
    )
    assert prepare(folder, tmp_path / "m.jsonl")[0] == 0
    spans = [(cut.start, cut.duration) for cut in read_manifest(tmp_path / "m.jsonl")]
    assert spans == [(0.5, 0.75), (2.0, 1.0)]


def test_lines_of_a_kaldi_folder_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    good = record(tmp_path / "good.wav")
    (tmp_path / "ran").unlink(missing_ok=True)
    folder = kaldi(
        tmp_path / "data",
        wav_scp=f"u1 {good}\nu2 touch {tmp_path}/ran |\nu3 {good}\nu4 missing.wav\nu5 |\n",
        text="u1 one\nu2 two\nu4 four\nu5 five\n",
    )
    code, output = prepare(folder, tmp_path / "m.jsonl")
    assert code == 1
    assert not (tmp_path / "ran").exists()  # commands are not run
    for number in (2, 3, 4, 5):
        assert f"wav.scp:{number}: " in output.replace("\n", "")
    assert [cut.id for cut in read_manifest(tmp_path / "m.jsonl")] == ["u1"]


@pytest.mark.parametrize("name", [".", "wav.scp"])
def test_where_a_manifest_is_expected_the_error_names_the_command(
    tmp_path: Path, name: str
) -> None:
    folder = kaldi(tmp_path / "data", wav_scp="", text="")
    for read in (read_manifest, read_transcripts):
        with pytest.raises(ManifestError) as caught:
            read(folder / name)
        assert f"asr-s2s prepare {folder}" in caught.value.fix


def test_nemo_manifests_are_read(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", seconds=2)
    rows = [
        {"audio_filepath": "a.wav", "text": "all", "duration": 2.0},
        {"audio_filepath": "a.wav", "text": "part", "offset": 0.5, "duration": 1.0, "lang": "de"},
    ]
    manifest = tmp_path / "m.json"
    for path in (manifest, manifest.with_suffix(".jsonl")):
        path.write_text("\ufeff" + "".join(json.dumps(row) + "\r\n" for row in rows), "utf-8")
        whole, part = read_manifest(path)
        assert not is_parallel(path)
        assert (whole.start, whole.duration, part.start, part.duration) == (0, 2.0, 0.5, 1.0)
        assert part.custom == {"lang": "de"}
    assert [entry.text for entry in read_transcripts(path)] == ["all", "part"]
    result = CliRunner().invoke(app, ["check", str(manifest)])
    assert "bad row" not in result.output


def test_tables_of_common_voice_are_read(tmp_path: Path) -> None:
    record(tmp_path / "clips" / "c1.wav")
    table = tmp_path / "train.tsv"
    table.write_text(
        '\ufeffclient_id\tpath\tsentence\tup_votes\tlocale\r\nabc\tc1.wav\tEin "Satz".\t2\tde\r\n',
        "utf-8",
    )
    (cut,) = read_manifest(table)
    assert (cut_text(cut), cut_speaker(cut), cut_language(cut)) == ('Ein "Satz".', "abc", "de")
    assert cut.duration == 1.0 and cut.custom == {"up_votes": "2"}
    assert not is_parallel(table)
    assert read_transcripts(table)[0].text == 'Ein "Satz".'


def test_columns_of_other_tools_in_own_manifests_are_kept(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    row = {"audio": "a.wav", "text": "x", "path": "p", "sentence": "s", "offset": 3, "duration": 1}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    (cut,) = read_manifest(tmp_path / "m.jsonl")
    assert cut.start == 0 and cut.custom == {"path": "p", "sentence": "s", "offset": 3}


def test_csv_with_ids_is_a_file_of_transcripts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('\ufeffid,text\r\nu1,"one, two"\r\n', "utf-8")
    (entry,) = read_transcripts(tmp_path / "t.csv")
    assert (entry.id, entry.text) == ("u1", "one, two")
