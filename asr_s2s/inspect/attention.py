"""Attention weights of a model for a given output, and pictures of them."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr_s2s.audio.features import FRAMES_PER_SECOND, HOP
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.data.datasets import SpeechDataset, TextDataset
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.decode import attention_weights
from asr_s2s.text.tokenizer import EOS, Tokenizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

ROW = 0.22
"""Size of a token along an axis in inches, unless the axis would exceed `LARGEST_SIDE`."""
LARGEST_SIDE = 20.0
"""Maximum length of an axis in inches; with many tokens each gets less space."""
LARGEST_FONT, SMALLEST_FONT = 9.0, 4.5
"""Font sizes in points. If the smallest does not fit, only every n-th token is labeled."""
LONGEST_LABEL = 24
"""Maximum length of a label in characters."""
DPI = 150
"""Resolution of PNG files in dots per inch."""


@dataclass(frozen=True)
class Spectrogram:
    """Log-mel spectrogram of a recording, and the times of the attention weights over it."""

    seconds: float
    """Duration of the recording."""
    log_mel: NDArray[np.float32]
    """Log-mel energies `(frames, mel_bins)`, one frame every 10 ms from 0 s on."""
    first: float
    """Center of the first attention weight in seconds; negative if the encoder adds frames at both
    ends."""
    step: float
    """Seconds between the centers of consecutive attention weights."""

    def times(self, count: int) -> list[float]:
        """Centers of the first `count` attention weights in seconds."""
        return [self.first + self.step * index for index in range(count)]


@dataclass(frozen=True)
class AttentionMap:
    """Attention weights of each output token over the source."""

    weights: NDArray[np.float32]
    """Attention weights `(tokens, time)`; each row sums to 1."""
    output: list[str]
    """Output tokens, starting with the language token of a multilingual model, ending with
    `</s>`."""
    source: Spectrogram | list[str]
    """Spectrogram of a recording, or source tokens."""

    def to_record(self) -> dict[str, Any]:
        """JSON object. For a recording, `seconds` is its duration and `times` are the centers of
        the weights of a row in seconds; for text, `source` has the source tokens."""
        spectrogram = self.source if isinstance(self.source, Spectrogram) else None
        times = spectrogram.times(self.weights.shape[1]) if spectrogram else None
        return {
            "source": None if spectrogram else self.source,
            "seconds": round(spectrogram.seconds, 3) if spectrogram else None,
            "times": [round(time, 4) for time in times] if times else None,
            "output": self.output,
            "weights": [[round(weight, 6) for weight in row] for row in self.weights.tolist()],
        }


@torch.inference_mode()
def attention_map(
    model: Seq2Seq,
    dataset: SpeechDataset | TextDataset,
    source: Tensor,
    length: Tensor,
    written: list[int],
    tokenizer: Tokenizer | None = None,
) -> AttentionMap:
    """Compute the attention weights of a given output by forced decoding.

    Args:
        model: model in evaluation mode, with attention other than `none`.
        dataset: dataset that source and output tokens were encoded with.
        source: row of a batch, `(samples,)` or `(tokens,)`.
        length: valid samples or tokens of the row, `()`.
        written: token ids of prompt and output, without start and end tokens.
        tokenizer: tokenizer of the output for this source (`TextDataset.output_tokenizer`), by
            default that of the dataset.
    """
    weights = attention_weights(model, dataset.kind, source, length, written)
    output = dataset.output
    tokenizer = tokenizer or output.tokenizer
    size = len(output.tokenizer)
    prompt = [token - size for token in written[:1] if 0 <= token - size < len(output.languages)]
    languages = [f"<{output.languages[index]}>" for index in prompt]
    shown = languages + tokenizer.labels([*written[len(languages) :], EOS])
    source = source[: int(length)]
    if isinstance(dataset, TextDataset):
        source_tokenizer = tokenizer if dataset.copying else dataset.source_tokenizer
        shown_source: Spectrogram | list[str] = source_tokenizer.labels(source.tolist())
    else:
        shown_source = compute_spectrogram(model, source)
    return AttentionMap(weights.float().cpu().numpy(), shown, shown_source)


def compute_spectrogram(model: Seq2Seq, waveform: Tensor) -> Spectrogram:
    """Log-mel spectrogram of a waveform `(samples,)`, with the times of the encoder's outputs."""
    length = torch.tensor([len(waveform)], device=waveform.device)
    log_mel = model.frontend.log_mel(waveform[None], length)[0]
    first = model.frame_center(0)
    return Spectrogram(
        len(waveform) / SAMPLE_RATE,
        log_mel[0].cpu().numpy(),
        first,
        model.frame_center(1) - first,
    )


