"""Error rates, and files of transcripts."""

import gzip
import json
import math
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asr_s2s
from asr_s2s.errors import ManifestError, TextError, UserError
from asr_s2s.evaluate.transcripts import Entry, pair, read_transcripts
from asr_s2s.metrics.error_rate import Counts, ErrorRates, Utterance, score


def test_errors_are_counted_over_the_whole_set(rates: ErrorRates) -> None:
    assert rates.words == Counts(hits=6, substitutions=1, deletions=2, insertions=1)
    assert rates.word_error_rate == 4 / 9
    assert rates.sentence_error_rate == 2 / 3
    # "two"/"too": 1 of 18; " five" inserted: 5; "seven eight " deleted: 12 of 16; 8 of 8 right.
    assert rates.characters.errors == 1 + 5 + 12
    assert rates.character_error_rate == 18 / (18 + 8 + 16)


def test_perfect_transcripts_have_no_errors() -> None:
    rates = score([Utterance("a", "one two", "one two"), Utterance("b", "", "")])
    assert (rates.word_error_rate, rates.character_error_rate) == (0, 0)
    assert rates.sentence_error_rate == 0
    assert rates.worst(5) == []


def test_words_recognized_in_silence_are_insertions() -> None:
    rates = score([Utterance("a", "", "oh no"), Utterance("b", "one two", "one two")])
    assert rates.words == Counts(hits=2, insertions=2)
    assert rates.word_error_rate == 1
    assert score([Utterance("a", " ", "oh no")]).word_error_rate == math.inf


def test_empty_hypothesis_is_all_deletions() -> None:
    assert score([Utterance("a", "one two", "")]).words == Counts(deletions=2)


def test_normalizer_is_applied_to_both_sides() -> None:
    pairs = [Utterance("a", "Hello, World!", "hello world"), Utterance("b", "yes", "Yes.")]
    assert score(pairs).word_error_rate == 1
    rates = score(pairs, "english")
    assert rates.word_error_rate == 0
    assert rates.signature.startswith("normalizer:english|")


def test_the_closest_of_several_references_counts() -> None:
    # Phonemes of words with several pronunciations, with errors counted by hand.
    rates = score(
        [
            Utterance("either", "IY DH ER", "AY DH ER", ("AY DH ER",)),  # equals the second
            Utterance("data", "D EY T AH", "D AA T AH", ("D AE T AH",)),  # 1 of 4 either way
            Utterance("often", "AO F AH N", "AO F T AH", ("AO F T AH N",)),  # 1 of 5, else 2 of 4
            Utterance("cat", "K AE T", "K AE T"),
        ]
    )
    assert rates.words == Counts(hits=3 + 3 + 4 + 3, substitutions=1, deletions=1)
    assert rates.word_error_rate == 2 / (3 + 4 + 5 + 3)
    assert rates.sentence_error_rate == 2 / 4
    assert [u.reference for u in rates.utterances] == [
        "AY DH ER", "D EY T AH", "AO F T AH N", "K AE T",
    ]  # fmt: skip
    assert "|references:closest|" in rates.signature


def test_ties_between_references_are_resolved_by_length_then_order() -> None:
    rates = score([Utterance("a", "one two", "one too three", ("one three", "one two three"))])
    assert rates.utterances[0].reference == "one two three"
    rates = score([Utterance("a", "one two three", "one too three", ("one tow three",))])
    assert rates.utterances[0].reference == "one two three"
    # A deletion and an insertion have equal cost; the longer reference has the lower rate.
    rates = score([Utterance("a", "one", "one two", ("one two three",))])
    assert rates.words == Counts(hits=2, deletions=1)


def test_empty_alternative_reference_is_accepted() -> None:
    assert score([Utterance("a", "uh", "", ("",))]).word_error_rate == 0


def test_every_reference_is_normalized() -> None:
    rates = score([Utterance("a", "Seven.", "eight", ("Eight!",))], "english")
    assert rates.word_error_rate == 0


def test_unknown_normalizer_is_rejected() -> None:
    with pytest.raises(TextError, match="englisch"):
        score([Utterance("a", "x", "x")], "englisch")


