"""From a command line to a run: parse, run, and one clear message if something is wrong."""

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch

from ldke_pl.cli import exit_status
from ldke_pl.config import CONF_DIR, load_config
from ldke_pl.errors import ConfigError


def main(schema: type, file: str, run: Callable[[Any], int | None], program: str = "") -> int:
    """Parse ``sys.argv`` into ``schema``, run, and return the exit status.

    Args:
        program: how the program is called, where it is not ``<file's name>.py``.
    """
    for name in ("lightning.pytorch", "transformers"):  # their remarks on devices and optional packages
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    return exit_status(lambda: _within_memory(run, load_config(schema, CONF_DIR / file, sys.argv[1:], program)))


def _within_memory(run: Callable[[Any], int | None], config: Any) -> int | None:
    """Run.

    Raises:
        ConfigError: the accelerator's memory does not hold what is asked for.
    """
    try:
        return run(config)
    except torch.OutOfMemoryError as fault:
        raise ConfigError(
            f"The accelerator's memory is full: {str(fault).splitlines()[0]}",
            "lower editor.NAME.batch_size or run.batch_size, set editor.NAME.checkpointing=true, or load the model in "
            "fewer bits",
        ) from fault
