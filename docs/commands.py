"""Write docs/commands.md from the command line itself: python docs/commands.py"""

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from asr_s2s.cli.main import app

PAGE = Path(__file__).with_name("commands.md")
ESCAPED = str.maketrans({character: f"\\{character}" for character in "|<*_"})
HEAD = """# Commands

`python docs/commands.py` writes this page from the command line itself; a test holds the two equal.
`asr-s2s COMMAND --help` tells the same. A command ends with 0 where all went well, with 1 where
something could not be done, which a message names, and with 2 where the command line is wrong.
"""
KINDS = {int: "NUMBER", float: "NUMBER", Path: "PATH"}


class Parameter(NamedTuple):
    """An argument or option of a command, as its function declares it."""

    name: str
    info: ArgumentInfo | OptionInfo
    kind: Any
    """Its type, or that of its items where it may be repeated."""
    repeated: bool
    default: Any
    """`inspect.Parameter.empty` where it must be given."""

    @property
    def flags(self) -> list[str]:
        """Names of an option; an argument has none."""
        if isinstance(self.info, ArgumentInfo):
            return []
        # Within Annotated, typer keeps the first name in the place of a default.
        names = (self.info.default, *(self.info.param_decls or ()))
        declared = [name for name in names if isinstance(name, str)]
        return declared or [f"--{self.name.replace('_', '-')}"]

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def enumerated(self) -> bool:
        """Whether it takes one of some names."""
        return isinstance(self.kind, type) and issubclass(self.kind, Enum)

    @property
    def shown(self) -> str:
        """How it is written on a command line."""
        if isinstance(self.info, ArgumentInfo):
            name = self.info.metavar or self.name.upper() + ("..." if self.repeated else "")
            return name if self.required else f"[{name}]"
        if self.kind is bool:
            return ", ".join(self.flags)
        kind = "NAME" if self.enumerated else KINDS.get(self.kind, "TEXT")
        return f"{', '.join(self.flags)} {self.info.metavar or kind}"

    @property
    def told(self) -> str:
        """Its help, and what follows from its type and default."""
        return " ".join([(self.info.help or "").translate(ESCAPED), *self._notes()])

    def _notes(self) -> Iterator[str]:
        choices = [choice.value for choice in self.kind] if self.enumerated else []
        if any(choice not in (self.info.help or "") for choice in choices):
            yield "One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
        if self.info.min is not None and self.info.max is not None:
            yield f"From {self.info.min:g} to {self.info.max:g}."
        elif self.info.min is not None:
            yield f"At least {self.info.min:g}."
        if self.info.envvar:
            yield f"Also read from the variable `{self.info.envvar}`."
        if self.required and isinstance(self.info, OptionInfo):
            yield "Required."
        elif not self.required and self.default not in (None, False):
            yield f"Default: `{getattr(self.default, 'value', self.default)}`."


def commands() -> dict[str, Callable[..., Any]]:
    """The functions of all commands, by name, in the order of `asr-s2s --help`."""
    found = (command.callback for command in app.registered_commands)
    return {callback.__name__: callback for callback in found if callback is not None}


def parameters(command: Callable[..., Any]) -> list[Parameter]:
    """Arguments and options of a command, in order."""
    hints = get_type_hints(command, include_extras=True)
    found: list[Parameter] = []
    for name, declared in inspect.signature(command).parameters.items():
        kind, info = get_args(hints[name])[:2]
        if get_origin(kind) in (Union, UnionType):
            (kind,) = (part for part in get_args(kind) if part is not NoneType)
        repeated = get_origin(kind) is list
        (kind,) = get_args(kind) if repeated else (kind,)
        found.append(Parameter(name, info, kind, repeated, declared.default))
    return found


def page() -> str:
    """The page as it should be."""
    return "\n".join([HEAD, *(section(*command) for command in commands().items())])


def section(name: str, command: Callable[..., Any]) -> str:
    """A command's usage, its docstring, and a table of its arguments and options."""
    taken = sorted(parameters(command), key=lambda p: isinstance(p.info, OptionInfo))
    words = [p.shown for p in taken if isinstance(p.info, ArgumentInfo)]
    options = ["[OPTIONS]"] if len(words) < len(taken) else []
    usage = " ".join(["asr-s2s", name, *words, *options])
    prose = inspect.getdoc(command) or ""
    rows = [f"| `{parameter.shown}` | {parameter.told} |" for parameter in taken]
    table = "\n".join(["| | |", "|---|---|", *rows])
    return f"## {name}\n\n```\n{usage}\n```\n\n{prose.translate(ESCAPED)}\n\n{table}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
