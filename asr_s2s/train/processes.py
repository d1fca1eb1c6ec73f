"""Data-parallel training: processes started by torchrun take other batches of the same order, and
each step takes the mean of their gradients, or every so many steps the mean of their weights."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# Optimizers import this one late, and defaults of its functions then keep the group that is there,
# whose threads live on after `leave` and can abort the process as it ends.
import torch.distributed.nn
from torch import Tensor

PATIENCE = timedelta(days=1)
"""How long a process waits for another, as for the first one's validation."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train one model; on its own unless torchrun started it."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, reports and writes the run folder."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            dist.barrier()

    def share(self, value: Any) -> Any:
        """The first process's value."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in order of rank."""
        if self.count == 1:
            return [value]
        values = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def share_weights(self, model: torch.nn.Module) -> None:
        """Give all processes the first one's parameters and buffers."""
        if self.count > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def average(self, tensors: Sequence[Tensor], stop: bool) -> bool:
        """Put the mean of all processes' tensors in place of each one's own.

        Args:
            stop: whether this process has been asked to stop; it rides along, so that all
                processes stop after the same step.

        Returns:
            Whether any process has been asked to stop.
        """
        if self.count == 1:
            return stop
        flag = tensors[0].new_tensor([float(stop)])
        flat = torch.cat([*(tensor.flatten() for tensor in tensors), flag])
        dist.all_reduce(flat)
        flat /= self.count
        *means, stopping = torch.split(flat, [*(tensor.numel() for tensor in tensors), 1])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view_as(tensor))
        return bool(stopping)


def join(device: torch.device) -> Processes:
    """Meet the other processes that torchrun has started, if it has; on CUDA, each takes its own
    GPU."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes()
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    return Processes(dist.get_rank(), count)


def leave(processes: Processes) -> None:
    """Part from the others."""
    if processes.count > 1:
        dist.destroy_process_group()
