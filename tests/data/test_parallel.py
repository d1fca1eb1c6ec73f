import gzip
import json
import lzma
from pathlib import Path

import pytest

from asr_s2s.data.parallel import (
    TextPair,
    is_one_side,
    is_parallel,
    iter_parallel,
    read_parallel,
)
from asr_s2s.errors import ManifestError
from asr_s2s.text_files import read_lines

PAIRS = [
    TextPair("train:1", "Good morning.", "Guten Morgen.", "de"),
    TextPair("train:2", 'He said "yes".', 'Er sagte "ja".', "de"),
]


def write_sides(folder: Path, name: str = "train.{en,de}") -> Path:
    """Write two line-aligned files, and return their common name with braces."""
    before, _, rest = name.partition("{")
    alternatives, _, after = rest.partition("}")
    for alternative, side in zip(alternatives.split(","), ("source", "target"), strict=True):
        path = folder / f"{before}{alternative}{after}"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = "".join(getattr(pair, side) + "\n" for pair in PAIRS).encode()
        pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
        path.write_bytes(pack(content))
    return folder / name


def texts(path: Path) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in read_parallel(path)]


@pytest.mark.parametrize("name", ["train.{en,de}", "train.{en,de}.gz", "train.{en,de}.xz"])
def test_two_aligned_files_are_read_with_one_name_in_braces(tmp_path, name):
    path = write_sides(tmp_path, name)
    assert is_parallel(path)
    assert read_parallel(path) == PAIRS


@pytest.mark.parametrize(
    ("name", "stem", "language"),
    [
        ("{a.txt,b.txt}", "a", None),
        ("{src,tgt}/train.txt.gz", "train", None),
        ("news.{de,pt-BR}.txt", "news", "pt-BR"),
        ("news.{eng_Latn,zho_Hans}", "news", "zho_Hans"),
        ("news.{src,tgt}", "news", None),
        ("news{,.de}", "news", None),
    ],
)
def test_file_names_give_ids_and_language(tmp_path, name, stem, language):
    first, second = read_parallel(write_sides(tmp_path, name))
    assert (first.id, second.id) == (f"{stem}:1", f"{stem}:2")
    assert first.language == second.language == language


def test_all_tables_give_the_same_pairs(tmp_path):
    rows = [{"id": p.id, "source": p.source, "target": p.target, "language": "de"} for p in PAIRS]
    header = "id\tsource\ttarget\tlanguage\n"
    tables = {
        "t.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "t.tsv": header + "".join("\t".join(row.values()) + "\n" for row in rows),
        "t.csv": "target,source,id,language\nGuten Morgen.,Good morning.,train:1,de\n"
        '"Er sagte ""ja"".","He said ""yes"".",train:2,de\n',
    }
    for name, content in tables.items():
        (tmp_path / name).write_text(content)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
        for path in tmp_path / name, tmp_path / f"{name}.gz":
            assert is_parallel(path)
            assert read_parallel(path) == PAIRS


