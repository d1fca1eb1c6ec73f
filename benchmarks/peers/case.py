"""A workload built by a system, to be run repeatedly."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from peers.work import Setting, Work
from torch import Tensor, nn


class Case(NamedTuple):
    """A workload that is built once and run in every round."""

    run: Callable[[], object]
    output_layer: nn.Module | None
    """For searches, the layer that computes logits from the decoder's state. It is called once per
    step with one row per hypothesis, which verifies that no search stops early. None for other
    workloads."""


def training_case(model: nn.Module, loss: Callable[[], Tensor], setting: Setting) -> Case:
    """Build an optimizer step (forward, backward, clipping, AdamW) with the default settings of
    `asr-s2s train`."""
    model.to(setting.device).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=1e-3, betas=(0.9, 0.98), fused=setting.device.type == "cuda"
    )
    autocast = torch.autocast(
        setting.device.type, dtype=torch.bfloat16, enabled=setting.precision == "bf16"
    )

    def run() -> None:
        with autocast:
            total = loss()
        torch.autograd.backward(total)
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        optimizer.zero_grad()

    return Case(run, None)


class Count:
    """Counts calls of the output layer of a search, and their rows."""

    def __init__(self, layer: nn.Module) -> None:
        self.calls = self.rows = 0
        self._handle = layer.register_forward_pre_hook(self._count)

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.calls += 1
        self.rows += inputs[0].numel() // inputs[0].size(-1)

    def check(self, work: Work) -> None:
        """Stop counting and compare with the workload.

        Raises:
            AssertionError: the search took more or fewer steps, or dropped hypotheses.
        """
        self._handle.remove()
        found = (self.calls, self.rows)
        expected = (work.steps, work.steps * work.batch * work.beam)
        assert found == expected, f"found (steps, rows) {found}, expected {expected}"
