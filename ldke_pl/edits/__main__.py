"""Look at a saved set of edits, change it, share it: ``python -m ldke_pl.edits COMMAND DIR [...] [key=value ...]``."""

import inspect
import logging
import sys
from collections.abc import Sequence

from ldke_pl.cli import exit_status
from ldke_pl.data.readers.fields import did_you_mean
from ldke_pl.errors import ConfigError
from ldke_pl.upkeep.arguments import Command
from ldke_pl.upkeep.ask import ask
from ldke_pl.upkeep.change import disable, enable, rollback
from ldke_pl.upkeep.fold import fold
from ldke_pl.upkeep.hub import pull, push
from ldke_pl.upkeep.look import diff, list_edits, show
from ldke_pl.upkeep.merge import merge
from ldke_pl.upkeep.verify import verify

COMMANDS: dict[str, Command] = {
    "list": list_edits,
    "show": show,
    "ask": ask,
    "disable": disable,
    "enable": enable,
    "rollback": rollback,
    "verify": verify,
    "merge": merge,
    "fold": fold,
    "diff": diff,
    "push": push,
    "pull": pull,
}


def main(argv: Sequence[str]) -> int:
    """Run the command that ``argv`` begins with.

    Raises:
        ConfigError: there is no such command, or an argument is missing or unknown.
        LDKEError: what else is wrong with an artefact, its model or a picture.
    """
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    if name not in COMMANDS:
        raise ConfigError(f'There is no command "{name}".', did_you_mean(name, COMMANDS))
    if {"-h", "--help"} & {*rest}:
        print(f"usage: python -m ldke_pl.edits {name} {_about(name)}")
        return 0
    logging.getLogger("transformers").setLevel(logging.ERROR)  # its remarks on optional packages
    return COMMANDS[name](rest)


def _about(name: str) -> str:
    return inspect.getdoc(COMMANDS[name]) or ""


def _usage() -> str:
    lines = [f"  {name} {_about(name).splitlines()[0]}" for name in COMMANDS]
    usage = "usage: python -m ldke_pl.edits COMMAND DIR [...] [key=value ...]"
    told = "DIR is a folder of edits: EditedModel.save wrote it, or a run of edit.py."
    return "\n".join([usage, "", told, "", "Commands (COMMAND --help says more):", *lines])


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