@pytest.mark.parametrize(
    ("normalizer", "case", "punctuation"),
    [
        ("verbatim", "mixed", "kept"),
        ("lowercase", "lower", "kept"),
        ("english", "lower", "apostrophes"),
    ],
)
def test_signature_has_everything_the_score_depends_on(
    normalizer: str, case: str, punctuation: str
) -> None:
    assert score([Utterance("a", "Don't!", "don't")], normalizer).signature == (
        f"normalizer:{normalizer}|case:{case}|punctuation:{punctuation}|"
        f"jiwer:{version('jiwer')}|asr-s2s:{asr_s2s.__version__}"
    )


def test_worst_utterances_come_first(rates: ErrorRates) -> None:
    # Both have two errors, but "c" has fewer words.
    assert [utterance.id for utterance in rates.worst(5)] == ["c", "a"]
    assert [utterance.id for utterance in rates.worst(1)] == ["c"]


def test_alignment_shows_each_error_under_its_word(rates: ErrorRates) -> None:
    assert rates.utterances[0].alignment() == "\n".join(
        [
            "REF: one two three four ****",
            "HYP: one too three four five",
            "         S              I",
        ]
    )


def test_long_alignment_continues_in_further_blocks() -> None:
    words = " ".join(["word"] * 20)
    alignment = score([Utterance("a", words, words)]).utterances[0].alignment(width=50)
    assert alignment.count("REF:") == 3
    assert max(map(len, alignment.split("\n"))) <= 50
    assert alignment.count("word") == 40


def test_alignment_of_wide_characters_keeps_its_columns() -> None:
    alignment = score([Utterance("a", "你好 世界", "你 世界")]).utterances[0].alignment()
    assert alignment.split("\n")[:2] == ["REF: 你好 世界", "HYP: 你   世界"]


def test_most_frequent_errors_are_counted() -> None:
    rates = score([Utterance("a", "five", "nine"), Utterance("b", "five five one", "nine five")])
    assert rates.most_frequent("substitute", 5) == [("five", "nine", 2)]
    assert rates.most_frequent("delete", 5) == [("one", "", 1)]
    assert rates.most_frequent("insert", 5) == []


def _write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def _pair(reference: Path, hypothesis: Path) -> list[Utterance]:
    return pair(
        read_transcripts(reference),
        read_transcripts(hypothesis),
        reference_file=reference,
        hypothesis_file=hypothesis,
    )


def test_text_files_are_paired_by_line(tmp_path: Path) -> None:
    reference = _write(tmp_path / "ref.txt", "one two", "", "three\fthree")
    hypothesis = _write(tmp_path / "hyp.txt", "one", "two", "three")
    assert _pair(reference, hypothesis) == [
        Utterance("1", "one two", "one"),
        Utterance("2", "", "two"),
        Utterance("3", "three\fthree", "three"),
    ]


def test_files_with_ids_are_paired_by_id_in_any_order(tmp_path: Path) -> None:
    reference = _write(tmp_path / "ref.tsv", "a\tone", "b\ttwo", "c\t")
    hypothesis = _write(
        tmp_path / "hyp.jsonl",
        '{"id": "c", "text": "oh"}',
        '{"id": "b", "text": "two"}',
        '{"id": "a", "text": "one"}',
    )
    assert _pair(reference, hypothesis) == [
        Utterance("a", "one", "one"),
        Utterance("b", "two", "two"),
        Utterance("c", "", "oh"),
    ]


def test_manifest_is_paired_with_transcripts_that_name_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("x", "y"):
        soundfile.write(corpus / f"{name}.wav", np.zeros(1600), 16000)
    manifest = _write(
        corpus / "test.jsonl",
        '{"audio": "x.wav", "text": "one", "speaker": "ann"}',
        '{"audio": "y.wav", "text": "two", "speaker": ""}',
    )
    hypothesis = _write(
        tmp_path / "hyp.jsonl",
        '{"source": "corpus/y.wav", "text": "two"}',
        '{"source": "corpus/x.wav", "text": "one"}',
    )
    monkeypatch.chdir(tmp_path)
    paired = _pair(manifest, hypothesis)
    assert [(u.id, u.reference, u.hypothesis, u.speaker, u.recording) for u in paired] == [
        ("x", "one", "one", "ann", (corpus / "x.wav").resolve()),
        ("y", "two", "two", None, (corpus / "y.wav").resolve()),
    ]


