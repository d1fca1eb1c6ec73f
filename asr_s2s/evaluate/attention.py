"""Pictures of attention: which part of the source each output token rests on."""

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
from asr_s2s.model.encoder import SpeechEncoder
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.decode import attention_weights
from asr_s2s.text.tokenizer import EOS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

ROW = 0.22
"""Inches of a token where there is room."""
LARGEST_SIDE = 20.0
"""Inches of the longest axis; tokens that are more get less room each."""
LARGEST_FONT, SMALLEST_FONT = 9.0, 4.5
"""Points. Where not even the smallest fits, only every second token is named, or third, ..."""
LONGEST_LABEL = 24
"""Characters."""
DPI = 150


@dataclass(frozen=True)
class Sound:
    """A recording, on the time axis of the attention to it."""

    seconds: float
    log_mel: NDArray[np.float32]
    """`(frames, mel_bins)`, a frame every 10 ms from 0 s on."""
    first: float
    """What the first weight of a row is centered on, in seconds: before 0 where the encoder adds
    frames at both ends."""
    step: float
    """Seconds from one weight to the next."""

    def times(self, count: int) -> list[float]:
        """Where the first `count` weights of a row are centered, in seconds."""
        return [self.first + self.step * index for index in range(count)]


@dataclass(frozen=True)
class Attended:
    """Where attention rested while an output was written."""

    weights: NDArray[np.float32]
    """`(tokens, time)`; each row sums to 1."""
    output: list[str]
    """The output's tokens, beginning with its language where it has one, ending with `</s>`."""
    source: Sound | list[str]
    """What was heard, or the tokens read."""

    def to_record(self) -> dict[str, Any]:
        """As a JSON object. `seconds` is the recording's length, and `times` says what the weights
        of a row are centered on, in seconds; for text there is `source` instead."""
        sound = self.source if isinstance(self.source, Sound) else None
        times = sound.times(self.weights.shape[1]) if sound else None
        return {
            "source": None if sound else self.source,
            "seconds": round(sound.seconds, 3) if sound else None,
            "times": [round(time, 4) for time in times] if times else None,
            "output": self.output,
            "weights": [[round(weight, 6) for weight in row] for row in self.weights.tolist()],
        }


@torch.inference_mode()
def attend(
    model: Seq2Seq,
    dataset: SpeechDataset | TextDataset,
    source: Tensor,
    length: Tensor,
    written: list[int],
) -> Attended:
    """Run a model over a source and a given output.

    Args:
        model: in evaluation mode, of any attention but `none`.
        dataset: what the source and the output's tokens were made by.
        source, length: one row of a batch, `(samples or tokens,)` and `()`.
        written: the prompt and the output's tokens, without start and end.
    """
    weights = attention_weights(model, dataset.kind, source, length, written)
    output = dataset.output
    pieces = [*output.tokenizer.pieces, *(f"<{language}>" for language in output.languages)]
    shown = [pieces[token] for token in [*written, EOS]]
    source = source[: int(length)]
    if isinstance(dataset, TextDataset):
        read: Sound | list[str] = [dataset.source_tokenizer.pieces[i] for i in source.tolist()]
    else:
        read = log_mel_picture(model.speech, source)
    return Attended(weights.float().cpu().numpy(), shown, read)


def log_mel_picture(encoder: SpeechEncoder, waveform: Tensor) -> Sound:
    """What an encoder hears of `(samples,)`, and when."""
    log_mel = encoder.log_mel(waveform[None], torch.tensor([len(waveform)]).to(waveform.device))[0]
    # A convolution's output is centered on every second input; a pair of frames, between the two.
    convolutions = 2 ** len(encoder.front)
    reduction = convolutions * 2 ** sum(encoder.pairs_before)
    first = (reduction - convolutions) / 2 - encoder.edge_frames
    return Sound(
        len(waveform) / SAMPLE_RATE,
        log_mel[0].cpu().numpy(),
        first / FRAMES_PER_SECOND,
        reduction / FRAMES_PER_SECOND,
    )


