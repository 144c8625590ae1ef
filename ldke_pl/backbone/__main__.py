"""Does editing work on a model? ``python -m ldke_pl.backbone check [model=NAME] [model.name=ID_OR_FOLDER ...]``.

Runs the checks of :mod:`ldke_pl.conformance` and prints a line for each. Exit status: 0; 1 where a check fails; 2 for a
bad argument or a model that cannot be loaded.
"""

import sys
import time
from collections.abc import Sequence

import torch
from rich.console import Console

from ldke_pl.backbone.load import load_backbone
from ldke_pl.cli import exit_status
from ldke_pl.config import CONF_DIR, CheckConfig, load_config
from ldke_pl.conformance import CHECKS, NotPossibleError, Subject
from ldke_pl.errors import ConfigError, LDKEError

FAILED = 1
"""Exit status of a model on which a check fails."""


def main(argv: Sequence[str]) -> int:
    """Run the command that ``argv`` begins with.

    Raises:
        ConfigError: it is not ``check``, or a key or value is wrong.
        ModelError: the model cannot be loaded.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if argv[0] != "check":
        raise ConfigError(f'There is no command "{argv[0]}".', "the command is check")
    config = load_config(CheckConfig, CONF_DIR / "check.yaml", argv[1:], "-m ldke_pl.backbone check")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return check(Subject(load_backbone(config.model, device)), Console(highlight=False, soft_wrap=True))


def check(subject: Subject, console: Console) -> int:
    """Run every check and say how each went; the exit status."""
    failed = 0
    for name, examine in CHECKS.items():
        start = time.perf_counter()
        try:
            examine(subject)
            result = "[green]ok[/green]"
        except NotPossibleError as reason:
            result = f"[yellow]not possible[/yellow]: {reason.message}"
        except LDKEError as fault:
            failed += 1
            result = f"[red]failed[/red]: {fault.message}"
        console.print(f"{name.replace('_', ' '):32} {time.perf_counter() - start:6.1f} s  {result}")
    console.print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed or not possible")
    return FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
