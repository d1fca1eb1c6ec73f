"""The command `asr-s2s ngram`."""

from pathlib import Path

import torch
from click.testing import Result
from typer.testing import CliRunner

from asr_s2s.cli.main import app
from asr_s2s.errors import ConfigError, ModelError, TextError
from asr_s2s.lm.ngram_file import load_ngram
from asr_s2s.lm.word_ngram import WordNgramModel
from asr_s2s.model.folder import find_model
from asr_s2s.text.tokenizer import EOS
from asr_s2s.text.vocabulary import load_tokenizer


def ngram(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["ngram", *map(str, arguments), "--model", "digits"])


def test_lines_that_overlap_held_out_transcripts_are_left_out(tmp_path: Path) -> None:
    text, dev, rest = (tmp_path / name for name in ("text.txt", "dev.txt", "rest.txt"))
    held_out = "one two three four five six seven"
    text.write_text(f"two two\nnine {held_out.upper()} nine\n\nthree\nFour, five, six, six!\n")
    dev.write_text(f"eight {held_out}\nfour five six six\nthree\n")
    rest.write_text("two two\nthree\n")
    output, expected = tmp_path / "ngram.safetensors", tmp_path / "expected.safetensors"
    result = ngram(text, "--held-out", dev, "--output", output)
    assert result.exit_code == 0
    assert result.stderr == "2 of 5 lines overlap held-out transcripts and are left out\n"
    assert ngram(rest, "--output", expected).exit_code == 0
    assert output.read_bytes() == expected.read_bytes()


def test_held_out_text_is_rejected_with_an_arpa_file(tmp_path: Path) -> None:
    arpa, dev = tmp_path / "a.arpa", tmp_path / "dev.txt"
    arpa.write_text("\\data\\\n")
    dev.write_text("one two three four\n")
    result = ngram(arpa, "--held-out", dev, "--output", tmp_path / "ngram.safetensors")
    assert isinstance(result.exception, ConfigError)
    assert result.exception.where == "--held-out"


def test_domain_text_raises_the_probability_of_its_sentences(tmp_path: Path) -> None:
    text, domain, output = (tmp_path / name for name in ("text.txt", "domain.txt", "n.safetensors"))
    text.write_text("one two three\n" * 50 + "one two four\n")
    domain.write_text("one two four\n")
    tokenizer = load_tokenizer(find_model("digits"))
    log_probs = []
    for options in ([], ["--domain", domain], ["--domain", domain, "--domain-weight", 0.9]):
        result = ngram(text, "--words", 9, "--order", 3, "--output", output, *options)
        assert result.exit_code == 0, result.output
        model = load_ngram(output, tokenizer)
        state, total = model.start, 0.0
        for token in [*tokenizer.encode("one two four"), EOS]:
            score, state = model.step(state, torch.tensor(token))
            total += float(score)
        log_probs.append(total)
    assert log_probs[0] + 1 < log_probs[1] < log_probs[2] - 0.5


def test_domain_text_must_not_be_empty_or_combined_with_an_arpa_file(tmp_path: Path) -> None:
    text, domain, arpa = (tmp_path / name for name in ("text.txt", "domain.txt", "a.arpa"))
    text.write_text("one two three\n")
    domain.write_text("\n")
    arpa.write_text("\\data\\\n")
    result = ngram(text, "--domain", domain, "--output", tmp_path / "n.safetensors")
    assert isinstance(result.exception, TextError)
    assert "no sentence" in str(result.exception)
    result = ngram(arpa, "--domain", domain, "--output", tmp_path / "n.safetensors")
    assert isinstance(result.exception, ConfigError)
    assert result.exception.where == "--domain"


def test_word_ngrams_are_built_from_text_and_from_an_arpa_file(tmp_path: Path) -> None:
    text, arpa = tmp_path / "text.txt", tmp_path / "words.arpa"
    text.write_text("one two three\none two\nfour fiftyseven\n")
    result = ngram(text, "--words", 50, "--order", 2, "--output", tmp_path / "a.safetensors")
    assert result.exit_code == 0, result.output
    tokenizer = load_tokenizer(find_model("digits"))
    built = load_ngram(tmp_path / "a.safetensors", tokenizer)
    assert isinstance(built, WordNgramModel)
    assert sorted(built.spellings) == [
        "four",
        "one",
        "three",
        "two",
    ]  # "y" is not in the vocabulary
    arpa.write_text(
        "\\data\\\nngram 1=5\nngram 2=1\n\n\\1-grams:\n-1\t<s>\t-0.5\n-1\t</s>\n-2\t<unk>\n"
        "-0.5\tone\t-0.2\n-0.7\tfifty\n\n\\2-grams:\n-0.1\t<s> one\n\n\\end\\\n"
    )
    result = ngram(arpa, "--words", 50, "--output", tmp_path / "b.safetensors")
    assert result.exit_code == 0, result.output
    read = load_ngram(tmp_path / "b.safetensors", tokenizer)
    assert isinstance(read, WordNgramModel) and list(read.spellings) == ["one"]


def test_word_ngrams_need_a_model_that_outputs_characters(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("ein hund\n")
    arguments = ["ngram", str(text), "--model", "en-de", "--words", "10"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ModelError)
    assert "without --words" in str(result.exception)