def draw_attention(path: Path, attended: Attended, title: str = "") -> None:
    """Draw attention to a file, PNG or SVG by its suffix: over text as a grid, over a recording
    beneath its log-mel spectrogram.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    output = [visible(token) for token in attended.output]
    sound = attended.source if isinstance(attended.source, Sound) else None
    source = [] if isinstance(attended.source, Sound) else [visible(t) for t in attended.source]
    width = max(8.0, 1.5 * sound.seconds) if sound else max(2.0, ROW * len(source))
    width, height = (min(LARGEST_SIDE, side) for side in (width, max(1.0, ROW * len(output))))
    above = 2.0 if sound else 0.0
    with (
        warnings.catch_warnings(),
        rc_context({"font.family": find_fonts([*output, *source, title])}),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # no font of this machine has it
        size = (width + _margin(output), height + above + _margin(source))
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        if sound:
            top, grid = figure.subplots(2, 1, sharex=True, height_ratios=(above, height))
            draw_sound(top, sound)
            half = sound.step / 2
            times = sound.times(attended.weights.shape[1])
            left, right = times[0] - half, times[-1] + half
            grid.set_xlabel("time (s)")
        else:
            top = grid = figure.subplots()
            left, right = -0.5, len(source) - 0.5
            _name_tokens(grid.xaxis, source, width)
            grid.xaxis.set_tick_params(rotation=90 if max(map(len, source)) > 2 else 0)
        _name_tokens(grid.yaxis, output, height)
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


def draw_sound(axes: "Axes", sound: Sound, colors: str = "magma") -> None:
    """Draw a log-mel spectrogram, in matplotlib's color map of this name."""
    from librosa.display import specshow

    specshow(
        sound.log_mel.T,
        ax=axes,
        sr=SAMPLE_RATE,
        hop_length=HOP,
        x_axis="frames",
        x_coords=np.arange(len(sound.log_mel)) / FRAMES_PER_SECOND,
        y_axis="mel",
        cmap=colors,
        rasterized=True,  # an SVG of as many squares could hardly be opened
    )
    axes.set_xlabel("")


def _name_tokens(axis: "Axis", tokens: Sequence[str], inches: float) -> None:
    """Write tokens along an axis of about this length, as large as there is room for."""
    points = 0.8 * 72 * inches / len(tokens)  # of each; the rest stays between them
    every = math.ceil(SMALLEST_FONT / points)
    places = range(0, len(tokens), every)
    labels = [tokens[place] for place in places]
    axis.set_ticks(places, labels, fontsize=min(LARGEST_FONT, points * every), parse_math=False)


def _margin(tokens: Sequence[str]) -> float:
    """Inches beside a picture that its tokens need, and a title."""
    return 0.6 + 0.09 * max(map(len, tokens), default=0)


def visible(text: str, longest: int = LONGEST_LABEL) -> str:
    """Text as a label shows it: blanks and what has no shape as signs, the end cut off."""
    if text == " ":
        return "\u2423"
    shown = "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}\u2026"


def find_fonts(texts: Sequence[str]) -> list[str]:
    """matplotlib's own font, and others of this machine for the characters that it lacks."""
    from matplotlib.font_manager import fontManager, get_font

    chosen = ["DejaVu Sans"]
    font = get_font(fontManager.findfont("DejaVu Sans"))
    missing = {c for c in set().union(*texts) if not font.get_char_index(ord(c))}
    plainest = sorted(
        fontManager.ttflist, key=lambda e: (e.style != "normal", e.weight != 400, e.name)
    )
    for entry in plainest:
        if not missing:
            break
        if entry.name in chosen or entry.name.startswith("Last Resort"):  # that one draws boxes
            continue
        try:
            font = get_font(entry.fname)
        except (OSError, RuntimeError):  # removed since matplotlib listed it
            continue
        found = {c for c in missing if font.get_char_index(ord(c))}
        if found:
            chosen.append(entry.name)
            missing -= found
    return chosen
