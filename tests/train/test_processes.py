"""Data-parallel training in several processes under torchrun."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.limits import TIMEOUT
from tests.support.runs import (
    ENVIRONMENT,
    SEVERAL,
    assert_same,
    logged,
    run,
    start,
    training_state,
    wait_for_step,
)
from tests.support.tones import CONFIG, write_corpus

DETERMINISTIC = [
    "speech_encoder.dropout=0", "decoder.dropout=0", "augment.time_masks=0",
    "augment.frequency_masks=0", "objective.scheduled_sampling=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder, utterances=80)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


def test_two_processes_equal_one_with_twice_the_batches(corpus: Path, tmp_path: Path) -> None:
    steps = [*DETERMINISTIC, "train.steps=4"]
    code, messages = run(corpus, tmp_path / "one", *steps, "train.accumulate=2")
    assert code == 0, messages
    code, messages = run(corpus, tmp_path / "two", *steps, processes=2)
    assert code == 0, messages
    assert messages.count("training on 80 utterances") == 1
    one, two = (training_state(tmp_path / name) for name in ("one", "two"))
    assert one["position"]["batch"] == two["position"]["batch"] == {"speech": 8}
    for name, weights in one["model"].items():
        torch.testing.assert_close(weights, two["model"][name], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("average_every", [1, 3])
def test_two_resumed_processes_equal_two_uninterrupted_ones(
    corpus: Path, tmp_path: Path, average_every: int
) -> None:
    settings = f"train.average_every={average_every}"
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    code, messages = run(corpus, uninterrupted, settings, processes=2)
    assert code == 0, messages
    process = start(corpus, resumed, settings, processes=2)
    wait_for_step(resumed, 5, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=TIMEOUT)
    assert training_state(resumed)["position"]["step"] < 12
    code, messages = run(corpus, resumed, settings, processes=2)
    assert code == 0, messages
    assert messages.count("resuming") == 1
    assert_same(training_state(uninterrupted), training_state(resumed))
    assert_same(
        load_file(uninterrupted / "model/model.safetensors"),
        load_file(resumed / "model/model.safetensors"),
    )
    assert logged(uninterrupted) == logged(resumed)


def test_averaging_weights_after_one_step_averages_the_moments(
    corpus: Path, tmp_path: Path
) -> None:
    """First moments agree, as they are linear in the gradients. Weights differ, as Adam's first
    step depends on little but the signs of gradients."""
    one_step = [*DETERMINISTIC, "train.steps=1", "train.clip_norm=1e9"]
    for name, settings in (("gradients", []), ("weights", ["train.average_every=2"])):
        code, messages = run(corpus, tmp_path / name, *one_step, *settings, processes=2)
        assert code == 0, messages
    states = [training_state(tmp_path / name) for name in ("gradients", "weights")]
    moments = [
        {k: moments["exp_avg"] for k, moments in state["optimizer"]["state"].items()}
        for state in states
    ]
    torch.testing.assert_close(*moments, atol=1e-6, rtol=1e-3)
    weights = [state["model"]["decoder.output.weight"] for state in states]
    assert not torch.equal(*weights)


def test_more_processes_than_batches_are_refused(corpus: Path, tmp_path: Path) -> None:
    code, messages = run(corpus, tmp_path, "data.batch_seconds=1000", "data.buckets=1", processes=2)
    assert code != 0
    assert "too few batches" in messages and "2 processes" in messages


def test_no_thread_of_the_process_group_outlives_it(tmp_path: Path) -> None:
    """A thread that remains could abort the process at exit, long after the model was written."""
    script = tmp_path / "ends.py"
    script.write_text(
        "import torch\n"
        "from pathlib import Path\n"
        "from asr_s2s.train.processes import join, leave\n"
        "processes = join(torch.device('cpu'))\n"
        "layer = torch.nn.Linear(1, 1)\n"
        "optimizer = torch.optim.AdamW(layer.parameters())\n"
        "layer(torch.ones(1, 1)).sum().backward()\n"
        "optimizer.step()\n"
        "processes.wait()\n"
        "leave(processes)\n"
        "names = [path.read_text() for path in Path('/proc/self/task').glob('*/comm')]\n"
        "raise SystemExit(any('gloo' in name for name in names))\n"
    )
    command = [sys.executable, *SEVERAL, "2", str(script)]
    ended = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert ended.returncode == 0, ended.stderr
