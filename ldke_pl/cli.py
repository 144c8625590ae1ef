"""What every command line has in common: one clear message for what the user can put right, and its exit status."""

from collections.abc import Callable

from rich.console import Console

from ldke_pl.errors import LDKEError

FAULT = 2
"""Exit status for anything that the user can put right."""


def exit_status(run: Callable[[], int | None]) -> int:
    """Run, and return the exit status: what ``run`` returns, 0 for None, ``FAULT`` after printing an error of ours."""
    try:
        return run() or 0
    except LDKEError as fault:
        Console(stderr=True, soft_wrap=True).print(f"error: {fault}", style="bold red", markup=False, highlight=False)
        return FAULT
