"""The command `asr-s2s export`."""

import subprocess
import sys
from pathlib import Path

from tests.support.limits import TIMEOUT


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asr_s2s", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def test_8_bit_copy_gives_the_same_transcript(tmp_path: Path, sample: Path) -> None:
    done = run("export", "digits", "-o", tmp_path / "small")
    assert done.returncode == 0, done.stderr
    assert "3.2 MB" in done.stdout and "6.3 MB" in done.stdout
    names = sorted(path.name for path in (tmp_path / "small").iterdir())
    assert names == ["README.md", "config.yaml", "model.safetensors", "tokenizer.json"]
    text = run("transcribe", sample, "--model", tmp_path / "small")
    assert text.stdout.strip() == sample.with_suffix(".txt").read_text().strip(), text.stderr

    again = run("export", "digits", "-o", tmp_path / "small")
    assert again.returncode == 1
    assert again.stderr.strip() == (
        f"asr-s2s: {tmp_path / 'small'}: it exists already. Name a new folder."
    )


def test_a_damaged_model_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.yaml").write_text("decoder: {sise: 3}\n")
    done = run("export", tmp_path / "model", "-o", tmp_path / "small")
    assert done.returncode == 1
    assert "Did you mean decoder.size" in done.stderr
    assert not (tmp_path / "small").exists()
