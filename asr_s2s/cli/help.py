"""Help of commands, with the placeholders of docs/commands.md: `SOURCES...`, `--output PATH`."""

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from typer import Context
from typer.core import TyperCommand
from typer.models import OptionInfo

METAVARS = {str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "PATH"}
"""Placeholder for the value of an option, by its type; `NAME` for an enumeration."""


class Command(TyperCommand):
    """A command whose `--help` shows `placeholder` for each argument and option.

    Typer's own placeholders, such as `<int range>`, differ from version to version.
    """

    def collect_usage_pieces(self, ctx: Context) -> list[str]:  # type: ignore[override]
        """Arguments, then `[OPTIONS]` if there are any but `--help`."""
        arguments = [placeholder(p) for p in self.params if p.param_type_name == "argument"]
        return [*arguments, "[OPTIONS]"] if len(arguments) < len(self.params) else arguments

    def format_options(self, ctx: Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the tables of arguments and options."""
        for kind, title in (("argument", "Arguments"), ("option", "Options")):
            rows = [
                (placeholder(parameter), record[1])
                for parameter in self.get_params(ctx)
                if parameter.param_type_name == kind
                and (record := parameter.get_help_record(ctx)) is not None
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def placeholder(parameter: Any) -> str:
    """An argument or option as it is written on a command line.

    Args:
        parameter: Click's or Typer's parameter object.
    """
    if parameter.param_type_name == "argument":
        repeated = "..." if parameter.nargs != 1 else ""
        name = parameter.metavar or parameter.name.upper() + repeated
        return name if parameter.required else f"[{name}]"
    names = ", ".join(sorted(parameter.opts, key=len, reverse=True))
    return names if parameter.metavar is None else f"{names} {parameter.metavar}"


def value_type(annotation: Any) -> tuple[Any, bool]:
    """Type of one value of a parameter annotated `T`, `T | None` or `list[T]`, and whether the
    parameter may be repeated."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is list:
        return get_args(annotation)[0], True
    return annotation, False


def with_metavars(command: Callable[..., None]) -> Callable[..., None]:
    """Set the metavar of each option that takes a value and has none, by its type."""
    for hint in get_type_hints(command, include_extras=True).values():
        annotation, *metadata = get_args(hint) or (hint,)
        kind, _ = value_type(annotation)
        for info in metadata:
            if isinstance(info, OptionInfo) and info.metavar is None and kind is not bool:
                info.metavar = "NAME" if issubclass(kind, Enum) else METAVARS[kind]
    return command
