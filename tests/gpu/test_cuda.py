"""CUDA paths: they run where there is a GPU, and are skipped elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import asr_s2s
from tests.support.limits import TIMEOUT
from tests.support.tones import CONFIG, write_corpus

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_the_beam_gives_the_text_of_the_cpu(sample: Path) -> None:
    texts = [
        asr_s2s.load("digits", device).transcribe(str(sample), beam_size=8).text
        for device in ("cpu", "cuda")
    ]
    assert texts[0] == texts[1] == sample.with_suffix(".txt").read_text().strip()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_on_a_gpu_resumes(precision: str, tmp_path: Path) -> None:
    write_corpus(tmp_path / "tones")
    config = tmp_path / "tones" / "config.yaml"
    config.write_text(CONFIG)
    for steps in (6, 12):
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "asr_s2s",
                    "train",
                    str(tmp_path / "tones" / "config.yaml"),
                ),
                *(f"train.precision={precision}", f"train.steps={steps}", "--device", "cuda"),
                *("-o", str(tmp_path / "run")),
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert "at step 6" in done.stderr
