"""The run folder: what a run leaves behind."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout
from lightning.fabric.utilities import rank_zero_only
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from ldke_pl.config import CONF_DIR, LoggerConfig, save_config
from ldke_pl.errors import ConfigError

ROOT = CONF_DIR.parent


def open_run(config: Any, name: str) -> tuple[Path, BaseFileLock]:
    """Make the run folder and write the resolved configuration into it; the first of several ranks does.

    Returns:
        The folder, and a lock: as long as it is kept, no other process can open the folder.

    Raises:
        ConfigError: the folder cannot be written, or another process has it.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = Path(config.run.dir) if config.run.dir else ROOT / "experiments" / "runs" / f"{name}-{stamp}"
    lock = FileLock(folder / ".lock", timeout=0, is_singleton=True)  # one process may open it again
    if getattr(rank_zero_only, "rank", 0):
        return folder, lock
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        save_config(config, folder / "config.yaml")
    except Timeout as fault:
        hint = "wait until it is done, or set run.dir to another"
        raise ConfigError(f"Another process is writing the run folder {folder}.", hint) from fault
    except OSError as fault:
        raise ConfigError(f"The run folder {folder} cannot be written: {fault}", "set run.dir to another") from fault
    return folder, lock


def build_logger(config: LoggerConfig, folder: Path) -> Logger | bool:
    """The Lightning logger that the configuration names; False for none."""
    if config.name == "wandb":
        return WandbLogger(project=config.project, save_dir=folder, offline=config.mode == "offline")
    return CSVLogger(folder, name="", version="logs") if config.name == "csv" else False


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json``, whole or not at all."""
    partial = folder / "metrics.json.partial"
    partial.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    partial.rename(folder / "metrics.json")


def commit() -> str:
    """The commit of the code, with a mark if it was changed since; "" outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip()
