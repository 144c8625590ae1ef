"""The Disentanglement Classifier: is this query relevant to this edit? Ours, after the idea of arXiv 2605.29826.

Two streams are compared and judged apart, and a query is relevant only if both agree. The one asks whether query and
edit are about the same thing (picture against picture, and picture against text, since a fact told on a picture can be
asked about in words); the other asks whether the query's question is touched by the edit's, which depends on the kind
of edit and is read from the edit's own question. Judged apart, neither can make up for the other: what is learned about
things holds for questions that were never trained on, and the reverse.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ldke_pl.data import EditRequest
from ldke_pl.router.base import Key, stacked, unstacked
from ldke_pl.router.features import FeatureReader, Features

GROUPS = 4
"""The similarity of two pooled states is given to the head as this many partial cosines per layer."""

GATE = 2
"""Size of what is seen of an edit's question, and of a query's, by itself: enough for what kind it is."""

POOLED = {
    "thing": (("image", "image"), ("text", "image")),
    "question": (("text", "text"), ("last", "last"), ("text", "target")),
}
"""Stream -> which pooled states of a query are compared with which of an edit."""

LATE = {
    "thing": (("image_tokens", "image_tokens"), ("text_tokens", "image_tokens"), ("image_tokens", "text_tokens")),
    "question": (("text_tokens", "text_tokens"), ("text_tokens", "target_tokens")),
}
"""Stream -> which states of a query are compared with which of an edit token by token."""


class PairClassifier(nn.Module):
    """Relevance logits of all pairs of edits and queries.

    Things and questions are compared in the model's own states, so that a comparison holds for entities and relations
    that were never trained on; learned is only what the comparisons mean for an edit and a query of their kinds.

    Args:
        features: numbers per stream of the feature reader.
        layers: how many layers they come from.
        width: hidden size of each stream's judge.
        dropout: fraction of features dropped in training, before what is learned from them.
    """

    centre_image: Tensor
    centre_text: Tensor
    centre_last: Tensor

    def __init__(self, features: int, layers: int = 1, width: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.shape = {"features": features, "layers": layers, "width": width, "dropout": dropout}
        self.layers = layers
        for name in ("image", "text", "last"):
            self.register_buffer(f"centre_{name}", torch.zeros(features))

        def gate(inputs: int) -> nn.Sequential:
            return nn.Sequential(nn.LayerNorm(inputs), nn.Dropout(dropout), nn.Linear(inputs, GATE))

        self.edit_gate, self.query_gate = gate(3 * features), gate(2 * features)
        self.thing = _Judge(len(POOLED["thing"]) * layers * GROUPS + 2 * len(LATE["thing"]), 2, width)
        self.question = _Judge(
            len(POOLED["question"]) * layers * GROUPS + 2 * len(LATE["question"]), 2 * GATE + 2, width
        )

    def centre(self, queries: Features) -> None:
        """Take the mean of training queries as the origin from which states are compared."""
        pictured = queries["seen"][:, 0] > 0
        self.centre_image.copy_(queries["image"][pictured].mean(0) if pictured.any() else queries["image"].mean(0))
        self.centre_text.copy_(queries["text"].mean(0))
        self.centre_last.copy_(queries["last"].mean(0))

    def embed_edits(self, edits: Features) -> Features:
        """Turn edits' features into keys."""
        gate = self.edit_gate(torch.cat([edits["text"], edits["last"], edits["target"]], -1))
        return self._directions(edits) | {"gate": gate}

    def embed_queries(self, queries: Features) -> Features:
        """The same for queries."""
        return self._directions(queries) | {"gate": self.query_gate(torch.cat([queries["text"], queries["last"]], -1))}

    def forward(self, queries: Features, edits: Features) -> Tensor:
        """Relevance logits, (queries, edits), from embedded features."""
        shape = torch.Size((len(queries["seen"]), len(edits["seen"])))
        alone = [_spread(queries["seen"], shape, 1), _spread(edits["seen"], shape, 0)]
        same_thing = self.thing(_similarities("thing", queries, edits), alone)
        alone += [_spread(queries["gate"], shape, 1), _spread(edits["gate"], shape, 0)]
        touched = self.question(_similarities("question", queries, edits), alone)
        return both(same_thing, touched)

    def _directions(self, features: Features) -> Features:
        """Centred states of unit length: pooled ones as (n, layers * GROUPS, part), others as (n, tokens, width)."""
        centres = {"image": self.centre_image, "text": self.centre_text, "last": self.centre_last}
        centres["target"] = self.centre_text
        found = {"seen": features["seen"]}
        for name in centres.keys() & features.keys():
            centred = features[name] - centres[name]
            found[name] = nn.functional.normalize(centred.reshape(len(centred), self.layers * GROUPS, -1), dim=-1)
        for name in (f"{n}_tokens" for n in ("image", "text", "target") if f"{n}_tokens" in features):
            states = features[name]
            there = states.abs().sum(-1, keepdim=True) > 0
            centre = centres[name.removesuffix("_tokens")][-states.shape[-1] :]
            found[name] = nn.functional.normalize(states - centre, dim=-1) * there
        found["image"] = found["image"] * features["seen"][..., None]
        return found


