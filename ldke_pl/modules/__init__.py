"""The LightningModules: router training, and the per-edit optimisation loop."""

from ldke_pl.modules.editing import EditingModule
from ldke_pl.modules.features import FeatureBank, read_features
from ldke_pl.modules.pairs import PairTable, pair_table
from ldke_pl.modules.router import RouterModule

__all__ = [
    "EditingModule",
    "FeatureBank",
    "PairTable",
    "RouterModule",
    "pair_table",
    "read_features",
]
