"""Typed configuration: dataclasses with a unit per field, filled from ``conf/`` and ``key=value`` arguments."""

from ldke_pl.config.loader import CONF_DIR, load_config, save_config
from ldke_pl.config.named import named
from ldke_pl.config.schema import (
    AppConfig,
    CheckConfig,
    DataConfig,
    EditConfig,
    EditorConfig,
    FileConfig,
    LocalizerConfig,
    LoggerConfig,
    ModelConfig,
    RouterConfig,
    RunConfig,
    TrainConfig,
    TrainerConfig,
)

__all__ = [
    "CONF_DIR",
    "AppConfig",
    "CheckConfig",
    "DataConfig",
    "EditConfig",
    "EditorConfig",
    "FileConfig",
    "LocalizerConfig",
    "LoggerConfig",
    "ModelConfig",
    "RouterConfig",
    "RunConfig",
    "TrainConfig",
    "TrainerConfig",
    "load_config",
    "named",
    "save_config",
]
