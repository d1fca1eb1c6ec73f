"""Index of an output folder: which recording each output file belongs to, and which are complete.

The index is a hidden file in the folder. Outputs get the names of their recordings, which need not
be distinct: without it, a recording could be taken for another one of the same name. Processes may
write to one folder at the same time, each other recordings.
"""

import errno
import fcntl
import functools
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from asr_s2s.data.standard_input import STDIN
from asr_s2s.text_files import longest_name

INDEX_FILE = ".asr-s2s-index.jsonl"
"""Name of the index. A line is the state of one name; later lines replace earlier ones."""

_LONGEST_NUMBER = len("-999999")

_Entry = dict[str, Any]
"""Line of the index. `name` is that of the output files without suffix, and `source` the path of
the recording relative to the folder. `size` and `modified` (ns) are those of the recording, and
`written` is the modification time of its output files (ns), if they are complete; `incomplete` is
set if they are known to lack something."""


class OutputIndex:
    """Index of an output folder, opened by one process.

    Args:
        folder: an existing folder.
        suffixes: suffixes that output files may have, without dots.

    Raises:
        OSError: the index cannot be read or created.
    """

    def __init__(self, folder: Path, suffixes: Sequence[str]) -> None:
        self.folder = folder.resolve()
        self.suffixes = suffixes
        self._file = (self.folder / INDEX_FILE).open("a+b", buffering=0)
        self._entries: dict[str, _Entry] = {}
        self._numbers: dict[str, int] = {}  # of names, in the order of their first lines

    def assign(self, sources: Sequence[str], *, overwrite: bool = False) -> list[str]:
        """Return the name of the output files of each recording, and enter it in the index.

        A recording keeps its name. A new one is named after its file, with a number if that name
        belongs to another recording, or if there are files of unknown origin, unless they may be
        overwritten. Standard input is a new recording each time.

        Raises:
            OSError: the index cannot be written.
        """
        with self._locked():
            self._read()
            owned = {entry["source"]: name for name, entry in self._entries.items()}
            numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(2))
            if not overwrite:
                owned.pop(STDIN, None)
            keys = [self._key(source) for source in sources]
            assigned = {key: owned[key] for key in keys if key in owned}
            used = set(assigned.values())
            for source, key in zip(sources, keys, strict=True):
                if key not in assigned:
                    name = stem = self._stem(source)
                    while name in used or not self._is_free(name, source, overwrite):
                        name = f"{stem}-{next(numbers[stem])}"
                    self._append({"name": name, "source": key})
                    assigned[key] = name
                    used.add(name)
            for name in used:
                if not self._has_files(name):  # else it could be given away
                    self.claim(name)
        return [assigned[key] for key in keys]

    def is_done(self, name: str, source: str, paths: Sequence[Path]) -> bool:
        """Return whether output files hold the complete result of the recording as it is now.

        Files beside a recording that are not in the index belong to it by their name; they are
        complete if they are newer.
        """
        try:
            size, modified = recording_state(source)
            oldest = min(path.stat().st_mtime_ns for path in paths)
        except (OSError, ValueError):
            return False
        if self.is_foreign(name):
            return self._beside(source) and oldest >= modified
        entry = self._entries[name]
        unchanged = (entry.get("size"), entry.get("modified")) == (size, modified)
        return unchanged and oldest >= entry["written"]

    def is_foreign(self, name: str) -> bool:
        """Return whether files of this name, if there are any, are not in the index."""
        entry = self._entries[name]
        return "written" not in entry and "incomplete" not in entry

    def is_changed(self, name: str, path: Path) -> bool:
        """Return whether an output file was changed after it had been written."""
        written = self._entries[name].get("written")
        return written is not None and path.stat().st_mtime_ns != written

    def claim(self, name: str) -> bool:
        """Reserve the output files of a name until this process ends, even by SIGKILL.

        Returns:
            False if another process has reserved them.
        """
        try:
            # A record lock, unlike `flock`, is not inherited by child processes, which may outlive
            # this one. The locked byte has no other meaning and need not exist.
            byte = 1 + self._numbers[name]
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # a file system without locks
            return True
        return True

    def enter(
        self, name: str, source: str, state: tuple[int, int] | None, written: int | None
    ) -> None:
        """Enter that the output files of a recording are written.

        Args:
            state: size and modification time of the recording before it was read.
            written: modification time of the files (ns); None if they are incomplete.

        Raises:
            OSError: the index cannot be written.
        """
        entry: _Entry = {"name": name, "source": self._key(source)}
        if written is None or state is None:
            entry["incomplete"] = True
        else:
            entry |= {"size": state[0], "modified": state[1], "written": written}
        with self._locked():
            self._append(entry)

    def close(self) -> None:
        """Close the index, which ends all reservations of this process in the folder."""
        self._file.close()

    def _key(self, source: str) -> str:
        """Path of a recording relative to the folder, so that both can be moved together. Links to
        folders are followed, links to files are recordings of their own."""
        if source == STDIN:
            return source
        path = Path(source)
        return os.path.relpath(_real_folder(Path.cwd() / path.parent) / path.name, self.folder)

    def _beside(self, source: str) -> bool:
        return source != STDIN and _real_folder(Path.cwd() / Path(source).parent) == self.folder

    def _stem(self, source: str) -> str:
        """Name of the file of a recording, short enough for a number and any suffix."""
        suffix = 1 + max(map(len, self.suffixes))
        longest = longest_name(self.folder) - _LONGEST_NUMBER - suffix
        stem = "stdin" if source == STDIN else Path(source).stem
        while len(os.fsencode(stem)) > longest:
            stem = stem[:-1]
        return stem

    def _is_free(self, name: str, source: str, overwrite: bool) -> bool:
        """Whether a name may be given to a new recording."""
        if name not in self._entries and (overwrite or self._beside(source)):
            return True
        return not self._has_files(name) and (name not in self._entries or self.claim(name))

    def _has_files(self, name: str) -> bool:
        return any(os.path.lexists(self.folder / f"{name}.{suffix}") for suffix in self.suffixes)

    def _read(self) -> None:
        self._entries, self._numbers = {}, {}
        self._file.seek(0)
        for line in self._file.read().splitlines():
            with suppress(ValueError, KeyError, TypeError):  # a line cut by a full disk
                entry = json.loads(line)
                if isinstance(entry["source"], str):
                    self._enter(str(entry["name"]), entry)

    def _append(self, entry: _Entry) -> None:
        end = self._file.seek(0, os.SEEK_END)
        cut = end > 0 and os.pread(self._file.fileno(), 1, end - 1) != b"\n"
        line = (b"\n" if cut else b"") + json.dumps(entry).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._enter(entry["name"], entry)

    def _enter(self, name: str, entry: _Entry) -> None:
        self._entries[name] = entry
        self._numbers.setdefault(name, len(self._numbers))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from reading or writing the index."""
        with suppress(OSError):  # a file system without locks
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, 0)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, 0)


@functools.cache
def _real_folder(folder: Path) -> Path:
    return folder.resolve()


def recording_state(source: str) -> tuple[int, int]:
    """Return size and modification time (ns) of a file.

    Raises:
        OSError: there is no such file.
    """
    found = Path(source).stat()
    return found.st_size, found.st_mtime_ns
