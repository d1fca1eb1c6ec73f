"""The commands `asr-s2s check` and `asr-s2s prepare`."""

import gzip
import json
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from asr_s2s.cli.main import app
from asr_s2s.data.manifest import audio_file, cut_speaker, cut_text, read_manifest
from asr_s2s.errors import ConfigError, ManifestError, ModelError, TextError
from asr_s2s.text.tokenizer import CharacterTokenizer


def record(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = list(str(path).encode())
    samples = np.random.default_rng(seed).normal(scale=0.1, size=round(16_000 * seconds))
    soundfile.write(path, samples, 16_000)
    return path


def write_manifest(folder: Path, name: str, *rows: dict[str, object]) -> Path:
    """Write a manifest and its recordings, except of rows that are marked `missing`."""
    for row in rows:
        if not row.pop("missing", False):
            record(folder / str(row["audio"]))
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def asr_s2s(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_check_of_good_manifests_prints_a_summary(tmp_path):
    train = write_manifest(tmp_path, "train.jsonl", {"audio": "a.wav", "text": "hello"})
    result = asr_s2s("check", train)
    assert (result.exit_code, result.stdout) == (0, "1 utterance, 0.00 hours, 0 findings\n")


def test_check_groups_findings_by_kind_with_their_fixes(tmp_path):
    rows = [{"audio": f"{i}.wav", "text": "x", "duration": 3.0} for i in range(12)]
    rows += [{"audio": "m.wav", "text": "x", "duration": 1.0, "missing": True}, {"audio": "n.wav"}]
    train = write_manifest(tmp_path, "train.jsonl", *rows)
    result = asr_s2s("check", train)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "bad row (1)" in lines
    assert f"  {train}:14: there is no column 'text'; found audio. Name the" in result.stdout
    assert "wrong duration (12)" in lines
    assert "  and 2 more; --all prints them" in lines
    assert sum("found 0.50 s in its file" in line for line in lines) == 10
    assert f"  {train}: m: {tmp_path}/m.wav: there is no such file. Check the path." in lines
    assert lines[-1] == "13 utterances, 0.01 hours, 14 findings"
    everything = asr_s2s("check", train, "--all").stdout
    assert everything.count("found 0.50 s in its file") == 12


def test_check_as_json_prints_one_object_per_finding(tmp_path):
    train = write_manifest(tmp_path, "train.jsonl", {"audio": "a.wav", "text": "ab"})
    valid = write_manifest(tmp_path, "valid.jsonl", {"audio": "b.wav", "text": "ac"})
    result = asr_s2s("check", train, valid, "--format", "json")
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    finding = json.loads(line)
    assert finding.pop("fix")
    assert finding == {
        "kind": "unknown characters",
        "where": f"{valid}: b",
        "problem": "'c' not in the training texts",
    }
    assert "2 utterances, 0.00 hours, 1 finding" in result.stderr


def test_check_reads_manifests_and_limits_from_a_recipe(tmp_path):
    (tmp_path / "data").mkdir()
    write_manifest(tmp_path / "data", "t1.jsonl", {"audio": "a.wav", "text": "Ab", "speaker": 1})
    write_manifest(tmp_path / "data", "t2.jsonl", {"audio": "b.wav", "text": "b", "speaker": 1})
    write_manifest(tmp_path / "data", "v.jsonl", {"audio": "c.wav", "text": "aB", "speaker": 2})
    recipe = tmp_path / "recipe.yaml"
    settings = {
        "data": {"train": ["data/t1.jsonl", "data/t2.jsonl"], "valid": ["data/v.jsonl"]},
        "text": {"normalizer": "lowercase"},
    }
    recipe.write_text(yaml.safe_dump(settings))
    result = asr_s2s("check", "--config", recipe)
    assert (result.exit_code, result.stdout) == (0, "3 utterances, 0.00 hours, 0 findings\n")

    settings["data"]["max_seconds"] = 0.4
    settings["speech_encoder"] = {"time_reduction": 64}
    recipe.write_text(yaml.safe_dump(settings))
    lines = asr_s2s("check", "--config", recipe).stdout.splitlines()
    assert "too long (3)" in lines
    assert "text too long (2)" in lines
    assert any(line.startswith("  valid: c: ") for line in lines)


def test_check_uses_the_vocabulary_of_a_model_folder(tmp_path):
    train = write_manifest(tmp_path, "train.jsonl", {"audio": "a.wav", "text": "hello"})
    (tmp_path / "config.yaml").write_text("format: 1\n")
    CharacterTokenizer("helo").save(tmp_path)
    assert asr_s2s("check", train, "--model", tmp_path).exit_code == 0
    CharacterTokenizer("helf").save(tmp_path)
    assert (
        "'o' not in the model's vocabulary" in asr_s2s("check", train, "--model", tmp_path).stdout
    )


def test_check_accepts_the_name_of_a_shipped_model(tmp_path):
    train = write_manifest(tmp_path, "train.jsonl", {"audio": "a.wav", "text": "One"})
    result = asr_s2s("check", train, "--model", "digits")
    assert (result.exit_code, result.stderr) == (0, "")
    assert isinstance(asr_s2s("check", train, "--model", "digit").exception, ModelError)


def test_check_without_a_recipe_uses_normalizer_and_time_reduction_of_the_model(tmp_path):
    train = write_manifest(tmp_path, "train.jsonl", {"audio": "a.wav", "text": "HELP"})
    CharacterTokenizer("help").save(tmp_path)
    settings = {"text": {"normalizer": "lowercase"}, "speech_encoder": {"time_reduction": 16}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    assert asr_s2s("check", train, "--model", tmp_path).exit_code == 0  # 51 frames become 4

    settings["speech_encoder"]["time_reduction"] = 32  # 51 frames become 2
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    assert "text too long (1)" in asr_s2s("check", train, "--model", tmp_path).stdout
    settings["features"] = {"edge_frames": 32}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    assert asr_s2s("check", train, "--model", tmp_path).exit_code == 0


def test_check_explains_why_texts_are_not_compared_with_their_audio(tmp_path):
    train = write_manifest(tmp_path, "train.jsonl", {"audio": "a.wav", "text": "hello"})
    note = "texts are not compared with the length of their audio"
    assert asr_s2s("check", train).stderr == (
        f"Without --config or --model, {note}: the number of memory frames is unknown.\n"
    )
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("text: {tokenizer: sentencepiece}\n")
    assert asr_s2s("check", train, "--config", recipe).stderr == (
        f"Without --model, {note}: the number of tokens is unknown.\n"
    )


def test_check_rejects_a_manifest_named_twice(tmp_path):
    train = write_manifest(tmp_path, "train.jsonl", {"audio": "a.wav", "text": "hello"})
    again = tmp_path / "." / ".." / tmp_path.name / "train.jsonl"
    for second in train, again:
        result = asr_s2s("check", train, second)
        assert isinstance(result.exception, ManifestError)
        assert str(result.exception) == f"{second}: this manifest is named twice. Name it once."


def write_parallel_text(folder: Path, name: str, *pairs: tuple[str, str]) -> Path:
    """Write two files of parallel text, and return the path of both, such as `train.{en,de}`."""
    for suffix, side in ("en", 0), ("de", 1):
        lines = "".join(pair[side] + "\n" for pair in pairs)
        (folder / f"{name}.{suffix}").write_text(lines)
    return folder / f"{name}.{{en,de}}"


BEES = ("The bees fly.", "Die Bienen fliegen."), ("The trees bend.", "Die Eichen biegen sich.")


def test_check_of_good_parallel_text_prints_a_summary(tmp_path):
    result = asr_s2s("check", write_parallel_text(tmp_path, "train", *BEES))
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "2 sentence pairs, 0 findings\n",
        "",
    )


def test_check_reports_problems_of_parallel_text(tmp_path):
    train = write_parallel_text(tmp_path, "train", *BEES, ("The end", ""))
    table = tmp_path / "test.tsv"
    table.write_text("The bees fly.\tBienen fliegen.\nDie Bienen\nBees fly?\tFliegen die Bienen?\n")
    result = asr_s2s("check", train, table)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert f"  {train}: train:3: the target is empty. Write it, or leave the pair out." in lines
    assert any(line.startswith(f"  {table}:2: expected source and target") for line in lines)
    assert any(f"  {table}: test:1: {train}: train:1 has the same source." in x for x in lines)
    assert any(f"  {table}: test:3: '?' 'B' of the source not in" in line for line in lines)
    assert lines[-1] == "5 sentence pairs, 5 findings"


def test_check_reads_recordings_and_parallel_text_from_one_recipe(tmp_path):
    (tmp_path / "data").mkdir()
    write_parallel_text(tmp_path / "data", "a", *BEES)
    write_parallel_text(tmp_path / "data", "b", BEES[0])
    write_parallel_text(tmp_path / "data", "v", ("THE BEE!", "die biene"))
    write_manifest(tmp_path / "data", "t.jsonl", {"audio": "a.wav", "text": "biene"})
    recipe = tmp_path / "recipe.yaml"
    settings = {
        "data": {
            "train": ["data/a.{en,de}", "data/t.jsonl", "data/b.{en,de}"],
            "valid": ["data/v.{en,de}"],
        },
        "text": {"normalizer": "lowercase"},
        "source_text": {"normalizer": "english"},
    }
    recipe.write_text(yaml.safe_dump(settings))
    result = asr_s2s("check", "--config", recipe)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "duplicate (1)",
        f"  train: {tmp_path}/data/b.{{en,de}}: b:1: the same pair as "
        f"train: {tmp_path}/data/a.{{en,de}}: a:1. Keep one of them.",
        "",
        "1 utterance, 0.00 hours, 4 sentence pairs, 1 finding",
    ]
    assert result.stderr == (
        "Without --model, sentences are not compared with data.max_tokens: the number of tokens is "
        "unknown.\n"
    )

    changes = "--set", "data.train=data/a.{en,de}", "--set", "source_text.normalizer=verbatim"
    result = asr_s2s("check", "--config", recipe, *changes)
    assert (
        "  valid: v:1: '!' 'B' 'E' 'H' of the source not in the training sources" in result.stdout
    )
    assert result.stdout.endswith("\n3 sentence pairs, 1 finding\n")


def test_check_counts_tokens_with_the_vocabulary_of_a_model(tmp_path):
    train = write_parallel_text(tmp_path, "train", *BEES)
    (tmp_path / "config.yaml").write_text("format: 1\n")
    CharacterTokenizer("".join(target for _, target in BEES)).save(tmp_path)
    (tmp_path / "recipe.yaml").write_text("data: {max_tokens: 20}\n")
    options = "--config", tmp_path / "recipe.yaml", "--model", tmp_path
    result = asr_s2s("check", train, *options)
    expected = "train:2: 24 tokens of the target, including the end token, exceed the 20 of data"
    assert expected in result.stdout
    enough = *options, "--set", "data.max_tokens=24"
    assert asr_s2s("check", train, *enough).exit_code == 0
    assert asr_s2s("check", train, *enough, "--set", "data.batch_tokens=23").exit_code == 1


def test_check_reports_languages_that_training_would_reject(tmp_path):
    table = tmp_path / "train.tsv"
    rows = "The bees fly.\tDie Bienen fliegen.\tde\nThe trees bend.\tGli alberi si piegano.\tit\n"
    table.write_text(f"source\ttarget\tlanguage\n{rows}Bend the trees.\tDie Eichen biegen.\t\n")
    (tmp_path / "recipe.yaml").write_text("text: {languages: [de, fr]}\n")
    result = asr_s2s("check", table, "--config", tmp_path / "recipe.yaml")
    assert result.exit_code == 1
    found = [line for line in result.stdout.splitlines() if "text.languages" in line]
    fix = "Give one of text.languages: de, fr; training refuses it."
    assert found == [
        f"  {table}: train:3: it is not a language of the model. {fix}",
        f"  {table}: train:4: no language is given. {fix}",
    ]


RIVER = "The quiet river bends twice before it reaches the old mill."


def test_check_reports_overlap_with_held_out_transcripts(tmp_path):
    rows = [{"audio": "a.wav", "text": RIVER}, {"audio": "b.wav", "text": "the mill is old"}]
    train = write_manifest(tmp_path, "train.jsonl", *rows)
    pairs = write_parallel_text(tmp_path, "pairs", (f"They say: {RIVER}", "Der Fluss"), BEES[0])
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{BEES[0][0]}\n\nwhere the river bends twice before it reaches the sea\n")
    dev = write_manifest(tmp_path, "dev.jsonl", {"audio": "d.wav", "text": RIVER.upper()})
    test = tmp_path / "test.txt"
    test.write_text("The mill is old!\n")
    result = asr_s2s(
        "check", train, pairs, lines, "--held-out", dev, "--held-out", test, "--format", "json"
    )
    assert result.exit_code == 1
    found = [json.loads(line) for line in result.stdout.splitlines()]
    shared = [finding for finding in found if finding["kind"] == "held-out text"]
    first = f"'the quiet river bends twice before it' also appears in {dev}: d"
    assert [(finding["where"], finding["problem"]) for finding in shared] == [
        (f"{train}: a", first),
        (f"{train}: b", f"'the mill is old' also appears in {test}:1"),
        (f"{pairs}: pairs:1", first),
        (f"{lines}:3", f"'river bends twice before it reaches the' also appears in {dev}: d"),
    ]


def test_check_only_compares_plain_text(tmp_path):
    lines, dev = tmp_path / "lines.txt.gz", tmp_path / "dev.txt"
    lines.write_bytes(gzip.compress(b"the bees fly\nthe trees bend\nthe bees fly\n"))
    dev.write_text(RIVER)
    result = asr_s2s("check", lines, "--held-out", dev)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "3 lines, 0 findings\n", "")


