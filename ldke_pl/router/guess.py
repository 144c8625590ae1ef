"""A quick guess at whether an edit's question touches a query's: the product of two short vectors. Ours.

The pair head is too dear to be asked about every edit of a thing that has many. The guess stands in for its question
stream where the coarse search chooses what the head compares: a bilinear form of the pooled states, fitted to the
stream's own logits by least squares, of low rank so that a key's half of it is a few numbers.
"""

import torch
from torch import Tensor, nn

from ldke_pl.router.directions import principal_directions
from ldke_pl.router.features import Features

EDIT, QUERY = ("text", "target", "last"), ("text", "last")
"""Pooled states that the guess is made of, besides what the gates see and whether there is a picture."""

RANK = 16
"""Numbers of a key's half."""

KEPT = 32
"""Directions of the pooled states of either side."""

BOUND = 6.0
"""Logits count as no farther from 0: beyond, either is certain."""

RIDGE = 1e-3
"""Weight of the form's size, in units of the inputs' mean square."""


class Guess(nn.Module):
    """The two halves of the form; zeros, a guess of 0, before it is fitted.

    Args:
        features: numbers per pooled state of an embedded edit or query.
        gate: numbers that the pair head's gates see.
    """

    edit: Tensor
    query: Tensor

    def __init__(self, features: int, gate: int) -> None:
        super().__init__()
        self.rest = gate + 2
        for name, states in (("edit", EDIT), ("query", QUERY)):
            self.register_buffer(name, torch.zeros(len(states) * features + self.rest, RANK))

    def of_edits(self, keys: Features) -> Tensor:
        """An edit's half, (edits, RANK), from its embedded features."""
        return _inputs(keys, EDIT).to(self.edit.device) @ self.edit

    def of_queries(self, asked: Features) -> Tensor:
        """A query's half, (queries, RANK); its product with an edit's is the guessed logit."""
        return _inputs(asked, QUERY) @ self.query

    @torch.no_grad()
    def fit(self, queries: Features, edits: Features, logits: Tensor) -> None:
        """Fit to what the question stream says of queries and edits, both embedded.

        Args:
            logits: (queries, edits).
        """
        known, asked = _inputs(edits, EDIT), _inputs(queries, QUERY)
        onto_known, onto_asked = _reduced(known, self.rest), _reduced(asked, self.rest)
        short, wanted = known @ onto_known, logits.clamp(-BOUND, BOUND)
        size = onto_asked.shape[1] * short.shape[1]
        square, moment = known.new_zeros(size, size), known.new_zeros(size)
        for part, told in zip(torch.split(asked @ onto_asked, 64), torch.split(wanted, 64), strict=True):
            products = torch.einsum("qa,eb->qeab", part, short).flatten(0, 1).flatten(1)
            square += products.T @ products
            moment += products.T @ told.flatten()
        square += RIDGE * square.diagonal().mean() * torch.eye(size, device=square.device)
        form = torch.linalg.solve(square, moment).reshape(onto_asked.shape[1], -1)
        left, values, right = torch.linalg.svd(form)
        scale = values[:RANK].sqrt()
        self.query.copy_(onto_asked @ (left[:, :RANK] * scale))
        self.edit.copy_(onto_known @ (right[:RANK].T * scale))


def _inputs(features: Features, states: tuple[str, ...]) -> Tensor:
    """Pooled states, what the gates see, whether there is a picture, and a one, (n, inputs)."""
    parts = [features[name].flatten(1).float() for name in (*states, "gate", "seen")]
    return torch.cat([*parts, torch.ones_like(parts[-1])], 1)


def _reduced(inputs: Tensor, rest: int) -> Tensor:
    """A map of inputs to fewer, (inputs, fewer): directions of the states about their mean, and ``rest`` as they are.

    The last input is one, so that the mean is taken away by its row.
    """
    states = inputs[:, :-rest]
    directions = principal_directions(states - states.mean(0), KEPT)
    found = inputs.new_zeros(inputs.shape[1], directions.shape[1] + rest)
    found[:-rest, :-rest], found[-1, :-rest] = directions, -states.mean(0) @ directions
    found[-rest:, -rest:] = torch.eye(rest, device=inputs.device)
    return found
