"""The Disentanglement Classifier: is this query relevant to this edit? Ours, after the idea of arXiv 2605.29826.

Two streams are compared separately and judged together. The visual stream asks whether query and edit are about the
same thing (picture against picture, and picture against text, since a fact told on a picture can be asked about in
words); the semantic stream asks whether the query's question is touched by the edit's. Which combination makes a
query relevant depends on the kind of edit, which the classifier reads from the edit's own question.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ldke_pl.data import EditRequest
from ldke_pl.router.base import Key, stacked, unstacked
from ldke_pl.router.features import FeatureReader, Features

GROUPS = 8
"""A stream's similarity is given to the head as this many partial cosines."""

GATE = 16


class PairClassifier(nn.Module):
    """Relevance logits of all pairs of edits and queries.

    Args:
        features: numbers per stream of the feature reader.
        layers: how many layers they come from.
        key_dim: size of each stream's projection.
        width: hidden size of the pair head.
        dropout: fraction of features dropped in training.
    """

    centre_image: Tensor
    centre_text: Tensor
    centre_last: Tensor

    def __init__(
        self, features: int, layers: int = 1, key_dim: int = 64, width: int = 128, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.shape = {"features": features, "layers": layers, "key_dim": key_dim, "width": width, "dropout": dropout}
        self.layers = layers
        for name in ("image", "text", "last"):
            self.register_buffer(f"centre_{name}", torch.zeros(features))

        def stream(inputs: int, outputs: int = key_dim) -> nn.Sequential:
            parts = (nn.LayerNorm(inputs), nn.Dropout(dropout), nn.Linear(inputs, outputs))
            return nn.Sequential(*parts)

        self.picture = stream(features)
        self.edit_words = stream(2 * features)
        self.query_words = stream(2 * features)
        self.question = nn.Sequential(stream(2 * features, 2 * key_dim), nn.GELU(), nn.Linear(2 * key_dim, key_dim))
        self.target = stream(features)
        self.edit_gate = stream(3 * features, GATE)
        self.query_gate = stream(2 * features, GATE)
        self.head = nn.Sequential(
            nn.Linear(5 * (GROUPS + layers) + 2 * GATE + 2, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, 1),
        )  # fmt: skip

    def centre(self, queries: Features) -> None:
        """Take the mean of training queries as the origin from which unprojected states are compared."""
        pictured = queries["seen"][:, 0] > 0
        self.centre_image.copy_(queries["image"][pictured].mean(0) if pictured.any() else queries["image"].mean(0))
        self.centre_text.copy_(queries["text"].mean(0))
        self.centre_last.copy_(queries["last"].mean(0))

    def _raw(self, features: Features) -> Features:
        """Unprojected states, layer by layer: what is like what without any training, for things never trained on."""

        def direction(states: Tensor, centre: Tensor) -> Tensor:
            return nn.functional.normalize((states - centre).reshape(len(states), self.layers, -1), dim=-1)

        raw = {
            "raw_image": direction(features["image"], self.centre_image) * features["seen"][..., None],
            "raw_text": direction(features["text"], self.centre_text),
            "raw_last": direction(features["last"], self.centre_last),
        }
        if "target" in features:
            raw["raw_target"] = direction(features["target"], self.centre_text)
        return raw

    def embed_edits(self, edits: Features) -> Features:
        """Project edits' features into keys."""
        words = torch.cat([edits["text"], edits["last"]], -1)
        return {
            "picture": _grouped(self.picture(edits["image"])) * edits["seen"][..., None],
            "words": _grouped(self.edit_words(words)),
            "question": _grouped(self.question(words)),
            "target": _grouped(self.target(edits["target"])),
            "gate": self.edit_gate(torch.cat([words, edits["target"]], -1)),
            "seen": edits["seen"],
            **self._raw(edits),
        }

    def embed_queries(self, queries: Features) -> Features:
        """Project queries' features."""
        words = torch.cat([queries["text"], queries["last"]], -1)
        return {
            "picture": _grouped(self.picture(queries["image"])) * queries["seen"][..., None],
            "words": _grouped(self.query_words(words)),
            "question": _grouped(self.question(words)),
            "gate": self.query_gate(words),
            "seen": queries["seen"],
            **self._raw(queries),
        }

    def forward(self, queries: Features, edits: Features) -> Tensor:
        """Relevance logits, (queries, edits), from projections."""
        pairs = (
            ("picture", "picture"), ("words", "picture"), ("words", "words"), ("question", "question"),
            ("words", "target"), ("raw_image", "raw_image"), ("raw_text", "raw_image"), ("raw_text", "raw_text"),
            ("raw_last", "raw_last"), ("raw_text", "raw_target"),
        )  # fmt: skip
        similar = [torch.einsum("qgd,egd->qeg", queries[q], edits[e]) for q, e in pairs]
        shape = similar[0].shape[:2]
        alone = [_spread(queries[n], shape, 1) for n in ("gate", "seen")]
        alone += [_spread(edits[n], shape, 0) for n in ("gate", "seen")]
        logits: Tensor = self.head(torch.cat([*similar, *alone], -1)).squeeze(-1)
        return logits


def _grouped(vectors: Tensor) -> Tensor:
    """Split into groups, each of unit length: (n, GROUPS, d / GROUPS)."""
    return nn.functional.normalize(vectors.reshape(len(vectors), GROUPS, -1), dim=-1)


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
