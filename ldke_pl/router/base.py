"""What every router is, and the index of keys that it searches."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ldke_pl.data import EditRequest, Question
from ldke_pl.router.features import FeatureReader, Features

Key = Mapping[str, Tensor]
"""What a router knows one edit by: named tensors without batch dimension."""


class Reader(Protocol):
    """Reads what a gate looks at in a question, from the unedited model."""

    def questions(self, questions: Sequence[Question]) -> Features:
        """Features of questions."""


class Gate(Protocol):
    """Says how relevant queries are to edits: what an editing method may bring with it in place of the router.

    Args:
        reader: reads the features that the gate was made for.
        threshold: a query is routed to its most relevant edit if that relevance reaches the threshold.
    """

    @property
    def reader(self) -> Reader: ...

    @property
    def threshold(self) -> float: ...

    def relevance(self, queries: Features, keys: Sequence[Key]) -> Tensor:
        """Relevance of every query to every key, (queries, keys), in [0, 1]."""


class Router(Gate, Protocol):
    """A gate that knows an edit by its request alone, whatever method made it."""

    reader: FeatureReader
    threshold: float

    def keys(self, requests: Sequence[EditRequest]) -> list[Key]:
        """What each edit is known by from now on."""

    def asked(self, queries: Features) -> Features:
        """Queries as :meth:`compare` takes them."""

    def compare(self, asked: Features, keys: Features) -> Tensor:
        """Relevance of every query to every key, (queries, keys), or to keys of its own, on the model's device.

        Args:
            keys: one tensor per part of a key, (keys, ...) or (queries, keys, ...).
        """

    def key_views(self, keys: Features) -> Features:
        """What a coarse search knows keys by: space -> (keys, width), zeros for none; {} where it is not needed."""

    def query_views(self, asked: Features) -> Features:
        """What it knows queries by: space -> (queries, vectors, width), zeros for none; one vector near is enough."""

    def key_guesses(self, keys: Features) -> Tensor:
        """What it knows keys' questions by, (keys, numbers); no numbers where it is not needed."""

    def query_guesses(self, asked: Features) -> Tensor:
        """The same of queries, (queries, numbers): the product is about the logit of one touching the other."""


def stacked(keys: Sequence[Key]) -> Features:
    """Keys as one tensor per name, with a batch dimension."""
    return {name: torch.stack([key[name] for key in keys]) for name in keys[0]}


def unstacked(features: Features) -> list[Key]:
    """The inverse of :func:`stacked`."""
    count = len(next(iter(features.values())))
    return [{name: value[i].cpu() for name, value in features.items()} for i in range(count)]


def best(relevance: Tensor, threshold: float) -> Tensor:
    """The edit that each query goes to, (queries,) long; -1 for the base.

    Args:
        relevance: (queries, edits); no column for an empty index.
    """
    if relevance.shape[1] == 0:
        return torch.full((relevance.shape[0],), -1)
    top, where = relevance.max(1)
    return torch.where(top >= threshold, where, -1).cpu()
