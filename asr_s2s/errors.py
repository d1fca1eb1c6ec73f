"""User errors: what is wrong, where, and how to fix it.

Anything a person can cause (a bad file, a wrong key, an impossible setting) is raised as a
`UserError`. The command line prints it as one line and exits with code 1; it never becomes a
traceback. Programming mistakes stay ordinary exceptions.
"""

from pathlib import Path

EXIT_BAD_INPUT = 1
"""Some input could not be used; everything else was done."""
EXIT_INTERRUPTED = 130
"""Stopped by Ctrl-C, as shells report it (128 + SIGINT)."""


class UserError(Exception):
    """A mistake the user can fix.

    Args:
        where: the file, file:line, or key at fault, as the user wrote it.
        problem: what was found, and what was expected.
        fix: what to do about it.
    """

    def __init__(self, where: str | Path, problem: str, fix: str) -> None:
        self.where = str(where)
        self.problem = problem.rstrip(".")
        self.fix = fix.rstrip(".")
        super().__init__(f"{self.where}: {self.problem}. {self.fix}.")

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        # Exceptions are rebuilt from their message alone unless told otherwise.
        return type(self), (self.where, self.problem, self.fix)


class AudioError(UserError):
    """A recording that cannot be read, or holds nothing to transcribe."""


class ManifestError(UserError):
    """A list of utterances that cannot be used as written."""


class TextError(UserError):
    """Text, or a text-processing setting, that cannot be used."""


class ConfigError(UserError):
    """An unknown key, a wrong type, or settings that contradict each other."""


class ModelError(UserError):
    """A model folder that is missing, incomplete, or does not fit this version."""


class TrainingError(UserError):
    """A training run that cannot start or cannot go on."""
