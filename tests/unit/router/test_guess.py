"""The coarse search's guess of the question stream: it learns a bilinear form, and says 0 before."""

import torch

from ldke_pl.router import Features
from ldke_pl.router.guess import EDIT, QUERY, RANK, Guess

STATES = 12


def embedded(count: int, seed: int) -> Features:
    """Some edits, or queries, as the classifier embeds them."""
    generator = torch.Generator().manual_seed(seed)
    found = {name: torch.randn(count, 3, STATES // 3, generator=generator) for name in {*EDIT, *QUERY}}
    return found | {"gate": torch.randn(count, 2, generator=generator), "seen": torch.ones(count, 1)}


def told(queries: Features, edits: Features) -> torch.Tensor:
    """What some form says of them."""
    generator = torch.Generator().manual_seed(9)
    form = torch.randn(STATES, STATES, generator=generator) / STATES
    return queries["text"].flatten(1) @ form @ edits["target"].flatten(1).T + edits["gate"][:, 0]


def test_a_form_is_learned_and_holds_for_others() -> None:
    guess = Guess(STATES, 2)
    queries, edits = embedded(300, 1), embedded(200, 2)
    assert not (guess.of_queries(queries) @ guess.of_edits(edits).T).any()
    before = torch.random.get_rng_state()
    guess.fit(queries, edits, told(queries, edits))
    assert torch.equal(before, torch.random.get_rng_state())
    assert guess.of_edits(edits).shape == (200, RANK)
    others, asked = embedded(50, 3), embedded(50, 4)
    right, found = told(asked, others), guess.of_queries(asked) @ guess.of_edits(others).T
    assert (right - found).square().mean() < 0.15 * right.var()