def test_further_columns_of_a_tsv_without_header_are_ignored(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("a\tEY\r\n\nsource code\tS AO R S\tnote\tmore\n\tno source\n")
    assert is_parallel(path)
    assert read_parallel(path) == [
        TextPair("words:1", "a", "EY", None),
        TextPair("words:3", "source code", "S AO R S", None),
        TextPair("words:4", "", "no source", None),
    ]


@pytest.mark.parametrize(("name", "separator"), [("t.tsv.gz", "\t"), ("t.csv", ",")])
def test_the_columns_of_a_table_without_header_can_be_named(tmp_path, name, separator):
    lines = [["a", "x y", "z", "date", "more"], ["b", "", "c", "time", ""]]
    content = "".join(separator.join(line) + "\n" for line in lines).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    first, second = read_parallel(path, ["id", "source", "target", "class"])
    assert (first.id, first.source, first.target, first.fields) == (
        "a", "x y", "z", {"class": "date"},
    )  # fmt: skip
    assert (second.id, second.source, second.target) == ("b", "", "c")
    with pytest.raises(ManifestError, match="found 5 columns") as caught:
        read_parallel(path, ["id", "source", "target", "class", "more", "again"])
    assert caught.value.where == f"{path}:1"
    with pytest.raises(ManifestError, match="no column 'target'"):
        read_parallel(path, ["id", "source"])


def test_only_line_feeds_end_a_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\u2028still one\x0b\r\n\ntwo\rstill two".encode())
    assert read_lines(path) == ["one\u2028still one\x0b", "", "two\rstill two"]
    path.write_bytes(b"")
    assert read_lines(path) == []


def test_manifests_of_recordings_are_not_parallel_text(tmp_path):
    contents = {
        "m.tsv": "audio\ttext\na.wav\thello\n",
        "n.tsv": "\n \n\taudio\ttext\n\ta.wav\thello\n",
        "n.csv": "file,text\na.wav,hello\n",
        "m.csv": "audio,text\na.wav,hello\n",
        "m.jsonl": '{"audio": "a.wav", "text": "hello"}\n',
        "cuts.jsonl": '{"id": "a", "type": "MonoCut", "recording": {"sources": []}}\n',
        "m.json": '[{"source": "a", "target": "b"}]',
        "bad.jsonl": '{"source": \n',
        "empty.tsv": "",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        assert not is_parallel(tmp_path / name)
        assert not is_one_side(tmp_path / name)
    (tmp_path / "bad.tsv.gz").write_bytes(b"\x1f\x8b" + bytes(40))
    assert not is_parallel(tmp_path / "bad.tsv.gz")
    assert not is_parallel(tmp_path / "missing.tsv")
    assert not is_parallel(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tsv", "\r\n\nsource\ttarget\na\tb\n"),
        ("t.csv", "\n\ntarget,source\nb,a\n"),
        ("t.jsonl", '\n \n{"source": "a", "target": "b"}\n'),
        ("t.tsv", "\n \na\tb\n"),
    ],
)
def test_blank_lines_may_come_first(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert is_parallel(path)
    assert texts(path) == [("a", "b")]


@pytest.mark.parametrize("first", [("text", "Text"), ("audio", "Audio")])
def test_a_pair_of_column_names_is_not_a_header(tmp_path, first):
    path = tmp_path / "glossary.tsv"
    path.write_text("\t".join(first) + "\nword\tWort\n")
    assert is_parallel(path)
    assert texts(path) == [first, ("word", "Wort")]


def test_the_error_of_a_single_side_shows_how_to_give_both(tmp_path):
    write_sides(tmp_path, "train.{en,de}.gz")
    side = tmp_path / "train.en.gz"
    assert is_one_side(side)
    assert not is_parallel(side)
    with pytest.raises(ManifestError, match=r"quoted.*'train\.{en,de}'"):
        read_parallel(side)


def test_repeated_ids_are_numbered_by_read_and_errors_in_iter(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("id\tsource\ttarget\na\tx\ty\na-2\tx\ty\na\tx\ty\n\tx\ty\n")
    assert [pair.id for pair in read_parallel(path)] == ["a", "a-2", "a-3", "t:5"]
    third = list(iter_parallel(path))[2]
    assert isinstance(third, ManifestError)
    assert third.where == f"{path}:4"
    assert f"the id 'a' is already used by {path}:2" in third.problem


@pytest.mark.parametrize("name", ["t.{en}", "t.{en,de,fr}", "{a,b}.{en,de}", "t.{en,en}", "t.{en"])
def test_braces_without_two_different_names_are_an_error(tmp_path, name):
    assert is_parallel(tmp_path / name)
    with pytest.raises(ManifestError, match=r"one pair of braces.*'train\.{en,de}'"):
        read_parallel(tmp_path / name)


def test_files_of_different_length_give_one_error_that_names_both(tmp_path):
    path = write_sides(tmp_path)
    (tmp_path / "train.de").write_text("Guten Morgen.\n")
    with pytest.raises(ManifestError) as caught:
        read_parallel(path)
    problem = f"{tmp_path}/train.en has 2 lines, {tmp_path}/train.de has 1"
    assert (caught.value.where, caught.value.problem) == (str(path), problem)


@pytest.mark.parametrize(
    ("content", "where", "problem"),
    [
        (b"eins\nz\xfcei\n", ":2", "this is not UTF-8 text"),
        (gzip.compress(b"eins\nzwei\n", mtime=0)[:-9], "", "the compressed file is damaged"),
        (lzma.compress(b"eins\nzwei\n")[:-9], "", "the compressed file is damaged"),
        (None, "", "there is no such text file"),
    ],
)
def test_the_error_of_an_unreadable_side_names_it(tmp_path, content, where, problem):
    path = write_sides(tmp_path)
    target = tmp_path / "train.de"
    target.unlink()
    if content is not None:
        target.write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        read_parallel(path)
    assert caught.value.where == f"{target}{where}"
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("name", "content", "where", "problem"),
    [
        ("t.tsv", "a\tb\nonly one\nc\td\n", ":2", "separated by a tab, found one column"),
        ("t.tsv", "source\ttext_de\na\tb\n", ":1", "no column 'target'; found source, text_de"),
        ("t.csv", "target,de\na,b\n", ":1", "there is no column 'source'"),
        ("t.csv", "a,b\nc,d\n", ":1", "there is no column 'source'"),
        ("t.tsv", "source\ttarget\na\n", ":2", "expected the 2 columns of the header, found 1"),
        ("t.tsv", "source\ttarget\n", "", "it contains no sentence pairs"),
        ("t.{en,de}", "", "", "it contains no sentence pairs"),
        ("t.jsonl", '{"source": "a", "target": 5}', ":1", "target: expected text, found 5"),
        ("t.jsonl", '{"source": "a", "target": null}', ":1", "expected text, found None"),
        ("t.jsonl", '{"source": "a"}', ":1", "there is no column 'target'"),
        ("t.jsonl", '{"source": "a", "target": "b", "id": []}', ":1", "id: expected text"),
        ("t.jsonl", '{"source": "\\ud800", "target": "b"}', ":1", r"'source' contains '\ud800'"),
        ("t.jsonl", '{"source": "a"', ":1", "this line is not JSON"),
    ],
)
def test_the_error_of_a_bad_line_names_it(tmp_path, name, content, where, problem):
    path = tmp_path / name
    for file in [tmp_path / "t.en", tmp_path / "t.de"] if "{" in name else [path]:
        file.write_text(content)
    with pytest.raises(ManifestError) as caught:
        read_parallel(path)
    assert caught.value.where == f"{path}{where}"
    assert problem in caught.value.problem


def test_a_bad_line_does_not_hide_the_others(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("a\tb\nonly one\nc\td\n")
    assert [getattr(item, "id", None) for item in iter_parallel(path)] == ["t:1", None, "t:3"]


def test_real_parallel_text_is_read(shared_data):
    pairs = read_parallel(shared_data / "multi30k" / "val.{en,de}.gz")
    assert len(pairs) == 1014
    assert all(pair.source and pair.target and pair.language == "de" for pair in pairs)
