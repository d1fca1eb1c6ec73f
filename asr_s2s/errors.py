"""User errors: what is wrong, where, and how to fix it.

Every problem that a user can cause (a bad file, a wrong key, an impossible setting) is raised as a
`UserError`. The command line prints it as one line, without a traceback, and exits with code 1.
Programming errors stay ordinary exceptions.
"""

import errno
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXIT_BAD_INPUT = 1
"""Exit code if some input could not be used; all other inputs were processed."""
EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells (128 + SIGINT)."""


def printable(text: str) -> str:
    """Return text, such as a file name, as one line that leaves a terminal and a table intact:
    control characters and line separators are escaped, for example as \\n or \\x1b."""
    if text.isprintable():
        return text
    return "".join(
        repr(character)[1:-1]
        if unicodedata.category(character) in ("Cc", "Zl", "Zp")
        else character
        for character in text
    )


class UserError(Exception):
    """A problem that the user can fix.

    Args:
        where: the file, file:line, or key at fault, as the user wrote it.
        problem: what was found, and what was expected.
        fix: how to fix it.
    """

    def __init__(self, where: str | Path, problem: str, fix: str) -> None:
        self.where = str(where)
        self.problem = problem.rstrip(".")
        self.fix = fix.rstrip(".")
        super().__init__(printable(f"{self.where}: {self.problem}. {self.fix}."))

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        # By default, unpickling passes only the message to the constructor.
        return type(self), (self.where, self.problem, self.fix)


class AudioError(UserError):
    """A recording cannot be read, or contains no audio."""


class ManifestError(UserError):
    """A manifest is missing, malformed, or inconsistent."""


class TextError(UserError):
    """Text, or a setting of text processing, cannot be used."""


class ConfigError(UserError):
    """A configuration has an unknown key, a wrong type, or contradictory settings."""


class ModelError(UserError):
    """A model folder is missing, incomplete, or incompatible with this version."""


class TrainingError(UserError):
    """A training run cannot start or cannot continue."""


@contextmanager
def writing(where: str | Path, fix: str = "Choose another file") -> Iterator[None]:
    """Convert an `OSError` raised within the context, which writes an output, to a `UserError`.

    A `BrokenPipeError` is left as it is: the reader of a pipe needs no more output.

    Args:
        where: the output.
        fix: what the user can do.

    Raises:
        UserError: the output cannot be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise UserError(where, f"cannot be written ({reason})", fix) from error


def is_about_name(error: UserError) -> bool:
    """Return whether an output could not be written because its file system does not allow its name
    or path, so that other outputs may succeed."""
    reason = error.__cause__
    return isinstance(reason, OSError) and reason.errno in (
        errno.ENAMETOOLONG,
        errno.EILSEQ,
        errno.EINVAL,
    )
