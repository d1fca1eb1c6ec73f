"""Kaldi data folders: `wav.scp`, `text`, and optionally `segments`, `utt2spk` and `utt2lang`."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from asr_s2s.errors import ManifestError
from asr_s2s.text_files import Row, Rows, read_text, split_lines

WAV_SCP = "wav.scp"
_TO_THE_END = -1.0
"""End time that stands for the end of the recording."""


def is_kaldi_folder(path: Path) -> bool:
    """Return whether a path is a Kaldi data folder."""
    return (path / WAV_SCP).is_file()


def refuse_folder(path: Path) -> None:
    """Refuse a folder, or a file of a Kaldi folder, where a manifest is expected, and name the
    command that converts it.

    Raises:
        ManifestError: the path is one of these.
    """
    folder = path.parent if path.name == WAV_SCP else path
    if not folder.is_dir() or (path.name == WAV_SCP and not path.is_file()):
        return
    kind = "a Kaldi folder" if is_kaldi_folder(folder) else "a folder"
    command = f"asr-s2s prepare {shlex.quote(str(folder))} --output manifest.jsonl"
    raise ManifestError(path, f"this is {kind}, not a manifest", f"Convert it: {command}")


def kaldi_rows(folder: Path) -> Rows:
    """Yield the position and row of each utterance of a Kaldi folder, or the error of its line.

    Commands in `wav.scp` are not run: `flac -c -d FILE |` and `cat FILE |` stand for FILE, others
    are errors. Relative paths start at the working folder, as in Kaldi, else at the Kaldi folder.

    Raises:
        ManifestError: a file is missing or is not UTF-8 text.
    """
    recordings = {key: (where, value) for where, key, value in _lines(folder / WAV_SCP)}
    texts = {key: value for _, key, value in _lines(folder / "text")}
    labels = {
        column: {key: value for _, key, value in _optional_lines(folder / name)}
        for column, name in (("speaker", "utt2spk"), ("language", "utt2lang"))
    }
    if (folder / "segments").exists():
        utterances = _lines(folder / "segments")
    else:
        utterances = ((where, key, key) for key, (where, _) in recordings.items())
    for where, utterance, segment in utterances:
        try:
            recording, times = _segment(where, segment)
            if recording not in recordings:
                problem = f"there is no recording {recording!r} in {WAV_SCP}"
                raise ManifestError(where, problem, "Add it")
            if utterance not in texts:
                problem = f"there is no utterance {utterance!r} in {folder / 'text'}"
                raise ManifestError(where, problem, "Add its transcript")
            audio = _audio(*recordings[recording], folder)
        except ManifestError as error:
            yield where, error
            continue
        row: Row = {"id": utterance, "audio": audio, "text": texts[utterance], **times}
        for column, values in labels.items():
            row[column] = values.get(utterance)
        yield where, row


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield position, key and value of each line."""
    for number, line in enumerate(split_lines(read_text(path, "file of a Kaldi folder")), start=1):
        fields = line.split(maxsplit=1)
        if fields:
            yield f"{path}:{number}", fields[0], fields[1].rstrip() if len(fields) > 1 else ""


def _optional_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    return _lines(path) if path.exists() else iter(())


def _segment(where: str, segment: str) -> tuple[str, Row]:
    """Recording of an utterance, and its `start` and `duration` (s) if it is a part of it."""
    recording, *times = segment.split()
    if not times:
        return recording, {}
    try:
        start, end = map(float, times)
    except ValueError as error:
        problem = f"expected a recording, a start and an end in seconds, found {segment!r}"
        raise ManifestError(where, problem, "Correct the line") from error
    return recording, {"start": start, "duration": None if end == _TO_THE_END else end - start}


def _audio(where: str, value: str, folder: Path) -> str:
    """Absolute path of the audio file of a line of `wav.scp`."""
    path = Path(_command_file(where, value) if value.endswith("|") else value)
    if path.exists():
        return str(path.resolve())
    return str((folder / path).resolve())


def _command_file(where: str, command: str) -> str:
    """File that a command reads, if it only decodes it."""
    try:
        program, *words = shlex.split(command.removesuffix("|"))
    except ValueError:
        program, words = "", []
    files = [word for word in words if not word.startswith("-")]
    options = set(words) - set(files)
    decodes = Path(program).name == "flac" and options & {"-d", "-dc", "-cd", "--decode"}
    if len(files) == 1 and (decodes or Path(program).name == "cat"):
        return files[0]
    raise ManifestError(
        where,
        f"the recording is the output of a command, which is not run: {command}",
        f"Write the output to a file, and name this in {WAV_SCP}",
    )
