"""A work that a system has built, to be run over and over."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from peers.work import Setting, Work
from torch import Tensor, nn


class Case(NamedTuple):
    """Built once, run in every round."""

    run: Callable[[], object]
    output_layer: nn.Module | None
    """For searches, what makes logits of the decoder's state: it is called once a step, with a row
    for each hypothesis, which shows that no search stops early. None where there is nothing to
    show."""


def training_case(model: nn.Module, loss: Callable[[], Tensor], setting: Setting) -> Case:
    """A whole optimizer step: forward, backward, clipping, AdamW, with the settings that
    `asr-s2s train` has by default."""
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
    """Calls of a search's output layer, and the rows in them."""

    def __init__(self, layer: nn.Module) -> None:
        self.calls = self.rows = 0
        self._handle = layer.register_forward_pre_hook(self._note)

    def _note(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.calls += 1
        self.rows += inputs[0].numel() // inputs[0].size(-1)

    def check(self, work: Work) -> None:
        """Stop counting.

        Raises:
            AssertionError: the search did more or fewer steps, or dropped hypotheses on its way.
        """
        self._handle.remove()
        found = (self.calls, self.rows)
        wanted = (work.steps, work.steps * work.batch * work.beam)
        assert found == wanted, f"steps and rows are {found}, not {wanted}"
