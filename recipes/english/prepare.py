"""Prepare English speech of several corpora: one training manifest, a development set each.

    python recipes/english/prepare.py CORPUS_FOLDER OUTPUT_FOLDER

CORPUS_FOLDER holds `train.jsonl` and `dev.jsonl`, one object a line: `id`, `audio` (relative to
the folder), `duration` (s), `text` (lower case a to z and '), `speaker` and `corpus`. OUTPUT_FOLDER
gets

- `train.jsonl`: everything to train on;
- `clean.jsonl`: of that, what fluent speakers say into a good microphone, to begin with;
- `sentences.jsonl`: of that, what is no single word or command, to hear more often;
- `transcripts.txt`: what is said in it, for language models;
- `dev_CORPUS.jsonl`: the development set of each corpus;
- `valid.jsonl`: a few of each corpus, equally many, to choose the model by while it trains.

Of several rows of one file the first counts; the others are left out, and counted on stderr, as are
training rows longer than `--longest`.
"""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus_rows import Row, read_corpus_rows, write_rows

from asr_s2s.errors import UserError

HARD = ("speechocean762", "asterisk")
"""Corpora of learners and of telephones."""
COMMANDS = ("speechcommands", "grid")
"""Corpora of few words."""

messages = Console(stderr=True, highlight=False, emoji=False)


def prepare(
    corpus_folder: Annotated[Path, typer.Argument(help="It holds train.jsonl and dev.jsonl.")],
    output_folder: Annotated[Path, typer.Argument(help="Where manifests are written.")],
    longest: Annotated[float, typer.Option(min=1.0, help="Longest to train on, in seconds.")] = 20,
    each: Annotated[int, typer.Option(min=1, help="Rows of a corpus in valid.jsonl.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of that draw.")] = 1,
) -> None:
    """Write manifests of the speech to train on and to measure by."""
    train = read_rows(corpus_folder / "train.jsonl")
    short = [row for row in train if row["duration"] <= longest]
    if len(short) < len(train):
        messages.print(f"{len(train) - len(short):,} training rows left out: too long")
    write_rows(output_folder / "train.jsonl", short)
    clean = [row for row in short if row["corpus"] not in HARD]
    write_rows(output_folder / "clean.jsonl", clean)
    sentences = [row for row in short if row["corpus"] not in COMMANDS]
    write_rows(output_folder / "sentences.jsonl", sentences)
    transcripts = "".join(row["text"] + "\n" for row in short)
    (output_folder / "transcripts.txt").write_text(transcripts, "utf-8")
    dev = read_rows(corpus_folder / "dev.jsonl")
    corpora: defaultdict[str, list[Row]] = defaultdict(list)
    for row in dev:
        corpora[row["corpus"]].append(row)
    rng = np.random.default_rng(seed)
    valid: list[Row] = []
    for corpus, rows in corpora.items():
        write_rows(output_folder / f"dev_{corpus}.jsonl", rows)
        valid += [rows[i] for i in sorted(rng.permutation(len(rows))[:each])]
    write_rows(output_folder / "valid.jsonl", valid)


def read_rows(path: Path) -> list[Row]:
    """The usable rows of a manifest, their audio as absolute paths.

    Raises:
        ManifestError: the manifest, or a row of it, cannot be read.
    """
    rows: dict[str, Row] = {}
    repeated = 0
    for _, row in read_corpus_rows(path):
        if row["audio"] in rows:
            repeated += 1
        else:
            rows[row["audio"]] = row | {"audio": str((path.parent / row["audio"]).resolve())}
    if repeated:
        what = "of a file that an earlier row has"
        messages.print(f"{path}: {repeated:,} rows left out: {what}", soft_wrap=True)
    return list(rows.values())


if __name__ == "__main__":
    try:
        typer.run(prepare)
    except UserError as error:
        messages.print(f"prepare: {error}", markup=False, soft_wrap=True)
        raise SystemExit(1) from None