def test_check_compares_training_data_but_not_held_out_splits(tmp_path):
    train, dev = tmp_path / "train.txt", tmp_path / "dev.txt"
    train.write_text("the bees fly\n")
    dev.write_text(RIVER)
    assert asr_s2s("check", train, dev, "--held-out", dev).exit_code == 0
    result = asr_s2s("check", dev, "--held-out", dev)
    assert result.exit_code == 1
    shared = "'the quiet river bends twice before it'"
    assert f"  {dev}:1: {shared} also appears in {dev}:1." in result.stdout
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {train: [train.txt, dev.txt], valid: [dev.txt]}\n")
    result = asr_s2s("check", "--config", recipe, "--held-out", dev)
    assert "held-out text (1)" in result.stdout
    assert result.stdout.endswith("\n3 lines, 1 finding\n")


def test_check_explains_quoting_when_the_shell_expanded_braces(tmp_path):
    write_parallel_text(tmp_path, "train", *BEES)
    result = asr_s2s("check", tmp_path / "train.en", tmp_path / "train.de")
    assert isinstance(result.exception, ManifestError)
    assert result.exception.where == f"{tmp_path}/train.en"
    assert "quote" in result.exception.fix
    assert "'train.{en,de}'" in result.exception.fix


def test_check_rejects_overrides_without_a_recipe(tmp_path):
    train = write_parallel_text(tmp_path, "train", *BEES)
    result = asr_s2s("check", train, "--set", "data.max_tokens=3")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith("--set: there is no recipe to change")


