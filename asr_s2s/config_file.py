"""Reading configurations from YAML with `a.b=c` overrides, and converting them to plain values.

An unknown key raises an error that suggests the nearest known one.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from asr_s2s.config import Config
from asr_s2s.errors import ConfigError

T = TypeVar("T")
LONGEST_VALUE = 100
"""Maximum number of characters of a value in error messages."""


def load_config(path: str | Path, overrides: typing.Sequence[str] = ()) -> Config:
    """Read a YAML file and apply `a.b=c` overrides.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown (the nearest is suggested),
            or a value has the wrong type or is out of bounds.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = Path(path)
    if not path.is_file():
        raise ConfigError(path, "there is no such configuration file", "Check the path")
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key:
            raise ConfigError(
                override,
                "an override must have the form key=value",
                "Write for example train.steps=2000",
            )
    try:
        read = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(path, f"this is not valid YAML: {problem}", "Correct the file") from error
    try:
        merged = OmegaConf.merge(read, OmegaConf.from_dotlist(list(overrides)))
        values = OmegaConf.to_container(merged, resolve=True)
    except (YAMLError, OmegaConfBaseException, TypeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            f"{path} {' '.join(overrides)}".strip(),
            f"the file and the overrides cannot be merged: {problem}",
            "Write sections of key: value pairs in the file, and overrides as section.key=value",
        ) from error
    return from_dict(Config, values, where=str(path))


def from_dict(kind: type[T], values: Any, *, where: str) -> T:
    """Build a configuration dataclass from plain values, checking keys, types and bounds."""
    built: T = _convert(kind, values, where, "")
    return built


def check_values(config: Any, section: str = "") -> None:
    """Check types and bounds of a configuration built in Python, as `from_dict` does.

    Args:
        config: a configuration, or one of its sections.
        section: name of the section.

    Raises:
        ConfigError: names the first invalid key.
    """
    _convert(type(config), to_dict(config), "", section)


def find_entry(table: Mapping[str, T], name: str, key: str) -> T:
    """Return the entry of a table that a value of the configuration names.

    Args:
        key: key or option whose value is the name.

    Raises:
        ConfigError: the table has no such entry; names the key and all entries.
    """
    if name not in table:
        expected = f"expected one of {', '.join(table)}, found {name!r}"
        raise ConfigError(key, expected, "Correct the value")
    return table[name]


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a configuration dataclass to plain values, ready for YAML."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return to_dict(value) if dataclasses.is_dataclass(value) else value


def _convert(kind: Any, value: Any, where: str, key: str) -> Any:
    """Convert `value` to the type `kind`, or raise a ConfigError that names `key`."""

    def mismatch(expected: str) -> ConfigError:
        return ConfigError(
            ": ".join(part for part in (where, key) if part),
            f"expected {expected}, found {_shortened(value)}",
            "Correct the value",
        )

    if dataclasses.is_dataclass(kind):
        if value is None and not key:
            value = {}
        if not isinstance(value, dict):
            raise mismatch("a section of key: value pairs")
        hints = typing.get_type_hints(kind, include_extras=True)
        for name in value:
            if name not in hints:
                dotted = f"{key}.{name}" if key else str(name)
                raise ConfigError(
                    f"{where}: {dotted}",
                    "there is no such key",
                    _suggestion(str(name), list(hints), key),
                )
        prefix = f"{key}." if key else ""
        converted = {
            name: _convert(hints[name], v, where, f"{prefix}{name}") for name, v in value.items()
        }
        return typing.cast(Any, kind)(**converted)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        converted = _convert(arguments[0], value, where, key)
        for bounds in arguments[1:]:
            if converted not in bounds:
                raise mismatch(str(bounds))
        return converted
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        sections = [one for one in arguments if dataclasses.is_dataclass(one)]
        chosen = sections[0] if sections and isinstance(value, dict) else arguments[0]
        return _convert(chosen, value, where, key)
    if origin is Literal:
        if value not in arguments:
            raise mismatch("one of " + ", ".join(arguments))
        return value
    if origin is tuple:
        items = [value] if isinstance(value, (str, int, float)) else value
        if not isinstance(items, (list, tuple)):
            raise mismatch("a list")
        if arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise mismatch(f"a list of {len(arguments)} values")
        return tuple(_convert(arguments[0], item, where, key) for item in items)
    # Configurations built in Python may contain NumPy's numbers.
    if kind is float and not isinstance(value, bool) and isinstance(value, Real):
        return float(value)
    if kind is int and not isinstance(value, bool) and isinstance(value, Integral):
        return int(value)
    if kind in (str, bool) and isinstance(value, kind):
        return value
    names = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
    raise mismatch(names[kind])


def _suggestion(name: str, known: list[str], section: str) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {section + '.' if section else ''}{near[0]}"
    return f"Known keys{' of ' + section if section else ''}: {', '.join(known)}"


def _shortened(value: Any) -> str:
    """Return the value as Python writes it, cut where it is too long for a message."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
