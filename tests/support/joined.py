"""Long test recordings: repetitions of the sample with silences in between."""

from pathlib import Path

import numpy as np
import soundfile


def write_joined(
    path: Path, sample: Path, *, times: int = 0, seconds: float = 0.0, seed: int = 0
) -> list[tuple[float, float]]:
    """Write repetitions of the sample, each after a silence of 1 to 3 s, and 1 s of silence last.

    Args:
        times: minimum number of repetitions.
        seconds: minimum duration, without the last silence.

    Returns:
        start and end of each repetition, in seconds.
    """
    samples, rate = soundfile.read(sample, dtype="float32")
    rng = np.random.default_rng(seed)
    spans: list[tuple[float, float]] = []
    position = 0
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        while len(spans) < times or position < seconds * rate:
            silence = np.zeros(round(rng.uniform(1, 3) * rate))
            file.write(silence)
            file.write(samples)
            start = position + len(silence)
            position = start + len(samples)
            spans.append((start / rate, position / rate))
        file.write(np.zeros(rate))
    return spans
