"""`asr-s2s ngram` leaves out the lines that held-out transcripts hold."""

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from asr_s2s.cli.main import app
from asr_s2s.errors import ConfigError


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


def test_an_arpa_file_has_no_lines_to_leave_out(tmp_path: Path) -> None:
    arpa, dev = tmp_path / "a.arpa", tmp_path / "dev.txt"
    arpa.write_text("\\data\\\n")
    dev.write_text("one two three four\n")
    result = ngram(arpa, "--held-out", dev, "--output", tmp_path / "ngram.safetensors")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith("--held-out: an ARPA file holds no lines")