def test_check_without_a_manifest_is_a_user_error(tmp_path):
    assert isinstance(asr_s2s("check").exception, ManifestError)
    (tmp_path / "empty.yaml").write_text("")
    assert isinstance(
        asr_s2s("check", "--config", tmp_path / "empty.yaml").exception, ManifestError
    )
    assert isinstance(asr_s2s("check", "--config", tmp_path / "no.yaml").exception, ConfigError)


def test_prepare_measures_recordings_and_normalizes_transcripts(tmp_path):
    table = tmp_path / "own.tsv"
    table.write_text("audio\ttext\tspeaker\tduration\na.wav\tHello,  World!\ts1\t9\n")
    record(tmp_path / "a.wav")
    output = tmp_path / "out" / "cuts.jsonl.gz"
    result = asr_s2s("prepare", table, "--output", output, "--normalizer", "english")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{output}: 1 utterance, 0.00 hours\n"
    (cut,) = read_manifest(output)
    assert (cut_text(cut), cut_speaker(cut), cut.duration) == ("hello world", "s1", 0.5)
    again = tmp_path / "again.jsonl"
    assert asr_s2s("prepare", output, "--output", again).exit_code == 0
    assert list(read_manifest(again)) == [cut]


def test_prepare_reports_bad_rows_and_writes_the_others(tmp_path):
    source = write_manifest(
        tmp_path,
        "m.jsonl",
        {"audio": "a.wav", "text": "one"},
        {"audio": "gone.wav", "text": "two", "missing": True},
        {"audio": "c.wav", "text": "?!"},
        {"audio": "d.wav", "txt": "four"},
        {"audio": "e.wav", "text": "five [sic]"},
    )
    output = tmp_path / "cuts.jsonl"
    result = asr_s2s("prepare", source, "--output", output, "--normalizer", "english")
    assert result.exit_code == 1
    assert [cut.id for cut in read_manifest(output)] == ["a", "e"]
    errors = result.stderr.splitlines()
    assert f"{source}:2: {tmp_path}/gone.wav: there is no such file. Check the path." in errors
    assert f"{source}: c: its text is empty once normalized: '?!'. Add the transcript." in errors
    assert any(line.startswith(f"{source}:4: there is no column 'text'") for line in errors)
    assert errors[-1] == "3 left out"


