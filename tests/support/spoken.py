"""Speech translation of tones: each recording has a transcript in xx, whose letters are the tones,
and a translation into yy, with other letters in reverse order."""

import json
from pathlib import Path

from tests.support import tones

LETTERS = dict(zip(tones.PITCHES, "wxyz", strict=True))
"""Letters of xx, with their translations into yy."""


def translate(text: str) -> str:
    """Translate a word of xx into yy."""
    return "".join(LETTERS[letter] for letter in reversed(text))


def write_corpus(folder: Path, utterances: int = 150) -> None:
    """Write `train.jsonl` and `valid.jsonl` with two rows per recording, and `config.yaml`."""
    tones.write_corpus(folder, utterances)
    for split in ("train", "valid"):
        path = folder / f"{split}.jsonl"
        rows = []
        for line in path.read_text().splitlines():
            row = json.loads(line)
            name = Path(row["audio"]).stem
            rows += [
                row | {"id": f"{name}-xx", "language": "xx"},
                row | {"id": f"{name}-yy", "language": "yy", "text": translate(row["text"])},
            ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.yaml").write_text(CONFIG)


CONFIG = (
    tones.CONFIG
    + """
text: {languages: [xx, yy], spoken_languages: [xx], metric: chrf}
"""
)
LEARNING = (
    "train.steps=400", "train.validate_every=200", "train.learning_rate=5e-3",
    "data.batch_seconds=8", "speech_encoder.time_reduction=2", "speech_encoder.size=64",
    "decoder.size=64", "decoder.attention_size=64", "decoder.attention=additive",
    "decoder.embedding_size=16",
    "speech_encoder.dropout=0", "decoder.dropout=0", "augment.time_masks=0",
    "augment.frequency_masks=0", "augment.noise_probability=0", "augment.speeds=[1.0]",
    "objective.scheduled_sampling=0", "train.checkpoint_every=1000",
)  # fmt: skip
"""Overrides with which a model learns both tasks."""
