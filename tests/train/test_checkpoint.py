"""States of training runs."""

from pathlib import Path

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from asr_s2s.config import Config, DistillConfig
from asr_s2s.train.checkpoint import Position, load_state, save_state
from asr_s2s.train.distill import Distillation
from asr_s2s.train.processes import Processes
from asr_s2s.train.seq2seq_task import JointLoss


def _parts() -> tuple[nn.Module, JointLoss, torch.optim.Optimizer]:
    distillation = Distillation(4, 3, 2, DistillConfig(weight=1.0, layer=1))
    model, criterion = nn.Linear(2, 2), JointLoss(Config(), distillation)
    weights = [*model.parameters(), *criterion.parameters()]
    return model, criterion, torch.optim.AdamW(weights, fused=True)


def test_distillation_is_restored_also_from_states_of_older_versions(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    model, criterion, optimizer = _parts()
    save_state(path, Position(step=3), model, criterion, optimizer, GradScaler("cpu"), Processes())
    state = torch.load(path, weights_only=True)
    older = dict(state)
    older["distillation"] = {
        name.removeprefix("distillation."): value for name, value in older.pop("criterion").items()
    }
    for number, saved in enumerate((state, older)):
        torch.save(saved, tmp_path / f"{number}.pt")
        model, restored, optimizer = _parts()
        position = load_state(
            tmp_path / f"{number}.pt", model, restored, optimizer, GradScaler("cpu"), 0
        )
        assert position.step == 3
        for name, value in criterion.state_dict().items():
            torch.testing.assert_close(restored.state_dict()[name], value, rtol=0, atol=0)


def test_states_without_distillation_load_into_a_plain_loss(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    model, plain = nn.Linear(2, 2), JointLoss(Config(), None)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    save_state(path, Position(step=1), model, plain, optimizer, GradScaler("cpu"), Processes())
    state = torch.load(path, weights_only=True)
    del state["criterion"]  # as in states of older versions
    torch.save(state, path)
    assert load_state(path, model, plain, optimizer, GradScaler("cpu"), 0).step == 1
