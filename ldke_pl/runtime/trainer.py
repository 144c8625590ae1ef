"""The Lightning Trainer that the configuration describes."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger

from ldke_pl.config import TrainerConfig
from ldke_pl.errors import ConfigError


def build_trainer(config: TrainerConfig, folder: Path, logger: Logger | bool, **options: Any) -> L.Trainer:
    """A Trainer that writes no checkpoint and no summary of its own.

    ``accelerator=auto`` means a CUDA GPU or the CPU: others have never been tried, and have to be asked for.

    Args:
        options: further arguments of ``lightning.Trainer``.

    Raises:
        ConfigError: Lightning knows no such device, strategy or precision, or this machine does not have it.
    """
    if "fork" in config.strategy:
        # A forked process hangs in a team of threads that its parent has used.
        torch.set_num_threads(1)
    auto = "gpu" if torch.cuda.is_available() else "cpu"
    accelerator = auto if config.accelerator == "auto" else config.accelerator
    try:
        return L.Trainer(
            accelerator=accelerator, devices=config.devices, num_nodes=config.num_nodes,
            strategy=config.strategy, precision=config.precision,  # type: ignore[arg-type]
            logger=logger, default_root_dir=folder, enable_checkpointing=False, enable_model_summary=False, **options,
        )  # fmt: skip
    except (MisconfigurationException, ValueError, RuntimeError) as fault:
        raise ConfigError(
            f"No trainer can be made with trainer.accelerator={config.accelerator}, trainer.devices={config.devices}, "
            f"trainer.strategy={config.strategy}, trainer.precision={config.precision}: {str(fault).splitlines()[0]}",
            "choose what this machine has, as in trainer.accelerator=auto trainer.devices=1",
        ) from fault
