"""Arguments of a command: what must be given, in order, and then ``key=value``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ldke_pl.data.readers.fields import did_you_mean
from ldke_pl.errors import ConfigError

Command = Callable[[Sequence[str]], int]
"""Takes its arguments, prints, and returns its exit status."""

BASE = "base"
"""Key that every command has which loads the base model: where it is, if not where the artefact says."""


@dataclass(frozen=True)
class Arguments:
    """What was given.

    Args:
        given: in order, without keys.
        options: value by key.
    """

    given: list[str]
    options: dict[str, str]

    def number(self, key: str, default: int) -> int:
        """A whole number from 0 on.

        Raises:
            ConfigError: something else was given.
        """
        text = self.options.get(key, str(default))
        if not text.isdecimal():
            raise ConfigError(f"{key} is {text!r}, which is no whole number.", "give a number from 0 on")
        return int(text)

    def flag(self, key: str, default: bool) -> bool:
        """True or false.

        Raises:
            ConfigError: something else was given.
        """
        text = self.options.get(key, str(default).lower())
        if text not in ("true", "false"):
            raise ConfigError(f"{key} is {text!r}, which is neither true nor false.", f"write {key}=true or false")
        return text == "true"


def parse(argv: Sequence[str], wanted: str, keys: Sequence[str] = (), *, more: bool = False) -> Arguments:
    """Tell what must be given from ``key=value``.

    An argument that does not begin with a known key is taken as it stands, so that a question may hold ``=``.

    Args:
        wanted: names of what must be given, as in "DIR ID".
        keys: the keys that the command knows.
        more: the first of ``wanted`` may be given several times.

    Raises:
        ConfigError: too little or too much is given, or a key is given twice.
    """
    usage = f"give {wanted}" + "".join(f" [{key}=...]" for key in keys) + "; --help says more"
    given: list[str] = []
    options: dict[str, str] = {}
    for argument in argv:
        key, equals, value = argument.partition("=")
        if argument.startswith("-"):
            raise ConfigError(f"{argument}: arguments are written key=value, without dashes.", usage)
        if not equals or key not in keys:
            given.append(argument)
        elif key in options or not value:
            raise ConfigError(f"{key} is given {'twice' if key in options else 'no value'}.", usage)
        else:
            options[key] = value
    names = wanted.split()
    if len(given) < len(names):
        raise ConfigError(f"{names[len(given)]} is not given.", usage)
    if len(given) > len(names) and not more:
        raise ConfigError(f"{given[len(names)]!r} is one argument too many.", _guess(given[len(names)], keys) or usage)
    return Arguments(given, options)


def _guess(argument: str, keys: Sequence[str]) -> str:
    key, equals, _ = argument.partition("=")
    return did_you_mean(key, keys) if equals and key.isidentifier() and keys else ""
