"""The Disentanglement Classifier: is this query relevant to this edit? Ours, after the idea of arXiv 2605.29826.

Two streams are compared and judged apart, and a query is relevant only if both agree. The one asks whether query and
edit are about the same thing (picture against picture, and picture or the name that the unedited model gives it
against text, by meaning and by spelling, since a fact told on a picture can be asked about in words); the other asks
whether the query's question is touched by the edit's, which depends on the kind of edit and is read from the edit's
own question. Judged apart, neither can make up for the other: what is learned about things holds for questions that
were never trained on, and the reverse.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ldke_pl.data import EditRequest
from ldke_pl.router.base import Key, stacked, unstacked
from ldke_pl.router.directions import principal_directions
from ldke_pl.router.features import MAX_TOKENS, FeatureReader, Features
from ldke_pl.router.guess import Guess
from ldke_pl.router.similarities import (
    COHORT,
    GROUPS,
    LATE,
    LEVELLED,
    NAMED,
    NEAREST,
    POOLED,
    both,
    is_there,
    late_interaction,
    level,
    marked,
    named,
    similarities,
    spread,
    there,
)

SPACES = {
    "image": "image",
    "text": "text",
    "last": "last",
    "target": "text",
    "name": "text",
    "named": "text",
    "word": "word",
    "spelling": "word",
}
"""Stream -> whose mean it is compared from."""

GATE = 2
"""Size of what is seen of an edit's question, and of a query's, by itself: enough for what kind it is."""


class PairClassifier(nn.Module):
    """Relevance logits of all pairs of edits and queries.

    Things and questions are compared in the model's own states, so that a comparison holds for entities and relations
    that were never trained on; learned is only what the comparisons mean for an edit and a query of their kinds.

    How well the right picture or name matches differs from query to query, so that no one bound on it serves all. Each
    match is therefore also given less the query's level among a cohort of things seen in training, as in the adaptive
    score normalisation of speaker verification (Sturim and Reynolds, 2005). The cohort is fixed: a route depends on no
    other edit. An edit of a thing of the cohort is recognised less well.

    Args:
        features: numbers per stream of the feature reader.
        layers: how many layers they come from.
        width: hidden size of each stream's judge.
        cohort: how many things the cohort has.
        dropout: fraction of features dropped in training, before what is learned from them.
        streams: what is judged: "both", or "thing" or "question" alone, to show what the other adds.
        kept: numbers kept of each layer's state, projected on the directions in which training queries differ most,
            so that the keys of wide models stay small; None for all.

    Attributes:
        trust: added to the question stream's logit where both are judged; calibration sets it, training does not.
    """

    centre_image: Tensor
    centre_text: Tensor
    centre_last: Tensor
    centre_word: Tensor

    def __init__(
        self,
        features: int,
        layers: int = 1,
        width: int = 128,
        cohort: int = 36,
        dropout: float = 0.1,
        streams: str = "both",
        kept: int | None = None,
    ) -> None:
        super().__init__()
        self.shape: dict[str, Any] = {
            "features": features, "layers": layers, "width": width, "cohort": cohort, "dropout": dropout,
            "streams": streams, "kept": kept,
        }  # fmt: skip
        self.layers, self.streams = layers, streams
        self.trust = 0.0
        for name in ("image", "text", "last"):
            self.register_buffer(f"centre_{name}", torch.zeros(features))
        self.register_buffer("centre_word", torch.zeros(features // layers))
        if kept is not None:
            for name, bases in (("image", layers), ("text", layers), ("word", 1)):
                self.register_buffer(f"basis_{name}", torch.zeros(bases, features // layers, kept))
        for name in COHORT:
            self.register_buffer(f"cohort_{name}", torch.zeros(cohort, MAX_TOKENS[name], features // layers))

        def gate(inputs: int) -> nn.Sequential:
            return nn.Sequential(nn.LayerNorm(inputs), nn.Dropout(dropout), nn.Linear(inputs, GATE))

        self.edit_gate, self.query_gate = gate(3 * features), gate(2 * features)
        late = 2 * (len(LATE["thing"]) + len(LEVELLED))
        self.thing = _Judge(len(POOLED["thing"]) * layers * GROUPS + late, 2, width)
        asked = len(POOLED["question"]) * layers * GROUPS + 2 * len(LATE["question"]) + NAMED
        self.question = _Judge(asked, 2 * GATE + 2, width)
        self.guess = Guess(layers * kept if kept is not None else features, GATE)
        questions = (self.question, self.edit_gate, self.query_gate)
        for unused in {"both": (), "thing": questions, "question": (self.thing,)}[streams]:
            unused.requires_grad_(False)

    def centre(self, queries: Features) -> None:
        """Take the mean of training queries as the origin from which states are compared."""
        pictured = queries["seen"][:, 0] > 0
        self.centre_image.copy_(queries["image"][pictured].mean(0) if pictured.any() else queries["image"].mean(0))
        self.centre_text.copy_(queries["text"].mean(0))
        self.centre_last.copy_(queries["last"].mean(0))
        words = queries["word_tokens"]
        self.centre_word.copy_(words[is_there(words)].mean(0))
        if self.shape["kept"] is not None:
            self._fit_bases(queries)

    def _fit_bases(self, queries: Features) -> None:
        """Directions of pooled states, but for the highest layer, whose states are compared token by token as well."""
        for name, centre in (("image", self.centre_image), ("text", self.centre_text)):
            basis = self.get_buffer(f"basis_{name}")
            states = queries[name][is_there(queries[name])]
            pooled = torch.unflatten(states - centre, -1, (self.layers, -1))
            for layer, directions in enumerate(basis):
                directions.copy_(principal_directions(pooled[:, layer], directions.shape[1]))
            tokens = queries[f"{name}_tokens"].flatten(0, 1)
            tokens = tokens[is_there(tokens)] - centre[-basis.shape[1] :]
            basis[-1] = principal_directions(tokens, basis.shape[2])
        words = queries["word_tokens"]
        basis = self.get_buffer("basis_word")
        basis[0] = principal_directions(words[is_there(words)] - self.centre_word, basis.shape[2])

    @property
    def cohort(self) -> Features:
        """What is kept of the cohort's things, each (cohort, tokens, width)."""
        return {name: self.get_buffer(f"cohort_{name}") for name in COHORT}

    def compare_with(self, things: Features) -> None:
        """Take edits, at most as many as the cohort has things, as the cohort."""
        for name, kept in self.cohort.items():
            states = things[name]
            kept[: len(states), : states.shape[1]] = states

    def embed_edits(self, edits: Features) -> Features:
        """Turn edits' features into keys."""
        gate = self.edit_gate(torch.cat([edits["text"], edits["last"], edits["target"]], -1))
        return self._directions(edits) | {"gate": gate}

    def things(self, cohort: Features | None = None) -> Features:
        """The classifier's own cohort, or another's edits, as :meth:`embed_queries` takes it."""
        cohort = cohort or self.cohort
        return marked({name: self._token_directions(name.removesuffix("_tokens"), cohort[name]) for name in COHORT})

    def embed_queries(self, queries: Features, things: Features | None = None, known: Tensor | None = None) -> Features:
        """The same for queries.

        Args:
            things: what :meth:`things` gave; None for the classifier's own cohort.
            known: which of the cohort are what a query is about, (queries, cohort) bool; these are left out.
        """
        gate = self.query_gate(torch.cat([queries["text"], queries["last"]], -1))
        found, things = self._directions(queries) | {"gate": gate}, things or self.things()
        for query, edit in LEVELLED:
            matches = late_interaction(found[query], things[edit], there(things, edit))
            if known is not None:
                matches = matches.masked_fill(known[..., None], 0)
            found[level(query, edit)] = matches.topk(min(NEAREST, matches.shape[1]), 1).values.sum(1) / NEAREST
        return found

    def forward(self, queries: Features, edits: Features) -> Tensor:
        """Relevance logits, (queries, edits), from embedded features.

        Args:
            edits: the same for all queries, each (edits, ...), or a query's own, each (queries, edits, ...).
        """
        return self.combined(*self.judged(queries, edits))

    def combined(self, thing: Tensor, question: Tensor) -> Tensor:
        """One logit from those of the two streams."""
        return {"both": both(thing, question + self.trust), "thing": thing, "question": question}[self.streams]

    def judged(self, queries: Features, edits: Features) -> tuple[Tensor, Tensor]:
        """The same of each stream by itself: is it the edit's thing, and a question that the edit's touches?"""
        shape = torch.Size((len(queries["seen"]), edits["seen"].shape[-2]))
        alone = [spread(queries["seen"][:, None], shape), spread(edits["seen"], shape)]
        same_thing: Tensor = self.thing(similarities("thing", queries, edits), alone)
        alone += [spread(queries["gate"][:, None], shape), spread(edits["gate"], shape)]
        similar = torch.cat([similarities("question", queries, edits), named(queries, edits)], -1)
        touched: Tensor = self.question(similar, alone)
        return same_thing, touched

    def _directions(self, features: Features) -> Features:
        """Centred states of unit length: pooled ones as (n, layers * GROUPS, part), others as (n, tokens, width)."""
        found = {"seen": features["seen"]}
        for name in SPACES:
            if name in features:
                centre = self._centre(name)
                states = torch.unflatten(features[name] - centre, -1, (self.layers, -1))
                if self.shape["kept"] is not None:
                    states = torch.einsum("nlw,lwk->nlk", states, self._basis(name))
                parts = torch.unflatten(states.flatten(1), -1, (self.layers * GROUPS, -1))
                found[name] = nn.functional.normalize(parts, dim=-1)
            if f"{name}_tokens" in features:
                found[f"{name}_tokens"] = self._token_directions(name, features[f"{name}_tokens"])
        found["image"] = found["image"] * features["seen"][..., None]
        return found

    def _centre(self, name: str) -> Tensor:
        return self.get_buffer(f"centre_{SPACES[name]}")

    def _basis(self, name: str) -> Tensor:
        return self.get_buffer(f"basis_{'text' if name == 'last' else SPACES[name]}")

    def _token_directions(self, name: str, states: Tensor) -> Tensor:
        moved = states - self._centre(name)[-states.shape[-1] :]
        if self.shape["kept"] is not None:
            moved = moved @ self._basis(name)[-1]
        return nn.functional.normalize(moved, dim=-1) * is_there(states)[..., None]


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


