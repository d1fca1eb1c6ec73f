"""Synthetic speech: recordings of tones, one pitch per letter."""

import json
from pathlib import Path

import numpy as np
import soundfile

PITCHES = {"a": 300.0, "b": 600.0, "c": 1200.0, "d": 2400.0}


def write_corpus(folder: Path, utterances: int = 40, seed: int = 0) -> None:
    """Write `train.jsonl` and `valid.jsonl` with recordings of words such as "abdc"."""
    rng = np.random.default_rng(seed)
    (folder / "audio").mkdir(parents=True)
    for split, count in (("train", utterances), ("valid", max(4, utterances // 5))):
        rows = []
        for index in range(count):
            text = "".join(rng.choice(list(PITCHES), size=rng.integers(2, 5)))
            parts = [0.003 * rng.standard_normal(800)]
            for letter in text:
                time = np.arange(1600) / 16_000
                tone = 0.3 * np.sin(2 * np.pi * PITCHES[letter] * time) * np.hanning(1600)
                parts += [tone + 0.003 * rng.standard_normal(1600)]
            path = folder / "audio" / f"{split}-{index}.wav"
            soundfile.write(path, np.concatenate(parts).astype(np.float32), 16_000)
            rows.append(json.dumps({"audio": f"audio/{path.name}", "text": text}))
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n")


CONFIG = """
data: {train: [train.jsonl], valid: [valid.jsonl], batch_seconds: 4, buckets: 2, workers: 0}
augment: {speeds: [0.95, 1.0, 1.05], noise_probability: 0.5, noise_snr_db: [20, 40],
          frequency_masks: 1, frequency_mask_bins: 3, time_masks: 1, time_mask_frames: 2}
features: {mel_bins: 24, edge_frames: 2}
speech_encoder: {convolution_layers: 1, convolution_channels: 4, layers: 1, size: 24,
                 time_reduction: 4, dropout: 0.1}
decoder: {attention: location, attention_size: 24, location_filters: 4, location_width: 5,
          input_feeding: false, size: 24, embedding_size: 8, dropout: 0.1}
objective: {scheduled_sampling: 0.1, scheduled_sampling_start: 4}
search: {beam_size: 4}
train: {steps: 12, warmup_steps: 4, learning_rate: 1.0e-2, validate_every: 6, keep_best: 2,
        checkpoint_every: 2, log_every: 1}
"""
