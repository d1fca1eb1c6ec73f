"""`Translator` and `asr-s2s translate`, with a small trained model and the shipped models."""

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asr_s2s.config import (
    Config,
    DecoderConfig,
    ModelConfig,
    SearchConfig,
    TextConfig,
    TextEncoderConfig,
)
from asr_s2s.config_file import load_config
from asr_s2s.errors import ConfigError, ModelError, TextError
from asr_s2s.model.folder import LoadedModel, build_model
from asr_s2s.text.tokenizer import UNK, Tokenizer, WordTokenizer
from asr_s2s.text.vocabulary import train_tokenizer
from asr_s2s.train.loop import train
from asr_s2s.translator import Translator
from tests.support.ciphers import CONFIG, write_corpus
from tests.support.commands import run_command
from tests.support.limits import TIMEOUT

# Names are outside the vocabularies: the model learns to output unknown tokens for them.
OVERRIDES = ["text.vocabulary_size=14", "source_text.vocabulary_size=14", "train.steps=200",
             "train.validate_every=1000", "data.train=['train.{xx,zz}']",
             "data.valid=['valid.{xx,zz}']"]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model trained to translate from xx to zz."""
    folder = tmp_path_factory.mktemp("ciphers")
    write_corpus(folder, sentences=400, names=0.15)
    (folder / "config.yaml").write_text(CONFIG)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trained = train(
        load_config(folder / "config.yaml", OVERRIDES), folder, folder / "run", torch.device("cpu")
    )
    torch.set_num_threads(threads)
    return trained


@pytest.fixture(scope="module")
def translator(model: Path) -> Translator:
    return Translator.load(model, device="cpu")


@pytest.fixture(scope="module")
def lines(model: Path) -> list[str]:
    """Validation sentences, of 2 to 7 words."""
    return (model.parent.parent / "valid.xx").read_text().splitlines()


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return run_command(*arguments, stdin=stdin)


@pytest.mark.parametrize("beam_size", [1, 5])
def test_text_and_score_do_not_depend_on_the_batch(
    translator: Translator, lines: list[str], beam_size: int
) -> None:
    alone = {line: translator.translate(line, beam_size=beam_size) for line in lines}
    shuffled = list(lines)
    random.Random(3).shuffle(shuffled)
    long = " ".join(lines)  # makes the others of its batch padded
    for order, tokens in ((lines, 4000), ([*shuffled, long], 4000), (shuffled, 17)):
        results = list(translator.stream(order, beam_size=beam_size, batch_tokens=tokens))
        assert [result.source for result in results] == order
        for result in results:
            if result.source in alone:
                assert result.text == alone[result.source].text
                assert result.score == pytest.approx(alone[result.source].score, abs=1e-4)
    assert len({result.text for result in alone.values()}) > len(alone) // 2


def test_an_empty_line_yields_an_empty_translation(
    translator: Translator, lines: list[str]
) -> None:
    given = ["", lines[0], " \t\u200b", lines[1], ""]
    results = translator.translate(given)
    assert [result.source for result in results] == given
    assert [bool(result.text) for result in results] == [False, True, False, True, False]
    assert results[1].text == translator.translate(lines[0]).text
    assert translator.translate([]) == []


def test_a_line_of_ten_thousand_words_is_translated_in_pieces(
    translator: Translator, lines: list[str]
) -> None:
    words = " ".join(lines).split()
    line = " ".join(words[i % len(words)] for i in range(10_000))
    short, long, other = translator.translate([lines[0], line, lines[1]], beam_size=2)
    assert long.source == line
    assert "too long for one piece" in str(long.warning) and len(str(long.warning)) < 200
    assert 60 < len(long.text.split()) < 30_000
    assert short.warning is other.warning is None
    expected = translator.translate(lines[:2], beam_size=2)
    assert [short.text, other.text] == [result.text for result in expected]


@pytest.mark.parametrize(
    "line", ["\u9f98\u9750 \u20ac", "x" * 20_000, "bado \u0000\u2028 kime", "<s> </s> <blank>"]
)
def test_input_unseen_in_training_is_translated(translator: Translator, line: str) -> None:
    result = translator.translate(line)
    assert result.source == line
    assert result.score < 0.0
    assert "\n" not in result.text and "<" not in result.text


def test_long_lines_are_split_after_sentences_without_loss(
    translator: Translator,
) -> None:
    sentence = "bado kime luro fasa nito pelu gavi doka semi turo."
    whole = " ".join([sentence] * 60)
    pieces = translator._split(whole)
    assert len(pieces) > 1 and " ".join(pieces) == whole
    assert all(piece.endswith("turo.") for piece in pieces)
    assert all(len(translator.dataset.source_tokens(piece)) <= 250 for piece in pieces)
    assert translator._split("bado kime") == ["bado kime"]


def test_n_best_outputs_are_distinct_and_start_with_the_text(
    translator: Translator, lines: list[str]
) -> None:
    for result in translator.translate(lines[:5], beam_size=1, n_best=4):
        texts = [alternative.text for alternative in result.alternatives]
        scores = [alternative.score for alternative in result.alternatives]
        assert 1 < len(texts) <= 4 and len(set(texts)) == len(texts)
        assert (texts[0], scores[0]) == (result.text, result.score)
        assert scores == sorted(scores, reverse=True)
    assert translator.translate(lines[0]).alternatives == ()


def test_unknown_words_are_replaced_by_the_source_words_with_most_attention(
    translator: Translator,
) -> None:
    lines = ["bado N5 kime", "N77 luro doka turo", "semi fasa Quilla"]
    expected = ["vo N5 wun", "N77 xil pid nab", "oft yor Quilla"]
    results = translator.translate(lines, replace_unknown=True)
    copied = [
        set(line.split()) & set(r.text.split()) for line, r in zip(lines, results, strict=True)
    ]
    assert copied == [{"N5"}, {"N77"}, {"Quilla"}]
    assert sum(r.text == e for r, e in zip(results, expected, strict=True)) >= 2
    for line, result in zip(lines, translator.translate(lines), strict=True):
        assert not set(line.split()) & set(result.text.split())


@pytest.mark.parametrize(
    "option",
    [
        {"beam_size": 0}, {"n_best": 0}, {"length_penalty": -1.0}, {"length_penalty": 1e9},
        {"length_penalty": float("nan")}, {"coverage_penalty": -0.1}, {"beam_size": 1_001},
        {"n_best": 1_000_000_000},
        {"coverage_penalty": float("inf")},
    ],
    ids=str,
)  # fmt: skip
def test_an_option_out_of_range_is_refused(translator: Translator, option: dict) -> None:
    with pytest.raises(ConfigError, match="expected"):
        translator.translate("bado kime", **option)


def untrained(
    source: Tokenizer, attention: str = "dot", target: Tokenizer | None = None
) -> Translator:
    """An untrained model that outputs unknown tokens wherever they are allowed; by default, it
    outputs words."""
    config = Config(
        model=ModelConfig(encoders=("text",)),
        text_encoder=TextEncoderConfig(layers=1, size=8, embedding_size=8),
        decoder=DecoderConfig(attention=attention, size=8, embedding_size=8, first_state="source"),
        search=SearchConfig(beam_size=4, end_threshold=None, max_length_ratio=2.0),
    )
    words = target or WordTokenizer(["vo", "wun", "xil", "yor"])
    torch.manual_seed(0)
    model = build_model(config, words, source).eval()
    model.decoder.output.bias.data[UNK] = 20.0
    loaded = LoadedModel(model, words, source, config, Path("untrained"))
    return Translator(loaded, torch.device("cpu"))


@pytest.mark.parametrize("kind", ["characters", "sentencepiece", "words"])
def test_unknown_words_are_replaced_by_whole_source_words(kind: str) -> None:
    line = "bado Quilla kime N77"
    settings = TextConfig(tokenizer=kind, vocabulary_size=12)
    result = untrained(train_tokenizer(settings, ["bad kime"])).translate(
        line, replace_unknown=True
    )
    assert result.text.split()
    assert set(result.text.split()) <= set(line.split())


@pytest.mark.parametrize("option", [{"words": True}, {"language": "de"}, {"n_best": 0}], ids=str)
def test_an_option_that_cannot_be_used_is_refused_at_the_call(option: dict) -> None:
    (name,) = option
    with pytest.raises(ConfigError) as caught:
        untrained(WordTokenizer(["bado", "kime"])).stream([], **option)
    assert caught.value.where == name


@pytest.mark.parametrize("option", [{"replace_unknown": True}, {"coverage_penalty": 0.2}], ids=str)
def test_options_that_need_attention_are_refused_by_a_model_without_it(option: dict) -> None:
    source = WordTokenizer(["bado", "kime"])
    assert untrained(source).translate("bado kime", **option).score < 0.0
    with pytest.raises(ConfigError, match="attention is none"):
        untrained(source, attention="none").translate("bado kime", **option)


def test_replacing_unknown_tokens_is_refused_by_a_model_without_them() -> None:
    settings = TextConfig(tokenizer="sentencepiece", vocabulary_size=270, byte_fallback=True)
    spelling = train_tokenizer(settings, ["bado kime", "kime bado"] * 20)
    with pytest.raises(ConfigError) as caught:
        untrained(spelling, target=spelling).stream([], replace_unknown=True)
    assert caught.value.where == "replace_unknown"


def test_a_wider_beam_decodes_fewer_lines_per_batch() -> None:
    translator = untrained(WordTokenizer(["bado", "kime"]))
    tokens = []
    translator.model.encoders["text"].register_forward_hook(
        lambda encoder, inputs, memory: tokens.append(memory.values.shape[:2].numel())
    )
    lines = ["bado kime"] * 100
    for beam_size in (4, 40):
        tokens.clear()
        list(translator.stream(lines, beam_size=beam_size, batch_tokens=120))
        assert sum(tokens) == 300
        assert max(tokens) == 120 * 4 // beam_size
    results = translator.stream(lines[:2], n_best=1_000, batch_tokens=1)
    assert [len(result.alternatives) > 500 for result in results] == [True, True]


def test_half_a_surrogate_pair_is_refused(translator: Translator) -> None:
    with pytest.raises(TextError, match=r"'kime \\ud800': .*ud800"):
        translator.translate(["bado", "kime \ud800"])


def test_penalties_keep_outputs_from_ending_early(translator: Translator, lines: list[str]) -> None:
    def words(**penalties: float) -> int:
        results = translator.translate(lines, **penalties)
        return sum(len(result.text.split()) for result in results)

    short = words(length_penalty=0.0)
    assert short < words(length_penalty=1.0)
    assert short < words(length_penalty=0.0, coverage_penalty=0.5)


def test_a_speech_model_does_not_translate() -> None:
    with pytest.raises(ModelError, match="reads speech, not text"):
        Translator.load("digits", device="cpu")


def test_files_compressed_files_and_standard_input_are_translated_line_by_line(
    model: Path, translator: Translator, lines: list[str], tmp_path: Path
) -> None:
    given = [*lines[:4], "", *lines[4:8]]
    expected = "".join(f"{result.text}\n" for result in translator.translate(given))
    # Byte order mark and line ends as written by Windows.
    text = "\ufeff" + "".join(f"{line}\r\n" for line in given)
    (tmp_path / "text.txt").write_bytes(text.encode().removesuffix(b"\r\n"))
    with gzip.open(tmp_path / "text.txt.gz", "wb") as file:
        file.write(text.encode())
    output = tmp_path / "out.txt"
    done = run("translate", tmp_path / "text.txt.gz", "--model", model, "-o", output)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert output.read_text() == expected
    for arguments in (["-"], [tmp_path / "text.txt"]):
        done = run("translate", *arguments, "--model", model, stdin=text.encode())
        assert (done.returncode, done.stdout.decode(), done.stderr) == (0, expected, b"")


def test_json_has_source_score_and_alternatives(
    model: Path, translator: Translator, lines: list[str]
) -> None:
    stdin = "\n".join([lines[0], "", "bado N5"]).encode()
    done = run("translate", "--model", model, "--format", "json", "--n-best", "3",
               "--replace-unknown", "--length-penalty", "0.6", "--coverage-penalty", "0.2",
               stdin=stdin)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["source"] for row in rows] == [lines[0], "", "bado N5"]
    expected = translator.translate(
        lines[0], n_best=3, replace_unknown=True, length_penalty=0.6, coverage_penalty=0.2
    )
    assert rows[0]["text"] == expected.text
    assert rows[0]["score"] == pytest.approx(expected.score, abs=1e-3)
    assert [a["text"] for a in rows[0]["alternatives"]] == [a.text for a in expected.alternatives]
    assert rows[1]["text"] == "" and rows[1]["score"] == 0.0
    assert "N5" in rows[2]["text"].split()


def test_a_line_that_is_not_utf8_is_reported_and_all_lines_are_translated(
    model: Path, translator: Translator, lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"\n".join([lines[0].encode(), b"bado caf\xe9 kime", lines[1].encode()]))
    done = run("translate", path, "--model", model)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"asr-s2s: {path}:2: byte 9 is not UTF-8")
    assert done.stderr.count(b"\n") == 1
    answers = done.stdout.decode().splitlines()
    assert len(answers) == 3 and answers[1]
    assert answers[::2] == [result.text for result in translator.translate(lines[:2])]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.txt"], 1, "missing.txt: there is no such text file"),
        (["-", "--language", "zz"], 1, "--language: this model writes one language only"),
        (["-", "--length-penalty", "nan"], 2, "length-penalty"),
        (["-", "--coverage-penalty=-1"], 2, "coverage-penalty"),
        (["-", "--model", "digits"], 1, "digits: this model reads speech, not text"),
        (["-", "-o", "nowhere/out.txt"], 1, "nowhere/out.txt: cannot be written"),
    ],
)
def test_an_invalid_argument_gives_a_one_line_error(
    model: Path, arguments: list[str], code: int, words: str
) -> None:
    done = run("translate", "--model", model, *arguments, stdin=b"bado\n")
    assert done.returncode == code
    assert words in done.stderr.decode() and b"Traceback" not in done.stderr
    assert done.stdout == b""
    if code == 1:
        assert done.stderr.count(b"\n") == 1


def test_a_text_model_does_not_transcribe(model: Path, sample: Path) -> None:
    done = run("transcribe", sample, "--model", model)
    assert done.returncode == 1
    assert b"this model reads text, not speech" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_closing_standard_output_early_is_not_an_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("bado kime\n" * 20_000)
    line = f"{sys.executable} -m asr_s2s translate {tmp_path}/text.txt --model {model} | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=TIMEOUT)
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "source", "translation"),
    [
        ("en-de", "Two dogs are playing in the snow.", "Zwei Hunde spielen im Schnee."),
        ("en-zh", "I would like a cup of tea.", "我想要一杯茶。"),
    ],
)
def test_a_shipped_model_translates(name: str, source: str, translation: str) -> None:
    ended = run("translate", "--model", name, stdin=f"{source}\n\n".encode())
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.decode() == f"{translation}\n\n"


def test_text_and_score_of_the_shipped_model_do_not_depend_on_the_batch(shared_data: Path) -> None:
    shipped = Translator.load("en-de", device="cpu")
    with gzip.open(shared_data / "multi30k" / "val.en.gz", "rt", encoding="utf-8") as file:
        captions = [next(file).rstrip("\n") for _ in range(24)]
    together = shipped.translate(captions)
    shuffled = captions.copy()
    random.Random(1).shuffle(shuffled)
    other = {t.source: t for t in shipped.stream(shuffled, batch_tokens=60)}
    for caption, result in zip(captions, together, strict=True):
        alone = shipped.translate(caption)
        for again in (alone, other[caption]):
            assert again.text == result.text
            assert again.score == pytest.approx(result.score, abs=1e-4)