def test_speakers_come_from_the_references(tmp_path: Path) -> None:
    supervision = {"id": "s", "recording_id": "r", "start": 0, "duration": 1, "speaker": "ann"}
    recording = {
        "id": "r", "sampling_rate": 16000, "num_samples": 16000, "duration": 1,
        "sources": [{"type": "file", "channels": [0], "source": "r.wav"}],
    }  # fmt: skip
    cut = {
        "id": "a", "start": 0, "duration": 1, "channel": 0, "type": "MonoCut",
        "recording": recording, "supervisions": [{**supervision, "text": "one"}],
    }  # fmt: skip
    lhotse = _write(tmp_path / "lhotse.jsonl", json.dumps(cut))
    table = _write(tmp_path / "t.tsv", "id\taudio\ttext\tduration\tspeaker", "a\ta\tone\t1\tann")
    lines = _write(tmp_path / "ref.jsonl", '{"id": "a", "text": "one", "speaker": "ann"}')
    hypothesis = _write(tmp_path / "hyp.jsonl", '{"id": "a", "text": "one", "speaker": "bob"}')
    for reference in (lhotse, table, lines):
        assert [u.speaker for u in _pair(reference, hypothesis)] == ["ann"]


def test_missing_utterances_are_reported_with_both_files_and_counts(tmp_path: Path) -> None:
    reference = _write(tmp_path / "ref.tsv", *(f"u{i}\tone" for i in range(9)))
    hypothesis = _write(tmp_path / "hyp.tsv", "u0\tone", "u1\tone", "v\tone")
    with pytest.raises(UserError) as caught:
        _pair(reference, hypothesis)
    message = str(caught.value)
    assert f"{reference} holds 9 references and {hypothesis} 3 hypotheses" in message
    assert "7 have no hypothesis (u2, u3, u4, ...) and 1 have no reference (v)" in message


def test_text_files_of_different_length_are_rejected(tmp_path: Path) -> None:
    reference = _write(tmp_path / "ref.txt", "one", "two")
    hypothesis = _write(tmp_path / "hyp.txt", "one")
    with pytest.raises(UserError, match=r"holds 2 references and .* 1 hypotheses"):
        _pair(reference, hypothesis)


def test_empty_reference_file_is_rejected() -> None:
    with pytest.raises(UserError, match="no transcripts"):
        pair([], [Entry("one")], reference_file="ref.txt", hypothesis_file="hyp.txt")


def test_several_transcripts_of_one_recording_need_ids() -> None:
    same = [Entry("one", source=Path("/x.wav")), Entry("two", source=Path("/x.wav"))]
    with pytest.raises(UserError, match=r"/x\.wav has 2 transcripts"):
        pair(same, same, reference_file="ref.jsonl", hypothesis_file="hyp.jsonl")


@pytest.mark.parametrize(
    ("name", "lines", "line", "problem"),
    [
        ("a.tsv", ["a\tone", "two"], ":2", "found 1 columns"),
        ("a.tsv", ["a\tone", "b\ttwo", "a\tthree"], ":3", "the id 'a' is also on line 1"),
        ("a.jsonl", ['{"id": "a", "text": "one"}', "{"], ":2", "not JSON"),
        ("a.jsonl", ['{"id": "a"}'], ":1", 'expected a row with a "text"'),
        ("a.jsonl", ['{"text": "one"}'], ":1", 'expected an "id" or a "source"'),
        ("a.jsonl", ['{"id": 7, "text": "one"}'], ":1", "id: expected text, found 7"),
        ("a.jsonl", ['{"id": "a", "text": "x", "speaker": []}'], ":1", "speaker: expected text"),
        ("a.jsonl", ['{"id": "a", "text": "\\ud800"}'], ":1", r"'text' contains '\ud800'"),
        ("a.jsonl", ['{"source": "\\ud800", "text": "x"}'], ":1", r"'source' contains '\ud800'"),
        ("a.txt", ["one", "b.wav\t"], ":2", "found a tab, as between an id and its text"),
        ("a.doc", ["one"], "", "expected .txt, .tsv, .csv, .jsonl or a manifest, found .doc"),
    ],
)
def test_bad_line_is_reported_with_file_and_line_number(
    tmp_path: Path, name: str, lines: list[str], line: str, problem: str
) -> None:
    path = _write(tmp_path / name, *lines)
    with pytest.raises(ManifestError) as caught:
        read_transcripts(path)
    assert caught.value.where == f"{path}{line}"
    assert problem in caught.value.problem


