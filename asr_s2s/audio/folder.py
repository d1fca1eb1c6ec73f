"""Search of folders for recordings."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from asr_s2s.audio.encoded import unreadable
from asr_s2s.errors import AudioError

# fmt: off
AUDIO_SUFFIXES = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mpga", ".aiff", ".aif",
    ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64", ".sph", ".voc", ".m4a", ".m4b", ".mp4", ".m4v",
    ".mov", ".webm", ".weba", ".mkv", ".mka", ".mpg", ".mpeg", ".mts", ".m2ts", ".flv", ".aac",
    ".ac3", ".eac3", ".dts", ".wma", ".wmv", ".avi", ".amr", ".3gp", ".3g2", ".wv", ".ape", ".tta",
))
# fmt: on
"""Lower-case suffixes of files that count as recordings when a folder is searched. Files that are
named themselves may have any suffix."""


@dataclass(frozen=True)
class FolderContent:
    """Recordings in a folder and its subfolders."""

    recordings: list[Path] = field(default_factory=list)
    """Files with a suffix of recordings, in order; links to files that are missing too."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Other files by lower-case suffix, "files without suffix" and "linked folders"."""
    errors: list[AudioError] = field(default_factory=list)
    """Folders that cannot be read."""


def search_folder(folder: Path) -> FolderContent:
    """Find all recordings in a folder and its subfolders.

    Hidden files and folders are left out, among them `._NAME`, which macOS writes beside files on
    foreign file systems. Links to folders are not followed.
    """
    content = FolderContent()

    def refuse(error: OSError) -> None:
        content.errors.append(unreadable(str(error.filename), error))

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = Path(place)
        content.passed_over["linked folders"] += sum((here / name).is_symlink() for name in folders)
        for name in files:
            path = here / name
            suffix = path.suffix.lower()
            if name.startswith("."):
                continue
            if suffix not in AUDIO_SUFFIXES:
                content.passed_over[suffix or "files without suffix"] += 1
            elif path.is_file() or not path.exists():  # no pipes or devices
                content.recordings.append(path)
    content.recordings.sort()
    return content