def test_prepare_reads_a_folder_of_recordings_with_text_files(tmp_path):
    folder = tmp_path / "talks"
    for name in "a.wav", "deep/b.flac", "deep/silent.wav":
        record(folder / name)
    (folder / "a.txt").write_text("first\nline\n")
    (folder / "deep" / "b.txt").write_text("second")
    (folder / "README.txt").write_text("not a transcript")
    result = asr_s2s("prepare", folder, "--output", folder / "cuts.jsonl")
    assert result.exit_code == 1
    assert f"{folder}/deep/silent.wav: there is no silent.txt beside it" in result.stderr
    cuts = {cut.id: cut_text(cut) for cut in read_manifest(folder / "cuts.jsonl")}
    assert cuts == {"a": "first line", "deep/b": "second"}
    assert '"source": "deep/b.flac"' in (folder / "cuts.jsonl").read_text()


def test_prepare_reads_a_folder_in_the_layout_of_librispeech(tmp_path):
    folder = tmp_path / "84" / "121123"
    for number in range(2):
        record(folder / f"84-121123-000{number}.flac")
    (folder / "84-121123.trans.txt").write_text(
        "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IN LESS\n"
    )
    asr_s2s("prepare", tmp_path, "--output", tmp_path / "c.jsonl", "--normalizer", "lowercase")
    first, second = read_manifest(tmp_path / "c.jsonl")
    assert (cut_text(first), cut_speaker(first)) == ("go do you hear", "84")
    assert audio_file(second) == str(folder / "84-121123-0001.flac")


