"""Pictures of attention: which part of the source each output token rests on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike


def draw_attention(
    path: Path, weights: ArrayLike, tokens: Sequence[str], seconds: float, title: str = ""
) -> None:
    """Draw weights `(tokens, time)` over `seconds` of audio to a PNG or SVG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    weights = np.asarray(weights)[: len(tokens)]
    figure = Figure(figsize=(8, max(2.0, 0.22 * len(tokens) + 1.0)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(
        weights,
        aspect="auto",
        cmap="magma",
        vmin=0.0,
        interpolation="nearest",
        extent=(0.0, seconds, len(tokens) - 0.5, -0.5),
    )
    axes.set_yticks(range(len(tokens)), ["␣" if token == " " else token for token in tokens])
    axes.set_xlabel("time (s)")
    axes.set_title(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
