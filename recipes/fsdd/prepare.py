"""Prepare the Free Spoken Digit Dataset: single digits and connected-digit strings.

    python recipes/fsdd/prepare.py FSDD_FOLDER OUTPUT_FOLDER

FSDD_FOLDER has the original layout: `recordings/{digit}_{speaker}_{index}.wav`, 8 kHz. The split is
by index: 0-4 are the official test set, 5-7 validation, the rest training. All speakers are in all
splits.

A connected string joins 3 to 8 whole recordings of one speaker and one split (the corpus is already
trimmed), with pauses of 0 to 0.5 s before, between and after the words; a quarter of the pauses are
0. The pauses of half of the strings contain noise at the noise floor of the recordings, those of
the others digital silence.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from digit_strings import WORDS, Clip, Style, clip_duration, draw_pauses, write_corpus

from asr_s2s.errors import UserError

TEST_INDICES = range(0, 5)
VALID_INDICES = range(5, 8)
FILE_NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[^_]+)_(?P<index>0|[1-9][0-9]*)\.wav")


def prepare(
    fsdd_folder: Annotated[Path, typer.Argument(help="Folder that contains recordings/.")],
    output_folder: Annotated[Path, typer.Argument(help="Output folder for manifests and audio.")],
    train_strings: Annotated[int, typer.Option(min=0, help="Connected training strings.")] = 3000,
    valid_strings: Annotated[int, typer.Option(min=0, help="Connected validation strings.")] = 200,
    test_strings: Annotated[int, typer.Option(min=0, help="Connected test strings.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random choices.")] = 1,
) -> None:
    """Write manifests of single digits and of connected-digit strings."""
    write_corpus(
        read_clips(fsdd_folder),
        output_folder,
        name="fsdd",
        strings={"train": train_strings, "valid": valid_strings, "test": test_strings},
        styles=dict.fromkeys(("train", "valid", "test"), draw_style),
        one_speaker=True,
        seed=seed,
    )


def draw_style(rng: np.random.Generator, _: int, digits: int) -> Style:
    """Draw a style without trimming; half of the strings have noisy pauses."""
    return Style(
        trims=(0.0,) * digits,
        pauses=draw_pauses(rng, digits),
        noisy_pauses=bool(rng.random() < 0.5),
    )


def read_clips(folder: Path) -> dict[str, list[Clip]]:
    """Read the recordings of each split, ordered by speaker, digit and index.

    Raises:
        UserError: the folder is not the dataset, a file name does not belong to it, or a
            recording is missing or unreadable.
    """
    recordings = folder / "recordings"
    if not folder.is_dir():
        raise UserError(folder, "folder not found", "Give the folder of the dataset")
    if not recordings.is_dir():
        raise UserError(
            folder, "found no folder recordings/ in it", "Give the folder that contains recordings/"
        )
    indices: dict[tuple[str, int], set[int]] = defaultdict(set)
    for path in sorted(recordings.glob("*.wav")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise UserError(
                path,
                "expected a file name {digit}_{speaker}_{index}.wav",
                "Move the file elsewhere or rename it",
            )
        indices[match["speaker"], int(match["digit"])].add(int(match["index"]))
    if not indices:
        raise UserError(recordings, "found no .wav file in it", "Fetch the corpus again")
    count = 1 + max(max(found) for found in indices.values())
    if count <= VALID_INDICES.stop:
        raise UserError(
            recordings,
            f"the highest index is {count - 1}, so no recording is left for training",
            "Fetch the whole corpus",
        )

    clips: dict[str, list[Clip]] = {"train": [], "valid": [], "test": []}
    for speaker in sorted({speaker for speaker, _ in indices}):
        for digit, word in enumerate(WORDS):
            for index in range(count):
                path = recordings / f"{digit}_{speaker}_{index}.wav"
                split = (
                    "test"
                    if index in TEST_INDICES
                    else "valid"
                    if index in VALID_INDICES
                    else "train"
                )
                clips[split].append(
                    Clip(f"fsdd-{path.stem}", path, clip_duration(path), word, speaker)
                )
    return clips


if __name__ == "__main__":
    try:
        typer.run(prepare)
    except UserError as error:
        sys.exit(str(error))