def test_prepare_reports_a_transcript_file_that_is_not_utf8_once(tmp_path):
    for name in "1-1-0000.flac", "1-1-0001.flac", "1-2-0000.flac", "own.wav":
        record(tmp_path / name)
    bad = tmp_path / "1-1.trans.txt"
    bad.write_bytes("1-1-0000 CAFÉ\n1-1-0001 TWO\n".encode("latin-1"))
    (tmp_path / "1-2.trans.txt").write_text("1-2-0000 THREE\n")
    (tmp_path / "own.txt").write_text("four")
    output = tmp_path / "c.jsonl"
    result = asr_s2s("prepare", tmp_path, "--output", output)
    assert result.exit_code == 1
    reported, *counts = result.stderr.splitlines()
    assert reported.startswith(f"{bad}:1: ") and "UTF-8" in reported
    assert counts == [f"{output}: 2 utterances, 0.00 hours", "2 left out"]
    assert [cut.id for cut in read_manifest(output)] == ["1-2-0000", "own"]


def test_prepare_keeps_suffixes_in_ids_that_would_be_equal(tmp_path):
    for name in "a.wav", "a.flac", "b.wav":
        record(tmp_path / name)
        (tmp_path / name).with_suffix(".txt").write_text("text")
    output = tmp_path / "c.jsonl"
    assert asr_s2s("prepare", tmp_path, "--output", output).exit_code == 0
    assert [cut.id for cut in read_manifest(output)] == ["a.flac", "a.wav", "b"]


