"""The command `asr-s2s prepare`: lhotse manifests for training."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.errors import EXIT_BAD_INPUT, ManifestError
from asr_s2s.text_files import Row, read_text

if TYPE_CHECKING:
    from lhotse.cut import Cut


def prepare(
    source: Annotated[
        Path,
        typer.Argument(
            help="Manifest (JSON Lines, .tsv or .csv, also of NeMo or Common Voice, or lhotse "
            "cuts); a Kaldi data folder; or a folder of recordings, each with a .txt file of the "
            "same name or a line in a LibriSpeech .trans.txt file."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Lhotse manifest to write (.jsonl or .jsonl.gz)."),
    ],
    normalizer: Annotated[
        str, typer.Option(help="Normalizer applied to transcripts.")
    ] = "verbatim",
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=PART,...",
            help="Hold out shares of the audio, such as valid=0.1,test=0.1; splits have no speaker "
            "in common. For --output cuts.jsonl, writes cuts_train.jsonl, cuts_valid.jsonl and "
            "cuts_test.jsonl.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed for choosing held-out speakers.")] = 1,
) -> None:
    """Write a lhotse manifest of recordings and transcripts.

    Measures the duration of every recording and normalizes every transcript. Utterances that
    cannot be used are reported and left out; the exit code is then 1.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    from asr_s2s.data.kaldi import is_kaldi_folder, kaldi_rows
    from asr_s2s.data.manifest import (
        cut_speaker,
        cut_text,
        cuts_from_rows,
        iter_manifest,
        write_manifest,
    )
    from asr_s2s.text import normalize

    parts = _parse_parts(split) if split else {}
    name, dot, suffix = output.name.partition(".jsonl")
    if not name or dot + suffix not in (".jsonl", ".jsonl.gz"):
        raise ManifestError(output, "a manifest ends in .jsonl or .jsonl.gz", "Change --output")
    normalized = normalize.normalizer(normalizer)
    if source.is_dir():
        rows = kaldi_rows(source) if is_kaldi_folder(source) else _folder_rows(source)
        items = cuts_from_rows(rows, source)
    elif source.exists():
        items = iter_manifest(source, measure=True)
    else:
        raise ManifestError(source, "there is no such manifest or folder", "Check the path")

    messages = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
    cuts: list[Cut] = []
    left_out = 0
    reported: set[str] = set()
    columns = SpinnerColumn(), TextColumn("Measuring"), MofNCompleteColumn()
    silent = not messages.is_terminal
    with Progress(*columns, console=messages, transient=True, disable=silent) as bar:
        for item in bar.track(items):
            if not isinstance(item, ManifestError):
                cut = item.map_supervisions(lambda s: s.transform_text(normalized))
                if cut_text(cut):
                    cuts.append(cut)
                    continue
                problem = f"its text is empty once normalized: {cut_text(item)!r}"
                item = ManifestError(f"{source}: {cut.id}", problem, "Add the transcript")
            left_out += 1
            if str(item) not in reported:  # one .trans.txt can cause many equal errors
                reported.add(str(item))
                messages.print(str(item))
    if not cuts:
        raise ManifestError(source, "no utterance can be used", "Give recordings with their texts")

    if parts and not any(map(cut_speaker, cuts)):
        messages.print("No speaker is known, so a speaker may be in several splits.")
    splits = _split_by_speaker(cuts, parts, seed) if parts else {"": cuts}
    for part, members in splits.items():
        path = output.with_name(f"{name}_{part}{dot}{suffix}") if part else output
        write_manifest(members, path)
        hours = sum(cut.duration for cut in members) / 3600
        noun = "utterance" if len(members) == 1 else "utterances"
        messages.print(f"{path}: {len(members):,} {noun}, {hours:.2f} hours")
    if left_out:
        messages.print(f"{left_out:,} left out")
        raise typer.Exit(EXIT_BAD_INPUT)


