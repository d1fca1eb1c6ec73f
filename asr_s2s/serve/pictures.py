"""Attention weights and log-mel spectrograms as JSON, for drawing in the browser.

Matrices are base64-encoded bytes in row-major order, each value scaled to 0-255 between `low` and
`high`: a tenth of the size of decimal numbers.
"""

import base64
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asr_s2s.audio.waveform import Waveform
from asr_s2s.data.datasets import SpeechDataset
from asr_s2s.errors import ModelError
from asr_s2s.inspect.attention import AttentionMap, Spectrogram, attention_map
from asr_s2s.pipeline import Transcriber
from asr_s2s.translator import Translator

LONGEST_SECONDS = 30.0
"""Maximum seconds of audio in a picture; segments are shorter."""
LONGEST_TOKENS = 400
"""Maximum tokens of a source or output text in a picture."""


def check_attention(model: Transcriber | Translator) -> None:
    """Check that a model has attention weights.

    Raises:
        ModelError: the model has no attention.
    """
    if model.config.decoder.attention == "none":
        problem = "this model has no attention: its decoder reads the source as a single vector"
        raise ModelError(
            model.folder.name, problem, "Use a model whose decoder.attention is not none"
        )


def speech_attention(
    transcriber: Transcriber, waveform: Waveform, text: str, language: str | None
) -> dict[str, Any]:
    """Attention weights over a waveform `(samples,)` for a given text, by forced decoding."""
    output = transcriber.output
    tokens = output.tokenizer.encode(output.normalize(text))[:LONGEST_TOKENS]
    samples = torch.from_numpy(waveform).to(transcriber.device)
    length = torch.tensor(len(samples), device=transcriber.device)
    forced = [*output.prompt(language, "language"), *tokens]
    return to_json(attention_map(transcriber.model, SpeechDataset(output), samples, length, forced))


def text_attention(
    translator: Translator, line: str, translated: str, language: str | None
) -> dict[str, Any] | None:
    """Attention weights over a line for a given translation, by forced decoding.

    None for empty lines, lines that are translated in pieces, and lines too long for a picture.
    """
    output = translator.output
    source = translator.dataset.source_tokens(line)
    tokenizer = translator.dataset.output_tokenizer(line)
    tokens = tokenizer.encode(output.normalize(translated))
    longest = min(LONGEST_TOKENS, translator.config.search.piece_tokens)
    if not line.strip() or max(len(source), len(tokens)) > longest:
        return None
    values = torch.tensor(source, device=translator.device)
    length = torch.tensor(len(source), device=translator.device)
    forced = [*output.prompt(language, "language"), *tokens]
    return to_json(
        attention_map(translator.model, translator.dataset, values, length, forced, tokenizer)
    )


def to_json(attention: AttentionMap) -> dict[str, Any]:
    """Convert attention weights to a JSON object.

    Fields: `output` (tokens), `weights` (one row per output token), and either `source` (tokens) or
    `sound` with `seconds`, `log_mel` (one row per frame), and `first` and `step`: weight i of a row
    is centered on `first + i * step` (s).
    """
    record = {"output": attention.output, "weights": pack_matrix(attention.weights)}
    if isinstance(attention.source, Spectrogram):
        spectrogram = attention.source
        record["sound"] = {
            "seconds": round(spectrogram.seconds, 3),
            "first": spectrogram.first,
            "step": spectrogram.step,
            "log_mel": pack_matrix(spectrogram.log_mel),
        }
    else:
        record["source"] = attention.source
    return record


def pack_matrix(matrix: NDArray[np.float32]) -> dict[str, Any]:
    """Convert a matrix `(rows, columns)` to a JSON object."""
    low, high = float(matrix.min()), float(matrix.max())
    scaled = (matrix - low) / max(high - low, 1e-9) * 255.0
    return {
        "rows": matrix.shape[0],
        "columns": matrix.shape[1],
        "low": round(low, 4),
        "high": round(high, 4),
        "bytes": base64.b64encode(scaled.round().astype(np.uint8).tobytes()).decode("ascii"),
    }
