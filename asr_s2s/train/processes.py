"""Data-parallel training under torchrun.

Processes train on different batches of the same epoch, and average their gradients at every step,
or their weights every few steps (local SGD).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# Optimizers import this module lazily. Its default arguments would then hold the process group,
# whose threads would outlive `leave` and could abort the process at exit.
import torch.distributed.nn
from torch import Tensor

TIMEOUT = timedelta(days=1)
"""Maximum time that a process waits for another, for example during validation."""


@dataclass(frozen=True)
class Processes:
    """Rank of this process, and number of processes that train the model together."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process validates, reports and writes the run folder."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes get here."""
        if self.count > 1:
            dist.barrier()

    def share(self, value: Any) -> Any:
        """Return the value of the first process."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in order of rank."""
        if self.count == 1:
            return [value]
        values = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def share_weights(self, model: torch.nn.Module) -> None:
        """Copy the first process's parameters and buffers to all processes."""
        if self.count > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def average(self, tensors: Sequence[Tensor], stop: bool) -> bool:
        """Replace tensors in place by their mean over all processes.

        Args:
            stop: whether this process has been asked to stop; sent along, so that all processes
                stop after the same step.

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
    """Join the process group if started by torchrun; on CUDA, each process uses its own GPU."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes()
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    return Processes(dist.get_rank(), count)


def leave(processes: Processes) -> None:
    """Leave the process group."""
    if processes.count > 1:
        dist.destroy_process_group()
