"""The LightningModules: router training, and the per-edit optimisation loop."""

from ldke_pl.modules.editing import EditingModule
from ldke_pl.modules.pairs import PairTable, read_pairs
from ldke_pl.modules.router import RouterModule, calibrated_threshold

__all__ = ["EditingModule", "PairTable", "RouterModule", "calibrated_threshold", "read_pairs"]
