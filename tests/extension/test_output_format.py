"""An output format added from outside the package: one function and one entry in a table."""

from pathlib import Path

import pytest

from asr_s2s.cli.main import main
from asr_s2s.pipeline import Transcript
from asr_s2s.writers import FORMATS, OutputFormat


def to_ctm(result: Transcript) -> str:
    """Convert a transcript to CTM: recording, channel, start, duration and text of each word."""
    return "".join(
        f"{Path(result.source).stem} 1 {word.start:.2f} {word.end - word.start:.2f} {word.text}\n"
        for segment in result.segments
        for word in segment.words
    )


def test_an_output_format(
    monkeypatch: pytest.MonkeyPatch,
    sample: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ctm = OutputFormat(content=to_ctm, help="words with their times", timed=True, lines=True)
    monkeypatch.setitem(FORMATS, "ctm", ctm)
    monkeypatch.setattr(
        "sys.argv",
        ["asr-s2s", "transcribe", "--model", "digits", "--device", "cpu", "--format", "ctm",
         "--output-dir", str(tmp_path), str(sample)],
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    written = (tmp_path / "digits.ctm").read_text()
    assert written == capsys.readouterr().out
    rows = [line.split() for line in written.splitlines()]
    assert [row[4] for row in rows] == sample.with_suffix(".txt").read_text().split()
    assert all(row[:2] == ["digits", "1"] and float(row[3]) > 0 for row in rows)
