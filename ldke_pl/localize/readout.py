"""A linear readout of all gradient scores at all sites, fitted on validation edits made at every site. Ours.

Single scores tell sites of one edit apart badly; which sites an edit belongs at shows in their pattern over sites. The
readout maps that pattern (logarithms of every score at every site) to the quality that an edit would have at each site,
by ridge regression. It never sees the kind of an edit, and costs what one gradient score costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ldke_pl.localize.gradients import SCORES

FLOOR = 1e-12
"""Keeps the logarithm of a score that is zero (the connector's, without a picture) finite."""


@dataclass(frozen=True)
class Readout:
    """Standardisation and weights of the regression.

    Args:
        mean, deviation: of each log score, (scores * sites,).
        weights: (scores * sites, sites).
        bias: (sites,).
    """

    mean: list[float]
    deviation: list[float]
    weights: list[list[float]]
    bias: list[float]

    def predict(self, scores: dict[str, Tensor]) -> Tensor:
        """Expected quality of each edit at each site, (edits, sites)."""
        pattern = (_pattern(scores) - torch.tensor(self.mean)) / torch.tensor(self.deviation)
        return pattern @ torch.tensor(self.weights) + torch.tensor(self.bias)


def fit_readout(scores: dict[str, Tensor], quality: Sequence[Sequence[float]], ridge: float = 10.0) -> Readout:
    """Fit the readout.

    Args:
        scores: score name -> (edits, sites), raw.
        quality: routed quality per edit and site, (edits, sites).
        ridge: strength of the penalty, in units of one edit.
    """
    pattern, truth = _pattern(scores), torch.tensor(quality)
    mean, deviation = pattern.mean(0), pattern.std(0).clamp_min(1e-6)
    x = (pattern - mean) / deviation
    bias = truth.mean(0)
    weights = torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1]), x.T @ (truth - bias))
    return Readout(mean.tolist(), deviation.tolist(), weights.tolist(), bias.tolist())


def _pattern(scores: dict[str, Tensor]) -> Tensor:
    return torch.cat([scores[name].clamp_min(FLOOR).log() for name in SCORES], 1)
