"""Look at annotation files: ``python -m ldke_pl.data COMMAND [key=value ...]``."""

import inspect as source
import sys
from collections.abc import Sequence

from ldke_pl.cli import exit_status
from ldke_pl.data.commands import Command, inspect, leakage, shard
from ldke_pl.data.readers.fields import did_you_mean
from ldke_pl.errors import ConfigError

COMMANDS: dict[str, Command] = {"inspect": inspect, "leakage": leakage, "shard": shard}


def main(argv: Sequence[str]) -> int:
    """Run the command that ``argv`` begins with.

    Raises:
        ConfigError: there is no such command.
    """
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    if name not in COMMANDS:
        raise ConfigError(f'There is no command "{name}".', did_you_mean(name, COMMANDS))
    if {"-h", "--help"} & {*rest}:
        print(_about(name), end="\n\n")
    return COMMANDS[name](rest)


def _about(name: str) -> str:
    return source.getdoc(COMMANDS[name]) or ""


def _usage() -> str:
    lines = [f"  {name}: {_about(name).splitlines()[0]}" for name in COMMANDS]
    usage = "usage: python -m ldke_pl.data COMMAND [key=value ...]"
    return "\n".join([usage, "", "Commands (COMMAND --help says more):", *lines])


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
