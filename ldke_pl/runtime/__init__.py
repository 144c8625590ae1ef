"""What ``train.py`` and ``edit.py`` do with a parsed configuration."""

from ldke_pl.runtime.editing import run_edit
from ldke_pl.runtime.entry import main
from ldke_pl.runtime.training import run_train

__all__ = ["main", "run_edit", "run_train"]
