"""Scope classifiers of SERAC and MSCKE: is a query in the scope of an edit, by the distance of learned embeddings.

The relevance is exp(-d^2), as in SERAC's embedding variant (Mitchell et al., 2022), d being the distance between what
query and edit are embedded as; two modalities are fused by concatenation, so that their squared distances add up.
"""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from ldke_pl.data import EditCase, EditRequest, Probe, Question, image_key
from ldke_pl.editors.training import Asked
from ldke_pl.router import FeatureReader, Features, Key

BATCH = 64
"""Questions of training that are read in one pass."""

CLOSEST = 1e-4
"""Least squared distance that training sees: for what the features cannot tell apart, the loss would have no bound."""


class ScopeClassifier(nn.Module):
    """Embeds pooled states, each modality by itself, and compares them by their distance.

    Args:
        features: numbers per modality of the feature reader.
        modalities: names of the features that are compared: "text", "image".
        width: size of an embedding; small, so that a distance holds for questions that were never trained on.
    """

    def __init__(self, features: int, modalities: Sequence[str], width: int = 16) -> None:
        super().__init__()
        self.towers = nn.ModuleDict({name: _tower(features, width) for name in modalities})

    def embed(self, features: Features) -> Features:
        """Pooled states, (n, features) per modality, to embeddings, (n, width)."""
        return {name: tower(features[name]) for name, tower in self.towers.items()}

    def forward(self, queries: Features, edits: Features) -> Tensor:
        """Squared distances of all pairs, (queries, edits), from embeddings."""
        apart = [(queries[n].unsqueeze(1) - edits[n].unsqueeze(0)).square().sum(-1) for n in self.towers]
        return torch.stack(apart).sum(0)


def _tower(features: int, width: int) -> nn.Sequential:
    """A normalised linear map; no term is added, because it would not change a distance."""
    return nn.Sequential(nn.LayerNorm(features, elementwise_affine=False), nn.Linear(features, width, bias=False))


class ScopeReader:
    """Reads what a scope classifier looks at.

    Args:
        blind: every question is read without its picture.
    """

    def __init__(self, reader: FeatureReader, *, blind: bool) -> None:
        self.reader, self.blind = reader, blind
        self._kept: dict[tuple[Hashable, str], Features] = {}

    def questions(self, questions: Sequence[Question]) -> Features:
        """See :class:`ldke_pl.router.base.Reader`."""
        return self.reader.questions([self._shown(q) for q in questions])

    def remembered(self, questions: Sequence[Question], names: Sequence[str]) -> Features:
        """Some features of questions whose pictures outlive the reader: each is read when it is first met."""
        shown = {(image_key(q.image), q.prompt): q for q in map(self._shown, questions)}
        new = [key for key in shown if key not in self._kept]
        for start in range(0, len(new), BATCH):
            part = new[start : start + BATCH]
            found = self.reader.questions([shown[key] for key in part])
            self._kept |= {key: {n: found[n][i] for n in names} for i, key in enumerate(part)}
        rows = [self._kept[image_key(q.image), q.prompt] for q in map(self._shown, questions)]
        return {name: torch.stack([row[name] for row in rows]) for name in names}

    def _shown(self, question: Question) -> Question:
        return Question(None, question.prompt) if self.blind else question


class ScopeGate:
    """Sends a query to the edit in whose scope it is most surely, if any."""

    threshold = 0.5

    def __init__(self, reader: ScopeReader, scope: ScopeClassifier) -> None:
        self.reader, self.scope = reader, scope

    @torch.no_grad()
    def keys(self, requests: Sequence[EditRequest]) -> list[Key]:
        """The embeddings of the edits' own questions."""
        features = self.reader.questions([Question(r.image, r.prompt) for r in requests])
        embedded = self.scope.embed(features)
        return [{name: value[i].cpu() for name, value in embedded.items()} for i in range(len(requests))]

    @torch.no_grad()
    def relevance(self, queries: Features, keys: Sequence[Key]) -> Tensor:
        """See :class:`ldke_pl.router.base.Gate`."""
        if not keys:
            return torch.zeros(len(queries["text"]), 0, device=queries["text"].device)
        embedded = self.scope.embed(queries)
        edits = {name: torch.stack([key[name] for key in keys]).to(value.device) for name, value in embedded.items()}
        distance: Tensor = self.scope(embedded, edits)
        return torch.exp(-distance)

    def training_loss(self, cases: Sequence[EditCase], asked: Asked) -> Tensor:
        """Mean binary cross-entropy of the pairs of ``asked`` with the edits of ``cases``.

        Relevant pairs, own irrelevant ones and other irrelevant ones count alike, however many there are.
        """
        names = list(self.scope.towers)
        edits = self.reader.remembered([Question(c.request.image, c.request.prompt) for c in cases], names)
        queries = self.reader.remembered([Question(p.image, p.prompt) for _, p in asked], names)
        distance = self.scope(self.scope.embed(queries), self.scope.embed(edits)).clamp_min(CLOSEST)
        label = labels(cases, asked, blind=self.reader.blind).to(distance.device)
        own = torch.tensor([[i == column for column in range(len(cases))] for i, _ in asked], device=distance.device)
        outside = -torch.log(-torch.expm1(-distance))
        parts = (distance[label == 1], outside[(label == 0) & own], outside[(label == 0) & ~own])
        return torch.stack([part.mean() for part in parts if len(part)]).mean()


def labels(cases: Sequence[EditCase], asked: Asked, *, blind: bool) -> Tensor:
    """1 in scope, 0 out of scope, -1 unknown, (asked, cases) long.

    Unknown are probes of other edits of the same thing. For a blind classifier so are pairs that only their pictures
    tell apart: with them as negatives no question would be in scope, and published training data has none.
    """
    found = torch.zeros(len(asked), len(cases), dtype=torch.long)
    for row, (own, probe) in enumerate(asked):
        for column, case in enumerate(cases):
            if column == own and not probe.kind.is_locality:
                found[row, column] = 1
                continue
            same_thing = column != own and case.entity != "" and case.entity == (probe.entity or cases[own].entity)
            if same_thing or (blind and _only_pictures_differ(case, probe)):
                found[row, column] = -1
    return found


def _only_pictures_differ(case: EditCase, probe: Probe) -> bool:
    same = probe.prompt == case.request.prompt or (probe.relation != "" and probe.relation == case.relation)
    return same and probe.image is not None and case.request.image is not None
