"""The command `asr-s2s export`."""

from pathlib import Path

from tests.support.commands import run_text_command


def test_8_bit_copy_gives_the_same_transcript(tmp_path: Path, sample: Path) -> None:
    done = run_text_command("export", "digits", "-o", tmp_path / "small")
    assert done.returncode == 0, done.stderr
    assert "3.2 MB" in done.stdout and "6.3 MB" in done.stdout
    names = sorted(path.name for path in (tmp_path / "small").iterdir())
    assert names == ["README.md", "config.yaml", "model.safetensors", "tokenizer.json"]
    text = run_text_command("transcribe", sample, "--model", tmp_path / "small")
    assert text.stdout.strip() == sample.with_suffix(".txt").read_text().strip(), text.stderr

    again = run_text_command("export", "digits", "-o", tmp_path / "small")
    assert again.returncode == 1
    assert again.stderr.strip() == (
        f"asr-s2s: {tmp_path / 'small'}: it exists already. Name a new folder."
    )


def test_a_damaged_model_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.yaml").write_text("decoder: {sise: 3}\n")
    done = run_text_command("export", tmp_path / "model", "-o", tmp_path / "small")
    assert done.returncode == 1
    assert "Did you mean decoder.size" in done.stderr
    assert not (tmp_path / "small").exists()