class ClassifierRouter:
    """A trained classifier with the layers it reads and its calibrated threshold."""

    def __init__(self, reader: FeatureReader, classifier: PairClassifier, threshold: float) -> None:
        self.reader, self.threshold = reader, threshold
        self.classifier = classifier.eval().requires_grad_(False)
        self._things: Features = {}

    def keys(self, requests: Sequence[EditRequest]) -> list[Key]:
        """See :class:`ldke_pl.router.base.Router`."""
        return self.embedded(self.reader.edits(requests))

    @torch.no_grad()
    def embedded(self, edits: Features) -> list[Key]:
        """The same from features that were read before."""
        device = self.reader.backbone.device
        features = {name: value.to(device) for name, value in edits.items()}
        # Directions are as good in half precision, and keys are most of what an edit takes up.
        keys = self.classifier.to(device).embed_edits(features)
        return unstacked({name: value.half() for name, value in keys.items()})

    def relevance(self, queries: Features, keys: Sequence[Key]) -> Tensor:
        """See :class:`ldke_pl.router.base.Gate`."""
        device = queries["seen"].device
        if not keys:
            return torch.zeros(len(queries["seen"]), 0, device=device)
        edits = {name: value.to(device) for name, value in stacked(keys).items()}
        return self.compare(self.asked(queries), edits)

    @torch.no_grad()
    def asked(self, queries: Features) -> Features:
        """See :class:`ldke_pl.router.base.Router`."""
        if self.classifier.centre_text.device != queries["seen"].device:  # asked each time, moving would cost more
            self.classifier.to(queries["seen"].device)
            self._things = {}
        self._things = self._things or self.classifier.things()
        return self.classifier.embed_queries(_trimmed(queries), self._things)

    @torch.no_grad()
    def compare(self, asked: Features, keys: Features) -> Tensor:
        """See :class:`ldke_pl.router.base.Router`."""
        known = {name: value.float() if value.is_floating_point() else value for name, value in keys.items()}
        logits: Tensor = self.classifier(asked, marked(known))
        return logits.sigmoid()

    def key_views(self, keys: Features) -> Features:
        """An edit with a picture is known by that and by the name of what it shows, or has none; others by words."""
        named, worded, pictured = (keys[f"{name}_tokens"].float() for name in ("spelling", "text", "image"))
        nameless = ~is_there(named).any(1)[:, None]
        told = torch.where(keys["seen"] > 0, _mean(pictured) * nameless, _mean(worded))
        return {"picture": keys["image"].flatten(1).float(), "name": _mean(named), "told": told}

    def query_views(self, asked: Features) -> Features:
        """A query with a picture is known by that, whatever it asks; others by each of their words."""
        spelled, words = (asked[n] * (1 - asked["seen"])[..., None] for n in ("word_tokens", "text_tokens"))
        told = torch.cat([words, _mean(asked["image_tokens"])[:, None]], 1)
        return {"picture": asked["image"].flatten(1)[:, None].cpu(), "name": spelled.cpu(), "told": told.cpu()}

    def key_guesses(self, keys: Features) -> Tensor:
        """See :class:`ldke_pl.router.base.Router`."""
        return self.classifier.guess.of_edits(keys).cpu()

    def query_guesses(self, asked: Features) -> Tensor:
        """See :class:`ldke_pl.router.base.Router`."""
        return self.classifier.guess.of_queries(asked).cpu()


def _trimmed(queries: Features) -> Features:
    """Without tokens that no query has."""
    longest = {n: max(1, int(is_there(v).any(0).sum())) for n, v in queries.items() if n.endswith("_tokens")}
    return {n: v[:, : longest[n]] if n in longest else v for n, v in queries.items()}


def _mean(tokens: Tensor) -> Tensor:
    return nn.functional.normalize(tokens.sum(1), dim=-1)