class _Judge(nn.Module):
    """One stream's logits from its similarities and from what is known of query and edit by themselves."""

    def __init__(self, similarities: int, alone: int, width: int) -> None:
        super().__init__()
        # Cosines of a model's states lie close together: unscaled, the head would hardly see them differ.
        self.scale = nn.BatchNorm1d(similarities)
        self.head = nn.Sequential(
            nn.Linear(similarities + alone, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)
        )

    def forward(self, similar: Tensor, alone: Sequence[Tensor]) -> Tensor:
        scaled = self.scale(similar.flatten(0, 1)).reshape(similar.shape)
        logits: Tensor = self.head(torch.cat([scaled, *alone], -1)).squeeze(-1)
        return logits


def _similarities(stream: str, queries: Features, edits: Features) -> Tensor:
    """All that one stream compares, (queries, edits, similarities)."""
    similar = [torch.einsum("qgd,egd->qeg", queries[q], edits[e]) for q, e in POOLED[stream]]
    return torch.cat(similar + [late_interaction(queries[q], edits[e]) for q, e in LATE[stream]], -1)


def both(first: Tensor, second: Tensor) -> Tensor:
    """The logit of two independent events happening together, from the logit of each."""
    return -torch.logsumexp(torch.stack([-first, -second, -first - second]), 0)


def late_interaction(asked: Tensor, known: Tensor) -> Tensor:
    """How well the known tokens are matched by the asked: on average, and the one that is matched worst.

    The average is MaxSim of ColBERT (Khattab and Zaharia, 2020); the worst tells questions apart that share all words
    but the one that matters. Both are 0 where either side has no token.

    Args:
        asked: (queries, tokens, width), unit vectors or zeros.
        known: (edits, tokens, width), the same.

    Returns:
        (queries, edits, 2).
    """
    # A token that is not there has cosine 0 with everything; what is less alike than that counts as much.
    best = torch.einsum("qtd,epd->qept", asked, known).amax(-1).clamp_min(0)
    there = known.abs().sum(-1) > 0
    mean = best.sum(-1) / there.sum(-1).clamp_min(1)
    worst = best.masked_fill(~there, 1).amin(-1) * there.any(-1)
    return torch.stack([mean, worst], -1)


def _spread(values: Tensor, shape: torch.Size, dim: int) -> Tensor:
    return values.unsqueeze(dim).expand(*shape, -1)


class ClassifierRouter:
    """A trained classifier with the layers it reads and its calibrated threshold."""

    def __init__(self, reader: FeatureReader, classifier: PairClassifier, threshold: float) -> None:
        self.reader, self.threshold = reader, threshold
        self.classifier = classifier.eval().requires_grad_(False).to(reader.backbone.device)

    @torch.no_grad()
    def keys(self, requests: Sequence[EditRequest]) -> list[Key]:
        """See :class:`ldke_pl.router.base.Router`."""
        return unstacked(self.classifier.embed_edits(self.reader.edits(requests)))

    @torch.no_grad()
    def relevance(self, queries: Features, keys: Sequence[Key]) -> Tensor:
        """See :class:`ldke_pl.router.base.Router`."""
        device = queries["seen"].device
        if not keys:
            return torch.zeros(len(queries["seen"]), 0, device=device)
        edits = {name: value.to(device) for name, value in stacked(keys).items()}
        logits: Tensor = self.classifier(self.classifier.embed_queries(queries), edits)
        return logits.sigmoid()
