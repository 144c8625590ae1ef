"""What every command line has in common: one clear message for what the user can put right, and its exit status."""

import os
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from ldke_pl.errors import LDKEError

FAULT = 2
"""Exit status for anything that the user can put right."""


def exit_status(run: Callable[[], int | None]) -> int:
    """Run, and return the exit status: what ``run`` returns, 0 for None, ``FAULT`` after printing an error of ours.

    A reader that goes away before the end, as ``head`` does, is no fault.
    """
    try:
        status = run() or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Python flushes standard output once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except LDKEError as fault:
        Console(stderr=True, soft_wrap=True).print(f"error: {fault}", style="bold red", markup=False, highlight=False)
        return FAULT


def run_module(main: Callable[[Sequence[str]], int | None], doc: str | None) -> int:
    """Exit status of ``main`` with the arguments of the command line; asked for help, print what the module says."""
    argv = sys.argv[1:]
    if {"-h", "--help"} & {*argv}:
        print((doc or "").strip())
        return 0
    return exit_status(lambda: main(argv))
