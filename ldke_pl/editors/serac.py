"""SERAC: a memory of edits, a scope classifier and a counterfactual model (Mitchell et al., 2022; EasyEdit's version).

Nothing of an edit is optimised: it is kept as its question and answer. Where the scope classifier, which sees question
texts alone, finds a query in the scope of an edit, the counterfactual model answers, which is told question and answer
of the edit in front of the query and sees no picture. Deviations: the texts are read by the base's own lowest layers
and a trained linear map, in place of a fine-tuned DistilBERT, with one head and no trained scale; the classifier
compares questions, the edit's answer left out; the counterfactual model is the base's decoder with one trained low-rank
adapter for all edits, in place of a small language model; the two are trained together, the classifier on pairs of
edits and probes (in scope, out of it, or another edit's: each counted alike; pairs that only pictures tell apart are
left out, as published training data has none), the counterfactual model on in-scope questions alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ldke_pl.backbone import Backbone
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditCase, EditRequest, Question
from ldke_pl.editors.base import Sites
from ldke_pl.editors.scope import ScopeClassifier, ScopeGate, ScopeReader
from ldke_pl.editors.training import answer_loss, drawn
from ldke_pl.edits import Delta, Edit, request_id
from ldke_pl.router import FeatureReader

TOLD = "{prompt} {target}."
"""How a remembered edit is told in front of a query."""

PAIRED, ANSWERED = 8, 1
"""Most probes of a kind, per edit and step, that the classifier judges and that the counterfactual model answers."""


class Adapter(nn.Module):
    """One low-rank delta at every decoder layer that text passes; at first it changes nothing."""

    def __init__(self, backbone: Backbone, rank: int) -> None:
        super().__init__()
        self.sites = tuple(name for name, site in backbone.sites.items() if not site.pictured)
        slots = {name: slot for site in self.sites for name, slot in backbone.sites[site].slots.items()}
        self.names = list(slots)
        sizes = [(slot.in_features, slot.out_features) for slot in slots.values()]
        self.down = nn.ParameterList(torch.randn(rank, width) / width**0.5 for width, _ in sizes)
        self.up = nn.ParameterList(torch.zeros(width, rank) for _, width in sizes)

    def deltas(self) -> dict[str, Delta]:
        """The adapter as an update of the model, in its autograd graph."""
        return {n: Delta((d, u)) for n, d, u in zip(self.names, self.down, self.up, strict=True)}


class SERAC:
    """Keeps edits in memory; a text-only scope classifier hands queries to a counterfactual model."""

    modalities: tuple[str, ...] = ("text",)

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        del sites
        self.backbone = backbone
        reader = FeatureReader(backbone)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.scope = ScopeClassifier(reader.width, self.modalities)
            self.adapter = Adapter(backbone, config.rank)
        self.net: nn.Module = nn.ModuleDict({"scope": self.scope, "adapter": self.adapter}).to(backbone.device)
        self.gate = ScopeGate(ScopeReader(reader, blind="image" not in self.modalities), self.scope)

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        shared = {
            n: Delta(tuple(f.detach().to("cpu", copy=True) for f in d.factors))
            for n, d in self.adapter.deltas().items()
        }
        return [
            # Contexts differ, so that edits are not one change: each has a dictionary of its own.
            replace(told(request, seed), sites=self.adapter.sites, deltas=dict(shared), key=key)
            for request, key in zip(requests, self.gate.keys(requests), strict=True)
        ]

    def training_loss(self, cases: Sequence[EditCase], generator: torch.Generator) -> Tensor:
        """See :meth:`ldke_pl.editors.base.TrainedEditor.training_loss`."""
        pairs = [p for scope in (True, False) for p in drawn(cases, generator, relevant=scope, each=PAIRED)]
        edits = [told(case.request) for case in cases]
        asked = []
        for i, probe in drawn(cases, generator, relevant=True, each=ANSWERED):
            question = edits[i].asked(Question(probe.image, probe.prompt))
            asked.append((0, replace(probe, image=question.image, prompt=question.prompt)))
        return self.gate.training_loss(cases, pairs) + answer_loss(self.backbone, [self.adapter.deltas()], asked)


def told(request: EditRequest, seed: int = 0) -> Edit:
    """The edit as text: told in front of a question that is asked without its picture."""
    context = TOLD.format(prompt=request.prompt, target=request.target)
    return Edit(request_id(request, seed), request.prompt, request.target, (), {}, context=context, blind=True)