def test_source_of_a_translation_need_not_be_a_valid_path(tmp_path: Path) -> None:
    source = json.dumps("a\0b " + "word " * 2000)
    path = _write(tmp_path / "hyp.jsonl", f'{{"source": {source}, "text": "one"}}')
    paired = pair(
        [Entry("two", "test:1")],
        read_transcripts(path, translations=True),
        reference_file="test.{en,de}",
        hypothesis_file=path,
    )
    assert [(p.reference, p.hypothesis) for p in paired] == [("two", "one")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "one\rtwo\r\nthree\n"),
        ("a.tsv", "a\tone\rtwo\r\nb\tthree\r\n"),
        ("a.jsonl", '{"id": "a", "text": "one\\rtwo"}\r\n{"id": "b",\r"text": "three"}\n'),
    ],
)
def test_lines_end_only_at_line_feeds(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert [entry.text for entry in read_transcripts(tmp_path / name)] == ["one\rtwo", "three"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "id\ttext\na\tone\nb\ttwo\n"),
        ("a.tsv", "\ufeffid\ttext\r\na\tone\r\nb\ttwo\r\n"),
        ("a.tsv", "\n\nspeaker\ttext\tid\nann\tone\ta\nbob\ttwo\tb\n"),
        ("a.tsv", "\ufeffa\tone\r\nb\ttwo\r\n"),
        ("a.csv", "\ufeffid,text\r\na,one\r\nb,two\r\n"),
        ("a.csv", 'text,id\n"one",a\ntwo,b\n'),
        ("a.jsonl", '\ufeff{"id": "a", "text": "one"}\r\n{"id": "b", "text": "two"}\r\n'),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_headers_and_byte_order_marks_are_not_utterances(
    tmp_path: Path, name: str, content: str, packed: bool
) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    if packed and "text" not in content:  # source and target, as in training data
        assert [entry.id for entry in read_transcripts(path)] == ["a:1", "a:2"]
        return
    assert [(entry.id, entry.text) for entry in read_transcripts(path)] == [
        ("a", "one"),
        ("b", "two"),
    ]


def test_missing_files_binary_files_and_folders_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="there is no such"):
        read_transcripts(tmp_path / "none.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="not UTF-8"):
        read_transcripts(tmp_path / "binary.txt")
    with pytest.raises(ManifestError, match="this is a folder"):
        read_transcripts(tmp_path)


def test_translations_are_read_from_line_files_of_any_suffix(tmp_path: Path) -> None:
    packed = tmp_path / "test.de.gz"
    packed.write_bytes(gzip.compress(b"eins zwei\n\ndrei\r\n"))
    plain = _write(tmp_path / "hyp.beam4", "eins", "zwei", "")
    lines = [Entry("eins zwei"), Entry(""), Entry("drei")]
    assert read_transcripts(packed, translations=True) == lines
    assert [entry.text for entry in read_transcripts(plain, translations=True)] == [
        "eins", "zwei", "",
    ]  # fmt: skip


def test_target_side_of_parallel_text_is_the_reference(tmp_path: Path) -> None:
    _write(tmp_path / "test.en", "one", "two")
    _write(tmp_path / "test.de", "eins", "zwei")
    table = _write(tmp_path / "test.tsv", "source\ttarget", "one\teins", "two\tzwei")
    for path in (tmp_path / "test.{en,de}", table):
        found = [(entry.source_text, entry.text) for entry in read_transcripts(path)]
        assert found == [("one", "eins"), ("two", "zwei")]


def test_lines_with_the_same_source_are_references_of_one_hypothesis(tmp_path: Path) -> None:
    reference = _write(tmp_path / "ref.tsv", "read\tR IY D", "cat\tK AE T", "read\tR EH D")
    hypothesis = _write(tmp_path / "hyp.txt", "R EH D", "K AE")
    pairs = pair(
        read_transcripts(reference, any_reference=True),
        read_transcripts(hypothesis),
        reference_file=reference,
        hypothesis_file=hypothesis,
    )
    assert [(p.source, p.reference, p.alternatives, p.hypothesis) for p in pairs] == [
        ("read", "R IY D", ("R EH D",), "R EH D"),
        ("cat", "K AE T", (), "K AE"),
    ]
    assert score(pairs).words == Counts(hits=5, deletions=1)


def test_any_reference_needs_parallel_text(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="not parallel text"):
        read_transcripts(_write(tmp_path / "ref.txt", "one"), any_reference=True)
