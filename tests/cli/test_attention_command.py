"""The command `asr-s2s attention`, run as a process."""

import json
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile

from asr_s2s.config import (
    Config,
    DecoderConfig,
    ModelConfig,
    SourceTextConfig,
    SpeechEncoderConfig,
    TextConfig,
    TextEncoderConfig,
)
from asr_s2s.model.folder import save_model
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.tokenizer import CharacterTokenizer
from tests.support.commands import run_command


def attention(
    *arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    return run_command("attention", *arguments, stdin=stdin, cwd=cwd)


def write_weights(path: Path, *arguments: str | Path, stdin: bytes = b"") -> dict:
    """Write attention weights as JSON, check their shape and sums, and return the record."""
    done = attention(*arguments, "--device", "cpu", "-o", path, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    record = json.loads(path.read_text("utf-8"))
    columns = record["source"] or record["times"]
    weights = np.array(record["weights"])
    assert weights.shape == (len(record["output"]), len(columns))
    assert weights.sum(1) == pytest.approx(np.ones(len(weights)), abs=1e-3)
    return record


def write_model(folder: Path, *encoders: str, attention: str = "additive") -> Path:
    """Write a small untrained model."""
    config = Config(
        model=ModelConfig(encoders=encoders),
        text=TextConfig(languages=("de", "fr")),
        source_text=SourceTextConfig(tokenizer="characters"),
        speech_encoder=SpeechEncoderConfig(layers=2, size=8, time_reduction=4),
        text_encoder=TextEncoderConfig(layers=1, size=8, embedding_size=8),
        decoder=DecoderConfig(
            attention=attention, first_state="source", size=8, attention_size=8, embedding_size=8
        ),
    )
    tokenizer, source = CharacterTokenizer("abc "), CharacterTokenizer("xyz ")
    sizes = len(tokenizer) + 2, len(source)
    with_text = source if "text" in encoders else None
    save_model(folder, config, tokenizer, with_text, Seq2Seq(config, *sizes).state_dict())
    return folder


@pytest.fixture
def text_model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "text-model", "text")


def test_attention_follows_spoken_digits(sample: Path, tmp_path: Path) -> None:
    record = write_weights(tmp_path / "weights.json", sample, "--model", "digits")
    text = sample.with_suffix(".txt").read_text().strip()
    assert "".join(record["output"]) == f"{text}</s>"
    assert record["source"] is None
    assert record["seconds"] == pytest.approx(soundfile.info(sample).duration, abs=0.001)

    samples, rate = soundfile.read(sample)
    loud = np.flatnonzero(np.abs(samples) > 0.01) / rate
    word_starts = loud[np.diff(loud, prepend=-1.0) > 0.1]  # after a pause of 100 ms
    assert len(word_starts) == len(text.split()) == 6
    first_letters = [i for i in range(len(text)) if i == 0 or text[i - 1] == " "]
    places = np.array(record["weights"]).argmax(1)
    peaks = [record["times"][place] for place in places[first_letters]]
    assert peaks == sorted(peaks)
    for peak, start in zip(peaks, word_starts, strict=True):
        assert start <= peak <= start + 0.3


def test_picture_is_written_to_the_output_file(sample: Path, tmp_path: Path) -> None:
    done = attention(sample.resolve(), "--model", "digits", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert (done.stdout, done.stderr) == (b"", b"written to attention.png\n")
    height, width, _ = matplotlib.image.imread(tmp_path / "attention.png").shape
    assert 1000 < width < 2000 and 1000 < height < 2000
    done = attention(sample, "--model", "digits", "-o", tmp_path / "new" / "a.SVG")
    assert done.returncode == 0, done.stderr.decode()
    assert ElementTree.parse(tmp_path / "new" / "a.SVG").getroot().tag.endswith("svg")


def test_given_output_has_the_weights_of_the_equal_decoded_output(
    sample: Path, tmp_path: Path
) -> None:
    text = sample.with_suffix(".txt").read_text().strip()
    own = write_weights(tmp_path / "own.json", sample, "--model", "digits", "--beam-size", "1")
    given = ("--model", "digits", "--output-text", text.upper())
    assert write_weights(tmp_path / "given.json", sample, *given) == own


def test_sentence_is_an_argument_or_read_from_standard_input(
    text_model: Path, tmp_path: Path
) -> None:
    options = ("--model", text_model, "--language", "fr", "--output-text", "ab")
    argument = write_weights(tmp_path / "a.json", "xy zy", *options)
    assert argument["source"] == ["x", "y", " ", "z", "y", "</s>"]
    assert argument["output"] == ["<fr>", "a", "b", "</s>"]
    assert argument["seconds"] is argument["times"] is None
    piped = write_weights(tmp_path / "b.json", "-", *options, stdin=b"xy zy\r\nzz\n")
    assert piped == argument
    assert write_weights(tmp_path / "c.json", "xy", "--model", text_model, "--language", "de")


def test_existing_file_is_a_recording_for_a_model_of_speech_and_text(
    sample: Path, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "both", "speech", "text")
    options = ("--model", model, "--language", "de", "--output-text", "a")
    assert write_weights(tmp_path / "a.json", sample, *options)["source"] is None
    sentence = "x" * 300  # longer than any file name
    assert len(write_weights(tmp_path / "b.json", sentence, *options)["source"]) == 301


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("xy",), "one of text.languages: de, fr"),
        (("xy", "--language", "es"), "one of text.languages: de, fr"),
        (("xy", "-o", "a.pdf"), "a.pdf: expected a file that ends in .png, .svg, .json"),
        (("xy", "--language", "de", "-o", "folder.png"), "folder.png: cannot be written"),
        (("xy", "--language", "de", "-o", "folder.json"), "folder.json: cannot be written"),
        (("xy", "--model", "fixed"), "this model has no attention"),
        ((" ", "--language", "de"), "SOURCE: there is no text"),
        (("-", "--language", "de"), "SOURCE: there is no text"),
        (("x" * 400, "--language", "de"), "SOURCE: the text has 401 tokens; at most 400"),
        (
            ("xy", "--language", "de", "--output-text", "a" * 401),
            "--output-text: the text has 401 tokens; at most 400",
        ),
        (
            ("xy", "--model", "digits", "--language", "de"),
            "--language: this model writes one language only",
        ),
        (("x\udcff", "--language", "de"), "which is no character"),
        (("xy", "--language", "de", "--output-text", "a\udcff"), "which is no character"),
        (("lost.wav", "--model", "digits"), "lost.wav: there is no such file"),
        (("x" * 999, "--model", "digits"), "cannot be opened"),
        (("long.wav", "--model", "digits"), "long.wav: it lasts 61 s; at most 60 s"),
        (("silent.wav", "--model", "digits"), "silent.wav: the recording is silent"),
    ],
)
def test_user_errors_are_one_line_on_stderr(
    text_model: Path, tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    write_model(tmp_path / "fixed", "text", attention="none")
    for name in ("folder.png", "folder.json"):
        (tmp_path / name).mkdir()
    soundfile.write(tmp_path / "long.wav", np.full(61 * 8000, 0.1), 8000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    model = () if "--model" in arguments else ("--model", text_model)
    done = attention(*arguments, *model, cwd=tmp_path)
    assert done.returncode == 1, done.stderr.decode()
    assert done.stdout == b""
    assert problem in done.stderr.decode(errors="surrogateescape")
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "attention.png").exists()
