"""Where values come from: ``key=value`` arguments, YAML files, and the choices of a group."""

import typing
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ldke_pl.config.fields import is_multiple, section_of, suggest


@dataclass(frozen=True)
class Entry:
    """One value to set.

    Args:
        key: dotted key.
        value: the value as YAML reads it.
        raw: what the user typed; None for a value from a file.
        origin: the file it comes from; "" for an argument.
    """

    key: str
    value: Any
    raw: str | None = None
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.key} ({self.origin})" if self.origin else self.key

    @property
    def text(self) -> str:
        """The value as a string, which for an argument is what was typed: "010" is not 8."""
        return str(self.value) if self.raw is None or isinstance(self.value, str) else self.raw

    def flat(self, leaves: Container[str]) -> Iterator["Entry"]:
        """Yield an entry per leaf of a mapping, or the entry itself."""
        if isinstance(self.value, dict) and self.key not in leaves:
            for key, value in self.value.items():
                yield from replace(self, key=f"{self.key}.{key}", value=value, raw=None).flat(leaves)
        else:
            yield self


@dataclass(frozen=True)
class Group:
    """A section of the schema and the YAML files that can fill it.

    Args:
        section: its dataclass.
        multiple: whether several choices stand side by side, each under its name.
        choices: file of every choice; empty for a section without a folder.
    """

    section: type
    multiple: bool
    choices: Mapping[str, Path]


def find_groups(schema: type, folder: Path) -> dict[str, Group]:
    """Find the sections of ``schema`` and, for each, the YAML files in ``folder/<section>``."""
    groups = {}
    for key, hint in typing.get_type_hints(schema).items():
        section = section_of(hint)
        if section is not None:
            choices = {path.stem: path for path in sorted((folder / key).glob("*.yaml"))}
            groups[key] = Group(section, is_multiple(hint), choices)
    return groups


def parse_arguments(argv: Iterable[str], faults: list[str]) -> dict[str, Entry]:
    """Split ``key=value`` arguments into entries by key; the last one for a key counts."""
    entries = {}
    for argument in argv:
        key, equals, raw = argument.partition("=")
        if argument.startswith("-"):
            faults.append(f"{argument}: arguments are written key=value, without dashes")
        elif not equals or not key:
            faults.append(f"{argument}: expected key=value")
        else:
            try:
                entries[key] = Entry(key, _container(OmegaConf.from_dotlist([f"value={raw}"]))["value"], raw)
            except (YAMLError, OmegaConfBaseException):
                faults.append(f"{argument}: the value is not YAML; a text with special characters needs its own quotes")
    return entries


def read_yaml(path: Path, faults: list[str]) -> dict[str, Any]:
    """Read a mapping from a YAML file; {} and a fault where there is none."""
    try:
        values = _container(OmegaConf.load(path))
    except OSError as error:
        faults.append(f"{path}: cannot be read ({error.strerror})")
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        faults.append(f"{path}: is not YAML ({' '.join(str(error).split())})")
    else:
        if isinstance(values, dict):
            return {str(key): value for key, value in values.items()}
        faults.append(f"{path}: expected keys with values, but got {values!r}")
    return {}


def pick_choices(
    groups: Mapping[str, Group], defaults: object, arguments: Mapping[str, Entry], faults: list[str]
) -> dict[str, list[str]]:
    """Decide the choices of every group: the user's, else those under ``defaults:``.

    A faulty choice is reported and the default stands in for it, so that the other keys can still be checked.
    """
    if not isinstance(defaults, dict):
        faults.append(f"defaults: expected group: choice, but got {defaults!r}")
        defaults = {}
    for key in defaults:
        if key not in groups:
            faults.append(f"defaults.{key}: no such group{suggest(key, groups)}")
    picks = {}
    for key, group in groups.items():
        picked = [] if key not in defaults else _choices(Entry(f"defaults.{key}", defaults[key]), group, faults)
        if is_choice(arguments.get(key), group):
            picked = _choices(arguments[key], group, faults) or picked
        picks[key] = picked
    return picks


def is_choice(argument: Entry | None, group: Group) -> bool:
    """Whether ``argument`` chooses in ``group`` rather than setting values (``run={seeds: [1]}``)."""
    return argument is not None and bool(group.choices) and not isinstance(argument.value, dict)


def _choices(entry: Entry, group: Group, faults: list[str]) -> list[str]:
    """The names in ``entry``, or [] and a fault where one of them cannot be used."""
    several = isinstance(entry.value, list)
    if several and not group.multiple:
        faults.append(f"{entry}: takes one choice, but got {entry.value}")
        return []
    names: Sequence[str] = [str(name) for name in entry.value] if several else [entry.text]
    unknown = [name for name in names if name not in group.choices]
    for name in unknown:
        close = suggest(name, group.choices)
        faults.append(f"{entry}: no choice {name!r}; choices are {', '.join(group.choices)}{close}")
    if not names or len({*names}) < len(names):
        faults.append(f"{entry}: expected one or more different choices, but got {entry.value}")
        return []
    return [] if unknown else [*names]


def _container(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=False)