def draw_attention(path: Path, attended: AttentionMap, title: str = "") -> None:
    """Draw attention weights as a grid, below the spectrogram if the source is a recording.

    Args:
        path: file to write; its suffix selects PNG or SVG.
        attended: attention weights.
        title: title of the picture.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    output = [visible(token) for token in attended.output]
    spectrogram = attended.source if isinstance(attended.source, Spectrogram) else None
    source = [] if isinstance(attended.source, Spectrogram) else list(map(visible, attended.source))
    width = max(8.0, 1.5 * spectrogram.seconds) if spectrogram else max(2.0, ROW * len(source))
    width, height = (min(LARGEST_SIDE, side) for side in (width, max(1.0, ROW * len(output))))
    above = 2.0 if spectrogram else 0.0
    with (
        warnings.catch_warnings(),
        rc_context({"font.family": find_fonts([*output, *source, title])}),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # not in any installed font
        size = (width + _margin(output), height + above + _margin(source))
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        if spectrogram:
            top, grid = figure.subplots(2, 1, sharex=True, height_ratios=(above, height))
            draw_spectrogram(top, spectrogram)
            half = spectrogram.step / 2
            times = spectrogram.times(attended.weights.shape[1])
            left, right = times[0] - half, times[-1] + half
            grid.set_xlabel("time (s)")
        else:
            top = grid = figure.subplots()
            left, right = -0.5, len(source) - 0.5
            _label_tokens(grid.xaxis, source, width)
            grid.xaxis.set_tick_params(rotation=90 if max(map(len, source)) > 2 else 0)
        _label_tokens(grid.yaxis, output, height)
        grid.imshow(
            attended.weights,
            aspect="auto",
            cmap="magma",
            vmin=0.0,
            interpolation="nearest",
            extent=(left, right, len(output) - 0.5, -0.5),
        )
        top.set_title(visible(title, 200), fontsize=LARGEST_FONT, parse_math=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI)


def draw_spectrogram(axes: "Axes", spectrogram: Spectrogram, colors: str = "magma") -> None:
    """Draw a log-mel spectrogram.

    Args:
        axes: matplotlib axes to draw into.
        spectrogram: spectrogram to draw.
        colors: name of a matplotlib color map.
    """
    from librosa.display import specshow

    specshow(
        spectrogram.log_mel.T,
        ax=axes,
        sr=SAMPLE_RATE,
        hop_length=HOP,
        x_axis="frames",
        x_coords=np.arange(len(spectrogram.log_mel)) / FRAMES_PER_SECOND,
        y_axis="mel",
        cmap=colors,
        rasterized=True,  # an SVG with one shape per value would be too large to open
    )
    axes.set_xlabel("")


def _label_tokens(axis: "Axis", tokens: Sequence[str], inches: float) -> None:
    """Label an axis of the given length with tokens, in the largest font size that fits."""
    points = 0.8 * 72 * inches / len(tokens)  # size of a label; 20 % is space between labels
    every = math.ceil(SMALLEST_FONT / points)
    places = range(0, len(tokens), every)
    labels = [tokens[place] for place in places]
    axis.set_ticks(places, labels, fontsize=min(LARGEST_FONT, points * every), parse_math=False)


def _margin(tokens: Sequence[str]) -> float:
    """Inches needed beside a picture for its labels and title."""
    return 0.6 + 0.09 * max(map(len, tokens), default=0)


def visible(text: str, longest: int = LONGEST_LABEL) -> str:
    """Text as shown in a label: spaces and unprintable characters replaced by visible symbols, cut
    to `longest` characters."""
    if text == " ":
        return "\u2423"
    shown = "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}\u2026"


def find_fonts(texts: Sequence[str]) -> list[str]:
    """Font families that cover the characters of some texts: matplotlib's default font, then
    installed fonts for characters that it lacks."""
    from matplotlib.font_manager import fontManager, get_font

    chosen = ["DejaVu Sans"]
    font = get_font(fontManager.findfont("DejaVu Sans"))
    missing = {c for c in set().union(*texts) if not font.get_char_index(ord(c))}
    regular_first = sorted(
        fontManager.ttflist, key=lambda e: (e.style != "normal", e.weight != 400, e.name)
    )
    for entry in regular_first:
        if not missing:
            break
        if entry.name in chosen or entry.name.startswith("Last Resort"):  # a font of boxes
            continue
        try:
            font = get_font(entry.fname)
        except (OSError, RuntimeError):  # removed since matplotlib cached its list of fonts
            continue
        found = {c for c in missing if font.get_char_index(ord(c))}
        if found:
            chosen.append(entry.name)
            missing -= found
    return chosen
