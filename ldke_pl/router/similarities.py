"""How queries and edits are compared: pooled states by partial cosines, others token by token. Ours."""

import torch
from torch import Tensor

from ldke_pl.router.features import Features

GROUPS = 4
"""The similarity of two pooled states is given to the head as this many partial cosines per layer."""

POOLED = {
    "thing": (("image", "image"), ("text", "image")),
    "question": (("text", "text"), ("last", "last"), ("text", "target")),
}
"""Stream -> which pooled states of a query are compared with which of an edit."""

LATE = {
    "thing": (
        ("image_tokens", "image_tokens"),
        ("text_tokens", "image_tokens"),
        ("image_tokens", "text_tokens"),
        ("text_tokens", "name_tokens"),
        ("word_tokens", "spelling_tokens"),
    ),
    "question": (("text_tokens", "text_tokens"), ("text_tokens", "target_tokens")),
}
"""Stream -> which states of a query are compared with which of an edit token by token."""

DEPICTED = (("text", "image"), ("text_tokens", "image_tokens"))
"""Comparisons of words with what an edit's picture shows."""

NAMED = 4
"""How many numbers tell the question stream how a query in words matches an edit's question asked in words."""

COHORT = ("image_tokens", "name_tokens", "spelling_tokens")
"""States of an edit that a query's match with is also given less its level among those of a cohort."""

LEVELLED = tuple((query, edit) for query, edit in LATE["thing"] if edit in COHORT)

_MARK = " there"
"""After the name of tokens: which of them are there."""

NEAREST = 5
"""How many of the cohort, those most like the query, its level is the mean of; where there are fewer, with zeros."""


def similarities(stream: str, queries: Features, edits: Features) -> Tensor:
    """All that one stream compares, (queries, edits, similarities).

    Words are compared with an edit's picture only if the model did not name it, and otherwise that match is 0: how well
    a name matches another tells exactly what how well it matches a picture tells roughly.

    Args:
        edits: with :func:`marked` marks or without.
    """
    nameless = ~there(edits, "name_tokens").any(-1)[..., None]
    unseen = not nameless.any()
    similar = []
    for q, e in POOLED[stream]:
        cosines = _partial_cosines(queries[q], edits[e])
        similar.append(cosines * nameless if (q, e) in DEPICTED else cosines)
    for q, e in LATE[stream]:
        if (q, e) in DEPICTED and unseen:
            numbers = 4 if (q, e) in LEVELLED else 2
            similar.append(similar[0].new_zeros(*similar[0].shape[:2], numbers))
            continue
        match = late_interaction(queries[q], edits[e], there(edits, e))
        if (q, e) in LEVELLED:
            match = torch.cat([match, match - queries[level(q, e)].unsqueeze(1)], -1)
        similar.append(match * nameless if (q, e) in DEPICTED else match)
    return torch.cat(similar, -1)


def level(query: str, edit: str) -> str:
    """The name under which a query keeps its level of one match."""
    return f"{query} of {edit}"


def named(queries: Features, edits: Features) -> Tensor:
    """How queries match edits' questions asked in words, both ways, (queries, edits, NAMED). Ours.

    Both are then text about a thing that is named, and "this country" in the edit's question is bound to the name. How
    well the query's tokens are matched tells words too many from words that are missing. 0 for queries with a picture.
    """
    asked, known = queries["text_tokens"], edits["named_tokens"]
    if queries["seen"].all():
        return asked.new_zeros(len(asked), known.shape[-3], NAMED)
    matches = _token_cosines(asked, known)
    forth = _matched(matches.amax(-1), there(edits, "named_tokens"))
    back = _matched(matches.amax(-2), is_there(asked)[:, None])
    return torch.cat([forth, back], -1) * (1 - queries["seen"]).unsqueeze(1)


def both(first: Tensor, second: Tensor) -> Tensor:
    """The logit of two independent events happening together, from the logit of each."""
    return -torch.logsumexp(torch.stack([-first, -second, -first - second]), 0)


def late_interaction(asked: Tensor, known: Tensor, kept: Tensor | None = None) -> Tensor:
    """How well the known tokens are matched by the asked: on average, and the one that is matched worst.

    The average is MaxSim of ColBERT (Khattab and Zaharia, 2020); the worst tells questions apart that share all words
    but the one that matters. Both are 0 where either side has no token.

    Args:
        asked: (queries, tokens, width), unit vectors or zeros.
        known: (edits, tokens, width), or (queries, edits, tokens, width), the same.
        kept: which of the known are not zeros, (..., tokens), if that was found before.

    Returns:
        (queries, edits, 2).
    """
    return _matched(_token_cosines(asked, known).amax(-1), is_there(known) if kept is None else kept)


def _partial_cosines(asked: Tensor, known: Tensor) -> Tensor:
    """(queries, edits, groups), of pooled states in groups."""
    if known.ndim > 3:
        return (asked[:, None] * known).sum(-1)  # of few edits each; a product of matrices begins too slowly
    return torch.einsum("qgd,egd->qeg", asked, known)


def _token_cosines(asked: Tensor, known: Tensor) -> Tensor:
    """(queries, edits, known tokens, asked tokens)."""
    return torch.einsum("qtd,qepd->qept" if known.ndim > 3 else "qtd,epd->qept", asked, known)


def _matched(best: Tensor, there: Tensor) -> Tensor:
    """Mean and worst of each token's best match, (..., tokens), over the tokens that are there."""
    # A token that is not there has cosine 0 with everything; what is less alike than that counts as much.
    best, count = best.clamp_min(0), there.sum(-1)
    mean = best.sum(-1) / count.clamp_min(1)
    worst = torch.where(there, best, 1).amin(-1) * (count > 0)
    return torch.stack([mean, worst], -1)


def is_there(tokens: Tensor) -> Tensor:
    """Which of some vectors, (..., width), are not all zeros."""
    lengths: Tensor = torch.linalg.vector_norm(tokens, dim=-1)
    return lengths > 0


def marked(edits: Features) -> Features:
    """Edits with marks of which of their tokens are there: looked up, where each would be summed several times."""
    unmarked = [name for name in edits if name.endswith("_tokens") and name + _MARK not in edits]
    return edits | {name + _MARK: is_there(edits[name]) for name in unmarked}


def mark(name: str, lengths: Tensor, most: int) -> Features:
    """The mark of tokens, of which at most ``most``, from how many of them are there, (...)."""
    return {name + _MARK: torch.arange(most, device=lengths.device) < lengths[..., None]}


def there(edits: Features, name: str) -> Tensor:
    """Which of the edits' tokens of that name are not all zeros."""
    found = edits.get(name + _MARK)
    return is_there(edits[name]) if found is None else found


def spread(values: Tensor, shape: torch.Size) -> Tensor:
    """Values of queries, or of edits, for every pair of them."""
    return values.expand(*shape, -1)
