"""What a browser draws attention from: weights and the log-mel spectrogram as JSON.

Matrices come as bytes in base64, row by row, each value scaled to 0-255 between `low` and `high`: a
tenth of what decimal numbers take.
"""

import base64
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asr_s2s.audio.waveform import Waveform
from asr_s2s.data.datasets import SpeechDataset
from asr_s2s.errors import ModelError
from asr_s2s.evaluate.attention import Attended, Sound, attend
from asr_s2s.pipeline import Transcriber
from asr_s2s.translator import Translator

LONGEST_SECONDS = 30.0
"""Of sound in a picture; segments are shorter."""
LONGEST_TOKENS = 400
"""Of a text in a picture, read or written."""


def check_attention(model: Transcriber | Translator) -> None:
    """
    Raises:
        ModelError: the model has no attention to be seen.
    """
    if model.config.decoder.attention == "none":
        problem = "this model has no attention: its decoder sees the source as one vector"
        raise ModelError(model.folder.name, problem, "Use a model of another decoder.attention")


def draw_attention_to(
    transcriber: Transcriber, waveform: Waveform, text: str, language: str | None
) -> dict[str, Any]:
    """Where attention rests in a piece of sound `(samples,)` while its text is written."""
    output = transcriber.output
    tokens = output.tokenizer.encode(output.normalize(text))[:LONGEST_TOKENS]
    samples = torch.from_numpy(waveform).to(transcriber.device)
    length = torch.tensor(len(samples), device=transcriber.device)
    written = [*output.prompt(language, "language"), *tokens]
    return picture(attend(transcriber.model, SpeechDataset(output), samples, length, written))


def read(
    translator: Translator, line: str, translated: str, language: str | None
) -> dict[str, Any] | None:
    """Where attention rests in a line while its translation is written; None for lines that are
    translated in pieces, or are too long to be seen."""
    output = translator.output
    source = translator.dataset.source_tokens(line)
    tokens = output.tokenizer.encode(output.normalize(translated))
    longest = min(LONGEST_TOKENS, translator.config.search.piece_tokens)
    if not line.strip() or max(len(source), len(tokens)) > longest:
        return None
    values = torch.tensor(source, device=translator.device)
    length = torch.tensor(len(source), device=translator.device)
    written = [*output.prompt(language, "language"), *tokens]
    return picture(attend(translator.model, translator.dataset, values, length, written))


def picture(attended: Attended) -> dict[str, Any]:
    """`output` tokens, `weights` (a row each), and what they rest on: `source` tokens, or `sound`.

    That has its `seconds`, its `log_mel` (a row a frame), and the times that the weights of a row
    are centered on, `first + i * step` (s)."""
    drawn = {"output": attended.output, "weights": packed(attended.weights)}
    if isinstance(attended.source, Sound):
        sound = attended.source
        drawn["sound"] = {
            "seconds": round(sound.seconds, 3),
            "first": sound.first,
            "step": sound.step,
            "log_mel": packed(sound.log_mel),
        }
    else:
        drawn["source"] = attended.source
    return drawn


def packed(matrix: NDArray[np.float32]) -> dict[str, Any]:
    """A matrix `(rows, columns)` as a JSON object."""
    low, high = float(matrix.min()), float(matrix.max())
    scaled = (matrix - low) / max(high - low, 1e-9) * 255.0
    return {
        "rows": matrix.shape[0],
        "columns": matrix.shape[1],
        "low": round(low, 4),
        "high": round(high, 4),
        "bytes": base64.b64encode(scaled.round().astype(np.uint8).tobytes()).decode("ascii"),
    }
