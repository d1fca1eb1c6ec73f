"""Prepare English speech of several corpora: training manifests, and a development set for each.

    python recipes/english/prepare.py CORPUS_FOLDER OUTPUT_FOLDER

CORPUS_FOLDER holds `train.jsonl` and `dev.jsonl`, one object per line: `id`, `audio` (relative to
the folder), `duration` (s), `text` (lower case a to z and '), `speaker` and `corpus`. OUTPUT_FOLDER
receives

- `wav/`: the training recordings as 16-bit WAV. Decoding Opus once, not in every epoch, saves a
  sixth of a core during training;
- `train.jsonl`: all training utterances;
- `clean.jsonl`: sentences by fluent speakers with good microphones, for the first stage;
- `transcripts.txt`: the transcripts of `train.jsonl`, for language models;
- `dev_CORPUS.jsonl`: the development set of each corpus;
- `valid.jsonl`: the same number of utterances of each corpus, for validation during training.

If several rows name the same file, only the first one is used. Such rows and training rows longer
than `--longest` are counted on standard error. `--leave-out CORPUS` skips a corpus, for example one
whose transcripts still have to be checked by `verify.py`; `--add MANIFEST` adds its checked rows.
"""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus_rows import Row, read_corpus_rows, write_rows

from asr_s2s.audio.decode import read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.errors import UserError

NOT_CLEAN = ("speechocean762", "asterisk", "freeswitch", "minds14", "alphanumeric")
"""Corpora of learners of English and of telephone speech."""
SMALL_VOCABULARY = ("speechcommands", "grid")
"""Corpora of few words."""

messages = Console(stderr=True, highlight=False, emoji=False)


def prepare(
    corpus_folder: Annotated[Path, typer.Argument(help="Contains train.jsonl and dev.jsonl.")],
    output_folder: Annotated[Path, typer.Argument(help="Folder for manifests and audio.")],
    longest: Annotated[float, typer.Option(min=1.0, help="Maximum seconds to train on.")] = 20,
    each: Annotated[int, typer.Option(min=1, help="Rows of a corpus in valid.jsonl.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of these rows.")] = 1,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Corpus to skip in training; repeatable.")
    ] = None,
    add: Annotated[
        list[Path] | None, typer.Option(help="Manifest of further training rows; repeatable.")
    ] = None,
) -> None:
    """Write training, validation and development manifests."""
    train = [
        row
        for row in read_rows(corpus_folder / "train.jsonl")
        if row["corpus"] not in (leave_out or [])
    ]
    for path in add or []:
        train += read_rows(path)
    short = [row for row in train if row["duration"] <= longest]
    if len(short) < len(train):
        messages.print(f"skipped {len(train) - len(short):,} training rows: too long")
    short = as_wav(short, output_folder / "wav")
    write_rows(output_folder / "train.jsonl", short)
    not_clean = (*NOT_CLEAN, *SMALL_VOCABULARY)
    clean = [row for row in short if row["corpus"] not in not_clean and row["duration"] > 1.0]
    write_rows(output_folder / "clean.jsonl", clean)
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


def as_wav(rows: list[Row], folder: Path) -> list[Row]:
    """Decode the audio of each row to a 16-bit WAV file named after its id, unless it exists."""
    folder.mkdir(parents=True, exist_ok=True)
    decoded = []
    for row in track(rows, console=messages, disable=not messages.is_terminal):
        path = folder / f"{row['id'].replace('/', '_')}.wav"
        if not path.exists():
            partial = path.with_suffix(".partial")
            samples = read_audio(row["audio"])
            soundfile.write(partial, samples, SAMPLE_RATE, subtype="PCM_16", format="WAV")
            partial.rename(path)
        decoded.append(row | {"audio": str(path.resolve())})
    return decoded


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
