"""Generate docs/commands.md from the command line's own help: python docs/commands.py"""

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from asr_s2s.cli.help import placeholder, value_type
from asr_s2s.cli.main import app

PAGE = Path(__file__).with_name("commands.md")
ESCAPED = str.maketrans({character: f"\\{character}" for character in "|<*_"})
HEAD = """# Commands

`python docs/commands.py` generates this page from the help texts of the commands; a test checks
that it is up to date. `asr-s2s COMMAND --help` prints the same texts.

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | an input could not be used, or a check failed; a message names it |
| 2 | the command line is invalid |
| 130 | interrupted by Ctrl-C |

## Shell completion

```
asr-s2s --install-completion
```

Installs completion of commands and options for the current shell (bash, zsh, fish or PowerShell);
it takes effect in new terminals. After `asr-s2s`, typing `tra` and pressing Tab then lists
`transcribe`, `translate` and `train`. `asr-s2s --show-completion` prints the completion script
without installing it.
"""


class Parameter(NamedTuple):
    """An argument or option of a command, as declared by the command's function."""

    name: str
    info: ArgumentInfo | OptionInfo
    kind: Any
    """Type of one value."""
    default: Any
    """`inspect.Parameter.empty` if the parameter is required."""

    @property
    def flags(self) -> list[str]:
        """Names of an option, such as `--output` and `-o`; empty for an argument."""
        if isinstance(self.info, ArgumentInfo):
            return []
        # Within Annotated, typer stores the first name as the default.
        names = (self.info.default, *(self.info.param_decls or ()))
        declared = [name for name in names if isinstance(name, str)]
        return declared or [f"--{self.name.replace('_', '-')}"]

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def description(self) -> str:
        """Help text, followed by choices, bounds and the default."""
        return " ".join([(self.info.help or "").translate(ESCAPED), *self._notes()])

    def _notes(self) -> Iterator[str]:
        enumerated = isinstance(self.kind, type) and issubclass(self.kind, Enum)
        choices = [choice.value for choice in self.kind] if enumerated else []
        if any(choice not in (self.info.help or "") for choice in choices):
            yield "One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
        if self.info.min is not None and self.info.max is not None:
            yield f"From {self.info.min:g} to {self.info.max:g}."
        elif self.info.min is not None:
            yield f"At least {self.info.min:g}."
        if self.info.envvar:
            yield f"Also read from the environment variable `{self.info.envvar}`."
        if self.required and isinstance(self.info, OptionInfo):
            yield "Required."
        elif not self.required and self.default not in (None, False):
            yield f"Default: `{getattr(self.default, 'value', self.default)}`."


def commands() -> dict[str, Callable[..., Any]]:
    """Functions of all commands by name, in the order of `asr-s2s --help`."""
    found = (command.callback for command in app.registered_commands)
    return {callback.__name__: callback for callback in found if callback is not None}


def parameters(command: Callable[..., Any]) -> list[Parameter]:
    """Arguments and options of a command, in declaration order."""
    hints = get_type_hints(command, include_extras=True)
    found: list[Parameter] = []
    for name, declared in inspect.signature(command).parameters.items():
        annotation, info = get_args(hints[name])[:2]
        kind, _ = value_type(annotation)
        found.append(Parameter(name, info, kind, declared.default))
    return found


def page() -> str:
    """Expected content of docs/commands.md."""
    return "\n".join([HEAD, *(section(*command) for command in commands().items())])


def section(name: str, command: Callable[..., Any]) -> str:
    """Usage, description, and a table of the arguments and options of a command."""
    built: Any = typer.main.get_command(app)
    built = built.commands[name]
    usage = " ".join(["asr-s2s", name, *built.collect_usage_pieces(typer.Context(built))])
    shown = {parameter.name: placeholder(parameter) for parameter in built.params}
    prose = inspect.getdoc(command) or ""
    ordered = sorted(parameters(command), key=lambda p: isinstance(p.info, OptionInfo))
    rows = [f"| `{shown[parameter.name]}` | {parameter.description} |" for parameter in ordered]
    table = "\n".join(["| | |", "|---|---|", *rows])
    return f"## {name}\n\n```\n{usage}\n```\n\n{prose.translate(ESCAPED)}\n\n{table}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
