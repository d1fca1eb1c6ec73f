"""Generate recordings without speech, and their manifest.

    python recipes/english/silence.py --voices MANIFEST --hours 2 --output FOLDER

The recordings of 0.5 to 12 s contain noise, dense babble of the utterances in MANIFEST, tones and
clicks, and have empty text; with `data.learn_silence` a recognizer learns to output nothing for
them. The same seed and utterances give the same recordings. FOLDER gets `audio/` and
`train.jsonl`.
"""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from rich.console import Console
from rich.progress import track
from rooms import without_speech

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus_rows import write_rows

from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.data.manifest import read_cut_audio, read_manifest
from asr_s2s.errors import UserError

SECONDS = (0.5, 12.0)
"""Shortest and longest recording, in seconds."""
VOICES = 40
"""Utterances from which the babble of a recording is drawn."""

messages = Console(stderr=True, highlight=False, emoji=False)


def silence(
    output: Annotated[Path, typer.Option(help="Output folder for audio and manifest.")],
    voices: Annotated[Path, typer.Option(help="Manifest of speech for babble.")],
    hours: Annotated[float, typer.Option(min=0.001, help="Hours of audio to generate.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random choices.")] = 1,
) -> None:
    """Generate training recordings without speech, and their manifest."""
    speech = read_manifest(voices)
    (output / "audio").mkdir(parents=True, exist_ok=True)
    count = round(hours * 3600 / np.mean(SECONDS))
    rows = []
    for number in track(range(count), "generating", console=messages, transient=True):
        rng = np.random.default_rng([seed, number])
        seconds = float(rng.uniform(*SECONDS))
        # Reading speech takes most of the time, so consecutive recordings share utterances.
        if number % VOICES == 0:
            chosen = rng.choice(len(speech), size=min(VOICES, len(speech)), replace=False)
            talkers = [read_cut_audio(speech[int(i)]) for i in chosen]
        path = output / "audio" / f"{number:05}.flac"
        soundfile.write(path, without_speech(seconds, talkers, rng), SAMPLE_RATE)
        row = {"id": f"silence-{number:05}", "audio": str(path.relative_to(output))}
        duration = round(soundfile.info(path).duration, 3)
        rows.append(row | {"duration": duration, "text": "", "corpus": "silence"})
    write_rows(output / "train.jsonl", rows)


if __name__ == "__main__":
    try:
        typer.run(silence)
    except UserError as error:
        messages.print(f"silence: {error}", markup=False, soft_wrap=True)
        raise SystemExit(1) from None