def test_prepare_splits_by_speaker(tmp_path):
    rows = [{"audio": f"{i}.wav", "text": "x", "speaker": f"s{i % 20}"} for i in range(60)]
    source = write_manifest(tmp_path, "m.jsonl", *rows)

    def speakers(folder: Path, seed: int) -> dict[str, set[str | None]]:
        arguments = "--split", "valid=0.1,test=0.2", "--seed", seed
        assert asr_s2s("prepare", source, "--output", folder / "c.jsonl", *arguments).exit_code == 0
        names = "train", "valid", "test"
        cuts = {name: read_manifest(folder / f"c_{name}.jsonl") for name in names}
        assert sum(map(len, cuts.values())) == 60
        return {name: {cut_speaker(cut) for cut in part} for name, part in cuts.items()}

    first = speakers(tmp_path / "first", 1)
    assert {name: len(part) for name, part in first.items()} == {"train": 14, "valid": 2, "test": 4}
    assert len(set().union(*first.values())) == 20
    assert speakers(tmp_path / "again", 1) == first
    assert speakers(tmp_path / "other", 2) != first


def test_prepare_gives_every_split_a_speaker(tmp_path):
    rows = [{"audio": f"{i}.wav", "text": "x", "speaker": f"s{min(i, 2)}"} for i in range(30)]
    source = write_manifest(tmp_path, "m.jsonl", *rows)
    output = tmp_path / "c.jsonl"
    assert asr_s2s("prepare", source, "--output", output, "--split", "a=0.3,b=0.3").exit_code == 0
    sizes = [len(read_manifest(tmp_path / f"c_{name}.jsonl")) for name in ("train", "a", "b")]
    assert sizes == [28, 1, 1]
    result = asr_s2s("prepare", source, "--output", output, "--split", "a=0.2,b=0.2,c=0.2")
    assert "3 speakers cannot make 4 splits" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--split", "valid"], "expected NAME=PART"),
        (["--split", "valid=1.5"], "expected NAME=PART"),
        (["--split", "train=0.1"], "expected NAME=PART"),
        (["--split", "../x=0.1"], "expected NAME=PART"),
        (["--split", "a=0.5,b=0.5"], "leave nothing to train on"),
        (["--normalizer", "englsh"], "Did you mean english"),
        (["--output", "cuts.json"], "a manifest ends in"),
    ],
)
def test_wrong_options_of_prepare_are_user_errors(tmp_path, options, error):
    source = write_manifest(tmp_path, "m.jsonl", {"audio": "a.wav", "text": "x"})
    result = asr_s2s("prepare", source, "--output", tmp_path / "c.jsonl", *options)
    assert isinstance(result.exception, ManifestError | TextError)
    assert error in str(result.exception)


def test_a_missing_manifest_is_one_line_on_standard_error(tmp_path):
    command = "from asr_s2s.cli.main import main; main()"
    for arguments, missing in (
        (["check", "no.jsonl"], "manifest"),
        (["prepare", "no.jsonl", "--output", "c.jsonl"], "manifest or folder"),
    ):
        process = run(
            [sys.executable, "-c", command, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 1
        assert process.stdout == ""
        assert process.stderr == f"asr-s2s: no.jsonl: there is no such {missing}. Check the path.\n"
