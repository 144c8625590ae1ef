"""From a command line to a run: parse, run, and one clear message if something is wrong."""

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

from ldke_pl.cli import exit_status
from ldke_pl.config import CONF_DIR, load_config


def main(schema: type, file: str, run: Callable[[Any], int | None]) -> int:
    """Parse ``sys.argv`` into ``schema``, run, and return the exit status."""
    for name in ("lightning.pytorch", "transformers"):  # their remarks on devices and optional packages
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    return exit_status(lambda: run(load_config(schema, CONF_DIR / file, sys.argv[1:])))
