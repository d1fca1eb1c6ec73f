"""A metric added from outside the package: one entry in a table."""

import json
from pathlib import Path

import pytest

from asr_s2s.cli.main import main
from asr_s2s.metrics.metric import METRICS, Metric, Scored
from tests.extension.conftest import Trainer


def length_error(scored: Scored) -> float:
    """Relative error of the total length."""
    expected = sum(len(u.reference) for u in scored.utterances)
    return abs(sum(len(u.hypothesis) for u in scored.utterances) - expected) / expected


def test_a_metric(
    monkeypatch: pytest.MonkeyPatch,
    train_tones: Trainer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    metric = Metric(
        title="LEN", field="length_error", unit="fraction", compute=length_error,
        report="error rates",
    )  # fmt: skip
    monkeypatch.setitem(METRICS, "length", metric)
    model = train_tones("text.metric=length")
    rows = [json.loads(line) for line in (model.parent / "metrics.jsonl").open()]
    assert all("length_error" in row for row in rows if row["kind"] == "valid")
    assert "LEN" in (model / "README.md").read_text()

    (tmp_path / "hypothesis.txt").write_text("one two\nthree\n")
    (tmp_path / "reference.txt").write_text("one two\nthree four\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sys.argv",
        ["asr-s2s", "evaluate", "--hypothesis", "hypothesis.txt", "--reference", "reference.txt",
         "--metric", "length", "--format", "json"],
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    report = json.loads(capsys.readouterr().out)
    assert report["length_error"] == pytest.approx(5 / 17)
