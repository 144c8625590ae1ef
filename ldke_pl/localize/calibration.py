"""Fits the standardisation of localizer scores on validation edits."""

from collections.abc import Sequence

import torch

from ldke_pl.backbone import Backbone
from ldke_pl.data import EditRequest
from ldke_pl.localize.base import Calibration
from ldke_pl.localize.gradients import SCORES, gradient_scores


def calibrate_standard(backbone: Backbone, requests: Sequence[EditRequest], batch_size: int = 32) -> Calibration:
    """Mean and standard deviation of every score at every site over ``requests``."""
    chunks = [requests[i : i + batch_size] for i in range(0, len(requests), batch_size)]
    found = [gradient_scores(backbone, chunk) for chunk in chunks]
    standard = {}
    for score in SCORES:
        raw = torch.cat([f[score] for f in found])
        mean, deviation = raw.mean(0).tolist(), raw.std(0, unbiased=False).tolist()
        standard[score] = dict(zip(backbone.sites, zip(mean, deviation, strict=True), strict=True))
    return Calibration(standard=standard)
