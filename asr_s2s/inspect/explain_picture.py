"""Pictures of explanations, over the log-mel spectrogram or the source text."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from asr_s2s.audio.features import FRAMES_PER_SECOND
from asr_s2s.inspect.attention import (
    DPI,
    LARGEST_FONT,
    LARGEST_SIDE,
    SMALLEST_FONT,
    Spectrogram,
    draw_spectrogram,
    find_fonts,
    visible,
)
from asr_s2s.inspect.explain import ExplainedWord, Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTER = 0.09
"""Width of a letter in inches, unless the picture would exceed `LARGEST_SIDE`."""
ROW, PANEL = 0.28, 0.85
"""Height of an output word in inches, for text and for speech."""
BLUR = (1.5, 1.5)
"""Standard deviation in frames and mel bins for smoothing gradients in pictures only."""
FOR, AGAINST = (0.78, 0.05, 0.05), (0.05, 0.25, 0.8)
"""RGB colors of parts that raise and that lower the probability of a word."""
LEGEND = "red: makes the word likelier; blue: less likely; scaled to the maximum of each word"


def draw_explanation(path: Path, explanation: Explanation, title: str = "") -> None:
    """Draw an explanation.

    For a recording, each word has a panel: the log-mel spectrogram with integrated gradients in
    color and occlusion as a line. For text, each word has a row of colored source words for each
    method.

    Args:
        path: file to write; its suffix selects PNG or SVG.
        explanation: explanation to draw.
        title: title of the picture.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    source = [] if isinstance(explanation.source, Spectrogram) else explanation.source
    fonts = find_fonts([*(word.text for word in explanation.words), *source, title])
    with warnings.catch_warnings(), rc_context({"font.family": fonts}):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # not in any installed font
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        if isinstance(explanation.source, Spectrogram):
            top = _draw_over_spectrogram(figure, explanation.words, explanation.source)
        else:
            top = _draw_over_text(figure, explanation.words, explanation.source)
        parts = [visible(title, 200) if title else "", top.get_title()]
        top.set_title("\n".join(filter(None, parts)), fontsize=LARGEST_FONT, parse_math=False)
        figure.supxlabel(LEGEND, fontsize=LARGEST_FONT)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI)


def _draw_over_spectrogram(
    figure: "Figure", words: Sequence[ExplainedWord], spectrogram: Spectrogram
) -> "Axes":
    width = min(LARGEST_SIDE, max(8.0, 1.5 * spectrogram.seconds))
    height = min(LARGEST_SIDE, PANEL * len(words))
    figure.set_size_inches(width, height + 2.6)
    ratios = [1.6, *([height / len(words)] * len(words))]
    top, *panels = figure.subplots(len(words) + 1, 1, sharex=True, height_ratios=ratios)
    heading: Axes = top
    draw_spectrogram(heading, spectrogram)
    end = len(spectrogram.log_mel) / FRAMES_PER_SECOND
    times = np.arange(len(spectrogram.log_mel)) / FRAMES_PER_SECOND
    for axes, word in zip(panels, words, strict=True):
        where = {
            "aspect": "auto",
            "origin": "lower",
            "extent": (0.0, end, 0.0, spectrogram.log_mel.shape[1]),
        }
        axes.imshow(spectrogram.log_mel.T, cmap="gray_r", alpha=0.45, **where)
        axes.imshow(_colored(gaussian_filter(word.gradients, BLUR)).transpose(1, 0, 2), **where)
        axes.set_yticks([])
        axes.set_ylabel(
            visible(word.text),
            fontsize=LARGEST_FONT,
            rotation=0,
            ha="right",
            va="center",
            parse_math=False,
        )
        line = axes.twinx()
        line.plot(times, _scaled(word.occlusion), color="black", linewidth=0.9)
        line.set_ylim(-1.05, 1.05)
        line.set_yticks([])
    panels[-1].set_xlabel("time (s); line: loss if 100 ms are replaced by the background level")
    return heading


def _draw_over_text(
    figure: "Figure", words: Sequence[ExplainedWord], source: Sequence[str]
) -> "Axes":
    letters = np.array([len(visible(word)) + 2 for word in source])
    width = max(4.0, LETTER * letters.sum())
    font = min(LARGEST_FONT, LARGEST_FONT * LARGEST_SIDE / width)
    labels = [visible(word.text) for word in words]
    height = min(LARGEST_SIDE, 2 * ROW * len(words))
    figure.set_size_inches(
        min(LARGEST_SIDE, width) + LETTER * max(map(len, labels)) + 0.4, height + 1.2
    )
    edges = np.concatenate([[0], letters.cumsum()])
    blocks = figure.subplots(2, 1, sharex=True)
    for axes, name, values in (
        (blocks[0], "integrated gradients", [word.gradients for word in words]),
        (blocks[1], "occlusion", [word.occlusion for word in words]),
    ):
        shares = np.stack([_scaled(row) for row in values])
        axes.pcolormesh(
            edges, np.arange(len(words) + 1), shares, cmap="RdBu_r", vmin=-1.6, vmax=1.6
        )
        for place, word in zip((edges[:-1] + edges[1:]) / 2, source, strict=True):
            for row in range(len(words)):
                axes.text(
                    place,
                    row + 0.5,
                    visible(word),
                    fontsize=max(SMALLEST_FONT, font),
                    ha="center",
                    va="center",
                    parse_math=False,
                )
        axes.set_xticks([])
        axes.set_yticks(
            np.arange(len(words)) + 0.5, labels, fontsize=LARGEST_FONT, parse_math=False
        )
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.set_title(name, fontsize=LARGEST_FONT)
    first: Axes = blocks[0]
    return first


def _colored(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """RGBA colors `(frames, mel_bins, 4)` with opacity proportional to the absolute value."""
    shares = _scaled(values)
    colors = np.where(shares[:, :, None] > 0, FOR, AGAINST)
    return np.concatenate([colors, np.abs(shares)[:, :, None]], -1).astype(np.float32)


def _scaled(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values divided by the largest absolute value."""
    largest = np.abs(values).max()
    return values / largest if largest > 0 else values