def _folder_rows(folder: Path) -> Iterator[tuple[str, "Row | ManifestError"]]:
    """Yield the path and row of each recording under a folder, or the error of its transcript.

    The id is the relative path without its suffix, or with it if two paths differ only there.
    """
    from asr_s2s.audio.folder import search_folder

    content = search_folder(folder)
    for error in content.errors:
        yield error.where, ManifestError(error.where, error.problem, error.fix)
    recordings = content.recordings
    times = Counter(path.with_suffix("") for path in recordings)
    librispeech: dict[Path, tuple[dict[str, str], ManifestError | None]] = {}
    for audio in recordings:
        inside = audio.relative_to(folder)
        name = inside.with_suffix("") if times[audio.with_suffix("")] == 1 else inside
        row: Row = {"id": str(name), "audio": str(inside)}
        transcript = audio.with_suffix(".txt")
        if audio.parent not in librispeech:
            librispeech[audio.parent] = _librispeech_texts(audio.parent)
        texts, unreadable = librispeech[audio.parent]
        try:
            if transcript.is_file():
                row["text"] = read_text(transcript, "file")
            elif audio.stem in texts:
                row["text"] = texts[audio.stem]
                row["speaker"] = audio.stem.split("-")[0]
            elif unreadable:
                raise unreadable
            else:
                problem = f"there is no {transcript.name} beside it"
                raise ManifestError(audio, problem, "Write the transcript to that file")
        except ManifestError as error:
            yield str(audio), error
        else:
            yield str(audio), row


def _librispeech_texts(folder: Path) -> tuple[dict[str, str], ManifestError | None]:
    """Transcripts by utterance from lines `ID TEXT`, and the error of a file that is not UTF-8."""
    texts: dict[str, str] = {}
    unreadable = None
    for path in sorted(folder.glob("*.trans.txt")):
        try:
            lines = [line.split(maxsplit=1) for line in read_text(path, "file").splitlines()]
        except ManifestError as error:
            unreadable = error
        else:
            texts |= {fields[0]: fields[1] for fields in lines if len(fields) == 2}
    return texts, unreadable


def _parse_parts(split: str) -> dict[str, float]:
    """Parse `--split` to the share of the audio of each held-out split, by name."""
    parts: dict[str, float] = {}
    for piece in split.split(","):
        name, _, value = piece.strip().partition("=")
        try:
            part = float(value)
        except ValueError:
            part = 0.0
        if not name.isidentifier() or name == "train" or name in parts or not 0 < part < 1:
            raise ManifestError(
                "--split",
                f"expected NAME=PART with a part between 0 and 1, found {piece!r}",
                "Write for example valid=0.1,test=0.1; the rest is train",
            )
        parts[name] = part
    if sum(parts.values()) >= 1:
        raise ManifestError("--split", "the parts leave nothing to train on", "Reduce the parts")
    return parts


def _split_by_speaker(
    cuts: list["Cut"], parts: dict[str, float], seed: int
) -> dict[str, list["Cut"]]:
    """Assign whole speakers to splits. An utterance of an unknown speaker is its own speaker.

    Returns:
        Cuts by split in their original order, `train` first.
    """
    from asr_s2s.data.manifest import cut_speaker

    seconds: defaultdict[str, float] = defaultdict(float)
    speakers = [cut_speaker(cut) or f"unknown {cut.id}" for cut in cuts]
    for speaker, cut in zip(speakers, cuts, strict=True):
        seconds[speaker] += cut.duration
    if len(seconds) <= len(parts):
        raise ManifestError(
            "--split",
            f"{len(seconds)} speakers cannot make {len(parts) + 1} splits that share none",
            "Request fewer splits, or write separate manifests",
        )
    free = sorted(seconds)
    random.Random(seed).shuffle(free)
    total = sum(seconds.values())
    split_of: dict[str, str] = {}
    for number, (name, part) in enumerate(parts.items()):
        room = part * total
        needed_after = len(parts) - number  # one speaker for each later split and for train
        chosen: list[str] = []
        for speaker in free:
            if seconds[speaker] <= room and len(free) - len(chosen) > needed_after:
                chosen.append(speaker)
                room -= seconds[speaker]
        for speaker in chosen or [min(free, key=seconds.__getitem__)]:
            split_of[speaker] = name
            free.remove(speaker)
    splits: dict[str, list[Cut]] = {name: [] for name in ("train", *parts)}
    for speaker, cut in zip(speakers, cuts, strict=True):
        splits[split_of.get(speaker, "train")].append(cut)
    return splits
