"""Checkpoints of a training run: its exact state, and the weights of its best steps."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from asr_s2s.errors import TrainingError
from asr_s2s.text_files import atomic_write
from asr_s2s.train.processes import Processes


@dataclass
class Position:
    """Progress of a run."""

    step: int = 0
    """Optimizer steps taken."""
    epoch: dict[str, int] = field(default_factory=dict)
    """Current epoch, by kind of source."""
    batch: dict[str, int] = field(default_factory=dict)
    """Batches of the current epoch used by all processes together, by kind of source."""
    best: list[tuple[float, int]] = field(default_factory=list)
    """(validation error, step) of the best checkpoints, best first."""
    stale: int = 0
    """Number of validations since the best one."""


def save_state(
    path: Path,
    position: Position,
    model: torch.nn.Module,
    criterion: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: GradScaler,
    processes: Processes,
) -> None:
    """Atomically write everything needed to resume exactly. Called by all processes; the first one
    writes."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    generators = processes.gather({"cpu": torch.get_rng_state(), "cuda": cuda})
    if not processes.first:
        return
    state = {
        "position": asdict(position),
        "model": model.state_dict(),
        "criterion": criterion.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "generators": generators,
    }
    with atomic_write(path) as file:
        torch.save(state, file)


def load_state(
    path: Path,
    model: torch.nn.Module,
    criterion: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: GradScaler,
    rank: int,
) -> Position:
    """Restore the state written by `save_state`, including random number generators, except those
    of processes that the saved run did not have.

    Raises:
        TrainingError: the file is damaged or belongs to a different model.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        criterion.load_state_dict(_criterion_state(state))
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        if rank < len(state["generators"]):
            generators = state["generators"][rank]
            torch.set_rng_state(generators["cpu"])
            if torch.cuda.is_available() and generators["cuda"] is not None:
                torch.cuda.set_rng_state(generators["cuda"])
        position = Position(**state["position"])
    except Exception as error:
        problem = str(error).splitlines()[0]
        raise TrainingError(
            path,
            f"this training state cannot be resumed ({problem})",
            "Delete the run folder, or choose another --output",
        ) from error
    position.best = [(float(rate), int(step)) for rate, step in position.best]
    return position


def _criterion_state(state: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights of the criterion; older states have only those of distillation, if any."""
    if "criterion" in state:
        weights: dict[str, Tensor] = state["criterion"]
        return weights
    return {f"distillation.{name}": w for name, w in state.get("distillation", {}).items()}


class BestCheckpoints:
    """Stores the weights of the `keep` steps with the lowest validation error."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = max(1, keep)

    def path(self, step: int) -> Path:
        """Return the file with the weights of a step."""
        return self.folder / f"step-{step:07d}.safetensors"

    def add(self, position: Position, rate: float, model: torch.nn.Module) -> bool:
        """Save the weights if they are among the best; return whether they are the best."""
        ranked = sorted([*position.best, (rate, position.step)])[: self.keep]
        is_best = ranked[0] == (rate, position.step)
        if (rate, position.step) in ranked:
            self.folder.mkdir(parents=True, exist_ok=True)
            weights = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
            with atomic_write(self.path(position.step)) as file:
                file.write(save(weights))
        position.best = ranked
        return is_best

    def prune(self, position: Position) -> None:
        """Delete weights that are no longer among the best. Call only after saving the position, so
        that a saved position never refers to deleted weights."""
        kept = {self.path(step) for _, step in position.best}
        for path in self.folder.glob("step-*.safetensors"):
            if path not in kept:
                path.unlink()

    def load(self, steps: list[int]) -> dict[str, Tensor]:
        """Return the mean of the weights of some steps."""
        total: dict[str, Tensor] = {}
        for step in steps:
            for name, value in load_file(self.path(step)).items():
                value = value.double() if value.is_floating_point() else value
                total[name] = total[name] + value if name in total else value
        return {
            name: (value / len(steps)).float() if value.is_floating_point() else value // len(steps)
            for name, value in total.items()
        }
