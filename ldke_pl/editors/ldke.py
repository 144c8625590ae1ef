"""LDKE: a low-rank update at the sites that Fast Localization points at. Ours, after the idea of arXiv 2605.29826.

Routing, the other half of the method, is not an editor's affair: :mod:`ldke_pl.router` decides which inputs see the
edit.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from ldke_pl.backbone import Backbone
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest
from ldke_pl.editors.base import Sites
from ldke_pl.editors.optimise import Problem, optimise
from ldke_pl.edits import Edit


class LDKE:
    """Low-rank deltas at localized sites, optimised over augmented views with early stop per edit."""

    full_rank = False

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        self.backbone, self.config, self.sites = backbone, config, sites

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        edits: list[Edit] = []
        for start in range(0, len(requests), self.config.batch_size):
            chunk = requests[start : start + self.config.batch_size]
            sites = self.sites(chunk)
            problems = optimise(self.backbone, chunk, sites, self.config, seed=seed, full_rank=self.full_rank)
            edits += [finished(p, s) for p, s in zip(problems, sites, strict=True)]
        return edits


def finished(problem: Problem, sites: tuple[str, ...]) -> Edit:
    """The edit that an optimised problem has become, on the CPU and out of the autograd graph."""
    deltas = {}
    for name, delta in problem.deltas.items():
        bias = None if delta.bias is None else delta.bias.detach().cpu()
        factors = tuple(t.detach().to("cpu", torch.float32) for t in delta.factors)
        deltas[name] = replace(delta, factors=factors, bias=bias)
    request = problem.request
    return Edit(problem.name, request.prompt, request.target, sites, deltas, {}, problem.loss, problem.steps)
