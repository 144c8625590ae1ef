"""From a command line to a run: parse, run, and one clear message if something is wrong."""

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

from rich.console import Console

from ldke_pl.config import CONF_DIR, load_config
from ldke_pl.errors import LDKEError

FAULT = 2
"""Exit status for anything that the user can put right."""


def main(schema: type, file: str, run: Callable[[Any], None]) -> int:
    """Parse ``sys.argv`` into ``schema``, run, and return the exit status."""
    for name in ("lightning.pytorch", "transformers"):  # their remarks on devices and optional packages
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    try:
        run(load_config(schema, CONF_DIR / file, sys.argv[1:]))
    except LDKEError as fault:
        Console(stderr=True, soft_wrap=True).print(f"error: {fault}", style="bold red", markup=False, highlight=False)
        return FAULT
    return 0
