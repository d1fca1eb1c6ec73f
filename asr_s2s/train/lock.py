"""Lock of a run folder: only one training at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asr_s2s.errors import TrainingError

LOCK_FILE = ".lock"
"""Name of the locked file in a run folder; it is left there, empty and without meaning."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Create a run folder if needed, and lock it until the block or the process ends, even by
    SIGKILL.

    Raises:
        TrainingError: another process holds the lock, or the folder cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_FILE).open("ab")
    except OSError as error:
        raise TrainingError(
            folder,
            f"the run folder cannot be created or written ({error.strerror})",
            "Choose another --output",
        ) from error
    with file:
        try:
            # A record lock, as `flock` would outlive a killed process in its reading processes,
            # which inherit it.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise TrainingError(
                folder,
                "another process is training in this run folder",
                "Wait until it ends, stop it, or choose another --output",
            ) from error
        except OSError as error:
            raise TrainingError(
                folder,
                f"the run folder cannot be locked ({error.strerror})",
                "Choose another --output, on a file system with locks",
            ) from error
        yield
