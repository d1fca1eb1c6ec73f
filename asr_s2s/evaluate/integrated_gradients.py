"""Integrated gradients (Sundararajan et al., 2017), with steps where they are needed.

Gradients are added up on the straight way from a source that says nothing to the real one, times
the way: they sum to what a log-probability gains on it, but for the error of the sum. Where
attention finds a word the log-probability leaps, and equal steps would have to be thousands. What
it gains on any stretch of the way is known without gradients, so stretches whose gradients do not
sum to it are halved until all together do.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from captum.attr import IntegratedGradients

LogProbs: TypeAlias = Callable[[Tensor], Tensor]
"""`(rows, time, channels)` to log-probabilities `(rows, words)`."""

TOLERANCE = 0.01
"""Completeness error that is good enough."""
SUMMED = 0.05
"""The same for the errors of all stretches of the integral, none set off against another."""
LEAST_GAIN = 0.1
"""Natural log-probability; a smaller gain counts as this much when errors are divided by it."""
STRETCHES, POINTS = 8, 2
"""Equal parts that the way from the baseline to the source begins with, and the steps (Gauss and
Legendre's) in each."""
MOST_STEPS = 1000
"""Steps after which no part is halved any more."""
ROWS = 16
"""Steps that run through the model together."""


class _Stretch(NamedTuple):
    """Part of the way from the baseline to the source."""

    start: float
    """0 is the baseline, 1 the source."""
    end: float
    gradients: Tensor
    """Integrated gradients of the part, `(time, channels)`."""
    error: float
    """By how much their sum exceeds what the log-probability gains on it, which is known."""


def integrate(
    log_probs: LogProbs,
    inputs: Tensor,
    baseline: Tensor,
    word: int,
    gain: float,
    most_steps: int,
) -> tuple[NDArray[np.float32], int]:
    """Integrated gradients `(time, channels)` of a word's log-probability, and their steps.

    Args:
        log_probs: the log-probability of each word by what the encoder reads.
        inputs, baseline: what it reads of the source, and of one that says nothing,
            `(time, channels)`.
        word: its number.
        gain: its log-probability for the inputs, less that for the baseline.
        most_steps: after these no stretch is halved; the first `STRETCHES` are always walked.
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(log_probs)
    whole = max(abs(gain), LEAST_GAIN)
    stretches: list[_Stretch] = []
    wanted = [(i / STRETCHES, (i + 1) / STRETCHES) for i in range(STRETCHES)]
    steps = 0
    while wanted:
        steps += POINTS * len(wanted)
        stretches += _walk(log_probs, method, inputs, baseline, word, wanted)
        stretches.sort(key=lambda stretch: abs(stretch.error))
        errors = np.array([stretch.error for stretch in stretches])
        if abs(errors.sum()) <= TOLERANCE * whole and np.abs(errors).sum() <= SUMMED * whole:
            break
        # Those of small errors, which together are half of all, stay as they are for now.
        summed = np.abs(errors).cumsum()
        kept = int(np.searchsorted(summed, summed[-1] / 2, side="right"))
        room = max(0, most_steps - steps) // (2 * POINTS)
        halved = stretches[max(kept, len(stretches) - room) :]
        del stretches[len(stretches) - len(halved) :]
        wanted = [
            part
            for one in halved
            for middle in [(one.start + one.end) / 2]
            for part in ((one.start, middle), (middle, one.end))
        ]
    total = torch.stack([stretch.gradients for stretch in stretches]).sum(0)
    gradients: NDArray[np.float32] = total.cpu().numpy()
    return gradients, steps


def _walk(
    log_probs: LogProbs,
    method: "IntegratedGradients",
    inputs: Tensor,
    baseline: Tensor,
    word: int,
    wanted: Sequence[tuple[float, float]],
) -> list[_Stretch]:
    """Integrated gradients of these stretches, some at a time."""
    found = []
    for first in range(0, len(wanted), ROWS // POINTS):
        several = wanted[first : first + ROWS // POINTS]
        bounds = torch.tensor(several, dtype=inputs.dtype, device=inputs.device)[:, :, None, None]
        starts = torch.lerp(baseline[None], inputs[None], bounds[:, 0])
        ends = torch.lerp(baseline[None], inputs[None], bounds[:, 1])
        # cuDNN has no gradients of recurrent layers that are not training.
        with torch.backends.cudnn.flags(enabled=False):
            gradients = method.attribute(ends, starts, target=word, n_steps=POINTS).detach()
        with torch.inference_mode():
            gains = (log_probs(ends) - log_probs(starts))[:, word]
        errors = (gradients.sum((1, 2)) - gains).tolist()
        found += [
            _Stretch(start, end, own, error)
            for (start, end), own, error in zip(several, gradients.float(), errors, strict=True)
        ]
    return found


def completeness_error(gradients: NDArray[np.float32], gain: float) -> float:
    """How far integrated gradients sum from the gain, as a part of it."""
    return abs(float(gradients.sum(dtype=np.float64)) - gain) / max(abs(gain), LEAST_GAIN)
