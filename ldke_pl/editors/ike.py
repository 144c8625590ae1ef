"""IKE: the new fact is told in front of the question (Zheng et al., 2023; EasyEdit's MMEdit version).

Nothing is written: an edit is a sentence. Of several edits the one whose question is most like the query is told,
always, as IKE retrieves; behind the shared router (``ike_routed``) only to queries that belong to it. Demonstrations
are shown before it, those whose fact is most like its own first, as many as ``demonstrations`` says (IKE: 32), after
``train.py editor=ike`` has collected them from the training split. Deviations: no demonstrations by default, because a
base that was not taught to read them gains nothing from them; likeness is the cosine of the base's own states, in place
of a sentence encoder's; how a fact is told is set by ``statements``.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditCase, EditRequest, Question
from ldke_pl.editors.base import Sites
from ldke_pl.editors.demonstrations import Demonstration, load, made_of, save
from ldke_pl.edits import Edit, request_id
from ldke_pl.router import FeatureReader, Features, Key

PLAIN = "New fact: {prompt} {target}."
"""How a fact is told where no statement fits its question: EasyEdit's words."""


class NearestGate:
    """Sends every query to the edit whose question is most like it."""

    threshold = 0.0

    def __init__(self, reader: FeatureReader) -> None:
        self.reader = reader

    def keys(self, requests: Sequence[EditRequest]) -> list[Key]:
        """The states of the edits' own questions."""
        features = self.reader.questions([Question(r.image, r.prompt) for r in requests])
        return [{"state": state} for state in _states(features).cpu()]

    def relevance(self, queries: Features, keys: Sequence[Key]) -> Tensor:
        """See :class:`ldke_pl.router.base.Gate`."""
        asked = _states(queries)
        known = torch.stack([key["state"] for key in keys]).to(asked.device)
        cosine: Tensor = asked @ known.T
        return (1 + cosine) / 2


class IKE:
    """Tells the fact in front of the question."""

    def __init__(self, backbone: Backbone, config: EditorConfig, sites: Sites) -> None:
        del sites
        self.config = config
        self.gate = NearestGate(FeatureReader(backbone))
        self._shown: list[Demonstration] = []
        self._facts = torch.zeros(0)

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """See :meth:`ldke_pl.editors.base.Editor.edit`."""
        told = self._with_demonstrations([self._told(r) for r in requests])
        edits = [
            Edit(request_id(r, seed), r.prompt, r.target, (), {}, context=t)
            for r, t in zip(requests, told, strict=True)
        ]
        return [replace(e, key=k) for e, k in zip(edits, self.gate.keys(requests), strict=True)]

    def collect(self, cases: Sequence[EditCase], folder: Path) -> int:
        """See :meth:`ldke_pl.editors.base.DemonstratedEditor.collect`."""
        found = made_of(cases, self._told)
        save(found, folder)
        return len(found)

    def show(self, folder: Path | None) -> None:
        """See :meth:`ldke_pl.editors.base.DemonstratedEditor.show`."""
        if self.config.demonstrations:
            self._shown = load(folder)
            self._facts = self._read([d.fact for d in self._shown])

    def _with_demonstrations(self, facts: list[str]) -> list[str]:
        if not self._shown:
            return facts
        likeness = self._read(facts) @ self._facts.T
        nearest = likeness.topk(min(self.config.demonstrations, len(self._shown)), 1).indices.tolist()
        return [" ".join([*(str(self._shown[i]) for i in row), f]) for row, f in zip(nearest, facts, strict=True)]

    def _read(self, texts: list[str]) -> Tensor:
        """States of some texts, (texts, numbers), on the CPU."""
        starts, size = range(0, len(texts), self.config.batch_size), self.config.batch_size
        read = [self.gate.reader.questions([Question(None, t) for t in texts[i : i + size]]) for i in starts]
        return torch.cat([_states(features).cpu() for features in read])

    def _told(self, request: EditRequest) -> str:
        """The fact as a sentence: by the first statement whose keyword the question has."""
        for statement in self.config.statements:
            keyword, _, told = statement.partition(": ")
            if keyword in request.prompt.lower():
                return told.format(prompt=request.prompt, target=request.target)
        return PLAIN.format(prompt=request.prompt, target=request.target)


def _states(features: Features) -> Tensor:
    """Unit vectors of picture and question, (queries, numbers)."""
    parts = [torch.nn.functional.normalize(features[name].float(), dim=-1) for name in ("image", "text")]
    return torch.nn.functional.normalize(torch.cat(parts, -1), dim=-1)
