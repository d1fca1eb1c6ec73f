"""Tests of the comparison with PocketSphinx, using kept hypotheses."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "against_pocketsphinx.py"
TEXT = "three one four one five nine"


def compare(manifest: Path, output: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(manifest), "--threads", "1"]
    return subprocess.run(
        [*command, "--output", str(output)], capture_output=True, text=True, check=False
    )


def write_hypotheses(folder: Path, *rows: dict[str, str]) -> Path:
    folder.mkdir()
    kept = folder / "dev.jsonl"
    kept.write_text("".join(json.dumps({**row, "system": "PocketSphinx 5"}) + "\n" for row in rows))
    return kept


def write_manifest(folder: Path, sample: Path) -> Path:
    manifest = folder / "dev.jsonl"
    rows = [{"id": name, "audio": str(sample), "text": TEXT} for name in ("a", "b")]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def test_kept_hypotheses_are_scored_and_not_recomputed(tmp_path: Path, sample: Path) -> None:
    rows = {"id": "a", "text": TEXT.upper()}, {"id": "b", "text": "three won four"}
    kept = write_hypotheses(tmp_path / "out", *rows)
    whole = kept.read_text()
    kept.write_text(whole + '{"id": "c", "te')  # killed while writing
    result = compare(write_manifest(tmp_path, sample), tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "model digits, beam 8, threads 1; PocketSphinx 5, processes 1" in result.stdout
    cells = [cell.strip() for cell in result.stdout.splitlines()[-1].split("|")[1:-1]]
    assert cells[:2] == ["dev", "2"]
    assert cells[3] == "0.0"
    assert cells[4].startswith("33.3 (")
    assert float(cells[6]) > 0
    assert cells[7] == "-"
    assert kept.read_text() == whole


def test_an_invalid_file_of_hypotheses_is_named(tmp_path: Path, sample: Path) -> None:
    kept = write_hypotheses(tmp_path / "out", {"id": "a"})
    result = compare(write_manifest(tmp_path, sample), tmp_path / "out")
    assert result.returncode == 1
    assert result.stderr.startswith(f"{kept}:1: ")
    assert len(result.stderr.splitlines()) == 1
