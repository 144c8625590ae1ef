"""The run folder: what a run leaves behind."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from lightning.fabric.utilities import rank_zero_only
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from ldke_pl.config import CONF_DIR, LoggerConfig, save_config
from ldke_pl.errors import ConfigError

ROOT = CONF_DIR.parent


def open_run(config: Any, name: str) -> Path:
    """Make the run folder and write the resolved configuration into it; the first of several ranks does.

    Raises:
        ConfigError: the folder cannot be written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = Path(config.run.dir) if config.run.dir else ROOT / "experiments" / "runs" / f"{name}-{stamp}"
    if getattr(rank_zero_only, "rank", 0):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_config(config, folder / "config.yaml")
    except OSError as fault:
        raise ConfigError(f"The run folder {folder} cannot be written: {fault}", "set run.dir to another") from fault
    return folder


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
