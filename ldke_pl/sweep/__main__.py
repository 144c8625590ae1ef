"""Run a W&B sweep file offline, one run after another: what `wandb sweep` and `wandb agent` do, without an account.

    python -m ldke_pl.sweep conf/sweep/threshold.yaml [folder=DIR] [count=N] [key=value ...]

The file is W&B's: ``method`` (grid, random or bayes), ``metric``, ``parameters`` (``value``, ``values``, or ``min`` and
``max``) and ``program``; Optuna chooses what to try. Further arguments are given to every run. Each run has a folder of
its own; the same command goes on where the last one stopped. Writes ``sweep.csv``, a plot (``sweep.png``), and the best
run's configuration as ``best.yaml``.
"""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ldke_pl.cli import exit_status
from ldke_pl.config import CONF_DIR
from ldke_pl.errors import ConfigError


def main(argv: Sequence[str]) -> int | None:
    """Parse the command line and run."""
    if not argv or {"-h", "--help"} & {*argv}:
        print(__doc__)
        return 0 if argv else 2
    if find_spec("optuna") is None or find_spec("matplotlib") is None:
        raise ConfigError("Sweeps need Optuna and Matplotlib.", "pip install 'ldke-pl[sweep]'")
    from ldke_pl.sweep.search import USAGE, read_sweep, run_sweep

    path, *rest = argv
    bad = [a for a in rest if "=" not in a]
    if bad:
        raise ConfigError(f"{bad[0]!r} is no key=value.", f"usage: {USAGE}")
    arguments = dict(a.split("=", 1) for a in rest)
    folder = Path(arguments.pop("folder", CONF_DIR.parent / "experiments" / "runs" / f"sweep-{Path(path).stem}"))
    count = arguments.pop("count", None)
    if count is not None and not (count.isdigit() and int(count)):
        raise ConfigError(f"count is {count!r}.", "give a number of runs from 1 on")
    run_sweep(read_sweep(Path(path)), arguments, folder, int(count) if count else None)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
