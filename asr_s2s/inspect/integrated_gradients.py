"""Integrated gradients (Sundararajan et al., 2017) with adaptive steps.

Gradients are integrated along the straight path from an uninformative baseline to the source; they
sum to the gain in log-probability, up to the error of the numerical integral. Where attention
finds a word the log-probability changes abruptly, and uniform steps would have to be thousands.
The gain over any segment of the path is known without gradients, so segments whose gradients do
not sum to their gain are halved until the total error is small.
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
"""Function from encoder inputs `(rows, time, channels)` to log-probabilities `(rows, words)`."""

TOLERANCE = 0.01
"""Maximum completeness error."""
SUMMED_TOLERANCE = 0.05
"""Maximum sum of the absolute errors of all segments, relative to the gain."""
LEAST_GAIN = 0.1
"""Floor on the gain in natural log-probability that errors are divided by."""
SEGMENTS, POINTS = 8, 2
"""Number of equal segments at the start, and Gauss-Legendre points in each segment."""
MOST_STEPS = 1000
"""Number of gradient evaluations after which no segment is halved."""
ROWS = 16
"""Number of gradient evaluations in a batch."""


class _Segment(NamedTuple):
    """Segment of the path from the baseline (0) to the source (1)."""

    start: float
    end: float
    gradients: Tensor
    """Integrated gradients over the segment, `(time, channels)`."""
    error: float
    """Sum of the gradients minus the exact gain over the segment."""


def integrate(
    log_probs: LogProbs,
    inputs: Tensor,
    baseline: Tensor,
    word: int,
    gain: float,
    most_steps: int,
) -> tuple[NDArray[np.float32], int]:
    """Compute integrated gradients of the log-probability of a word.

    Args:
        log_probs: log-probability of each word for encoder inputs.
        inputs: encoder inputs of the source, `(time, channels)`.
        baseline: encoder inputs of the baseline, `(time, channels)`.
        word: index of the word.
        gain: log-probability of the word for the inputs minus that for the baseline.
        most_steps: gradient evaluations after which no segment is halved; the first `SEGMENTS`
            segments are always evaluated.

    Returns:
        Integrated gradients `(time, channels)`, and the number of gradient evaluations.
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(log_probs)
    whole = max(abs(gain), LEAST_GAIN)
    segments: list[_Segment] = []
    pending = [(i / SEGMENTS, (i + 1) / SEGMENTS) for i in range(SEGMENTS)]
    steps = 0
    while pending:
        steps += POINTS * len(pending)
        segments += _evaluate_segments(log_probs, method, inputs, baseline, word, pending)
        segments.sort(key=lambda segment: abs(segment.error))
        errors = np.array([segment.error for segment in segments])
        summed_error = np.abs(errors).sum()
        if abs(errors.sum()) <= TOLERANCE * whole and summed_error <= SUMMED_TOLERANCE * whole:
            break
        # Segments with the smallest errors, which make up half of the total error, are kept.
        summed = np.abs(errors).cumsum()
        kept = int(np.searchsorted(summed, summed[-1] / 2, side="right"))
        room = max(0, most_steps - steps) // (2 * POINTS)
        halved = segments[max(kept, len(segments) - room) :]
        del segments[len(segments) - len(halved) :]
        pending = [
            half
            for segment in halved
            for middle in [(segment.start + segment.end) / 2]
            for half in ((segment.start, middle), (middle, segment.end))
        ]
    total = torch.stack([segment.gradients for segment in segments]).sum(0)
    gradients: NDArray[np.float32] = total.cpu().numpy()
    return gradients, steps


def _evaluate_segments(
    log_probs: LogProbs,
    method: "IntegratedGradients",
    inputs: Tensor,
    baseline: Tensor,
    word: int,
    pending: Sequence[tuple[float, float]],
) -> list[_Segment]:
    """Compute integrated gradients of segments in batches."""
    found = []
    for first in range(0, len(pending), ROWS // POINTS):
        batch = pending[first : first + ROWS // POINTS]
        bounds = torch.tensor(batch, dtype=inputs.dtype, device=inputs.device)[:, :, None, None]
        starts = torch.lerp(baseline[None], inputs[None], bounds[:, 0])
        ends = torch.lerp(baseline[None], inputs[None], bounds[:, 1])
        # cuDNN computes no gradients of recurrent layers in evaluation mode.
        with torch.backends.cudnn.flags(enabled=False):
            gradients = method.attribute(ends, starts, target=word, n_steps=POINTS).detach()
        with torch.inference_mode():
            gains = (log_probs(ends) - log_probs(starts))[:, word]
        errors = (gradients.sum((1, 2)) - gains).tolist()
        found += [
            _Segment(start, end, own, error)
            for (start, end), own, error in zip(batch, gradients.float(), errors, strict=True)
        ]
    return found


def completeness_error(gradients: NDArray[np.float32], gain: float) -> float:
    """Difference between the sum of integrated gradients and the gain, relative to the gain."""
    return abs(float(gradients.sum(dtype=np.float64)) - gain) / max(abs(gain), LEAST_GAIN)
