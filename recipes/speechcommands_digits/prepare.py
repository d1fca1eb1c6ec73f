"""Prepare the ten digits of Speech Commands: single digits and connected-digit strings.

    python recipes/speechcommands_digits/prepare.py CORPUS_FOLDER OUTPUT_FOLDER

CORPUS_FOLDER has one of two layouts:

- the original layout: `zero/` to `nine/` with `{speaker}_nohash_{n}.wav`, and the official split in
  `validation_list.txt` and `testing_list.txt` (all other files are for training);
- manifests `train.jsonl`, `dev.jsonl` and `test.jsonl` with the same split and the fields `id`,
  `audio` (relative to the folder), `duration`, `text`, `speaker` and `corpus`. Rows of corpora
  other than "speechcommands" are ignored.

The corpus repeats file names across the folders of the words, so a copy with all words in one
folder has one recording where the manifest lists several words. Such a file is taken to contain the
word of its first row, which was written first. The other rows are dropped and counted on stderr.
Rows whose duration differs from that of the file are dropped as well.

In such a copy the digits are unbalanced, and a model trained on it prefers the frequent ones.
`train_balanced.jsonl` therefore lists equally many recordings of each digit, some repeatedly.

A connected string joins 3 to 8 recordings of one split; every digit is equally likely. Most
speakers have recorded too few digits for a string, so strings mix speakers. The clips last about a
second, most of it silence:

- Training and validation strings: a third keep the clips whole, a third trim each clip to 50 ms
  around its word, and a third trim each clip by a random amount. There are pauses of 0 to 0.5 s
  before, between and after the words; a quarter of them are 0. The pauses of half of the strings
  contain noise at the noise floor of the recordings, those of the others digital silence.
- Test strings are not trimmed at random: even-numbered ones join whole clips without pauses,
  odd-numbered ones join clips trimmed to 50 ms around the word, with pauses as above.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus_rows import read_corpus_rows
from digit_strings import (
    WORDS,
    Clip,
    Style,
    clip_duration,
    draw_pauses,
    messages,
    single_row,
    write_corpus,
    write_manifest,
)

from asr_s2s.errors import ManifestError, UserError

MANIFESTS = {"train": "train.jsonl", "valid": "dev.jsonl", "test": "test.jsonl"}
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
SINGLES_A_DIGIT = 500
"""Rows of each digit in `train_balanced.jsonl`."""
DURATION_TOLERANCE = 0.005
"""Tolerated difference in seconds, as manifests round to milliseconds."""


def prepare(
    corpus_folder: Annotated[Path, typer.Argument(help="Speech Commands, in either layout.")],
    output_folder: Annotated[Path, typer.Argument(help="Output folder for manifests and audio.")],
    train_strings: Annotated[int, typer.Option(min=0, help="Connected training strings.")] = 5000,
    valid_strings: Annotated[int, typer.Option(min=0, help="Connected validation strings.")] = 300,
    test_strings: Annotated[int, typer.Option(min=0, help="Connected test strings.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random choices.")] = 1,
) -> None:
    """Write manifests of single digits and of connected-digit strings."""
    clips = read_clips(corpus_folder)
    write_corpus(
        clips,
        output_folder,
        name="speechcommands",
        strings={"train": train_strings, "valid": valid_strings, "test": test_strings},
        styles={"train": draw_style, "valid": draw_style, "test": draw_test_style},
        one_speaker=False,
        seed=seed,
    )
    balanced = map(single_row, balance(clips["train"], SINGLES_A_DIGIT))
    write_manifest(output_folder / "train_balanced.jsonl", balanced)


def balance(clips: Sequence[Clip], count: int) -> Iterator[Clip]:
    """Yield `count` recordings of each digit: evenly spaced if there are more, repeated with
    numbered ids if there are fewer."""
    for word in WORDS:
        pool = [clip for clip in clips if clip.text == word]
        for i in range(count):
            clip = pool[i * len(pool) // count if len(pool) > count else i % len(pool)]
            turn = 0 if len(pool) > count else i // len(pool)
            yield replace(clip, id=f"{clip.id}#{turn + 1}" if turn else clip.id)


def draw_style(rng: np.random.Generator, _: int, digits: int) -> Style:
    """Draw the style of a training or validation string."""
    whole, tight = (0.0,) * digits, (1.0,) * digits
    between = tuple(rng.uniform(0, 1, digits).tolist())
    return Style(
        trims=(whole, tight, between)[rng.integers(3)],
        pauses=draw_pauses(rng, digits),
        noisy_pauses=bool(rng.random() < 0.5),
    )


def draw_test_style(rng: np.random.Generator, number: int, digits: int) -> Style:
    """Draw the style of test string `number`: whole clips if even, trimmed clips if odd."""
    if number % 2 == 0:
        return Style(trims=(0.0,) * digits, pauses=(0.0,) * (digits + 1), noisy_pauses=False)
    return Style(
        trims=(1.0,) * digits,
        pauses=draw_pauses(rng, digits),
        noisy_pauses=bool(rng.random() < 0.5),
    )


def read_clips(folder: Path) -> dict[str, list[Clip]]:
    """Read the recordings of each split.

    Raises:
        UserError: the folder has neither layout, or a file in it cannot be read.
    """
    if not folder.is_dir():
        raise UserError(folder, "folder not found", "Give the folder of Speech Commands")
    if (folder / MANIFESTS["train"]).is_file():
        return {split: read_manifest(folder / name) for split, name in MANIFESTS.items()}
    if all((folder / word).is_dir() for word in WORDS):
        return read_original(folder)
    raise UserError(
        folder,
        f"expected the folders zero/ to nine/, or {', '.join(MANIFESTS.values())}",
        "Give the folder of Speech Commands",
    )


def read_original(folder: Path) -> dict[str, list[Clip]]:
    """Read recordings in the original layout."""
    split_of: dict[str, str] = {}
    for split, name in LISTS.items():
        try:
            listed = (folder / name).read_text(encoding="utf-8").split()
        except OSError as error:
            raise UserError(
                folder / name, "cannot read the official split", "Fetch the corpus again"
            ) from error
        split_of.update(dict.fromkeys(listed, split))
    for path in split_of:
        if path.split("/")[0] in WORDS and not (folder / path).is_file():
            raise UserError(
                folder / path,
                "recording not found, but a list names it",
                "Fetch the corpus again",
            )
    clips: dict[str, list[Clip]] = {"train": [], "valid": [], "test": []}
    for word in WORDS:
        for path in sorted((folder / word).glob("*.wav")):
            speaker, nohash, _ = path.stem.partition("_nohash_")
            if not nohash:
                raise UserError(
                    path,
                    "expected a file name {speaker}_nohash_{n}.wav",
                    "Move the file elsewhere or rename it",
                )
            clips[split_of.get(f"{word}/{path.name}", "train")].append(
                Clip(
                    id=f"speechcommands-{word}-{path.stem}",
                    audio=path,
                    duration=clip_duration(path),
                    text=word,
                    speaker=f"speechcommands-{speaker}",
                )
            )
    return clips


def read_manifest(path: Path) -> list[Clip]:
    """Read the rows of Speech Commands in a manifest, one per recording."""
    clips: list[Clip] = []
    seen: set[Path] = set()
    repeated = mismatched = 0
    for where, row in read_corpus_rows(path):
        if row["corpus"] != "speechcommands":
            continue
        if row["text"] not in WORDS:
            raise ManifestError(
                where,
                f"expected a digit from zero to nine as text, found {row['text']!r}",
                "Correct or remove the line",
            )
        audio = path.parent / row["audio"]
        if audio in seen:
            repeated += 1
            continue
        seen.add(audio)
        duration = clip_duration(audio)
        if abs(duration - row["duration"]) > DURATION_TOLERANCE:
            mismatched += 1
            continue
        clips.append(Clip(row["id"], audio, duration, row["text"], row["speaker"]))
    for count, reason in (
        (repeated, "whose recording occurs in an earlier row"),
        (mismatched, "whose duration differs from the recording's"),
    ):
        if count:
            messages.print(f"{path}: dropped {count} rows {reason}", soft_wrap=True)
    return clips


if __name__ == "__main__":
    try:
        typer.run(prepare)
    except UserError as error:
        sys.exit(str(error))
