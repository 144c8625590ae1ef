"""Nearest vectors: against a search by hand, exact and with FAISS' lists, while vectors come, change and go."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ldke_pl.router import nearest
from ldke_pl.router.nearest import Nearest, grown

NEVER = 10**9


def drawn(count: int, seed: int = 0, width: int = 6) -> Tensor:
    vectors = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=-1)


def by_hand(known: dict[int, Tensor], asked: Tensor, matched: int = 3) -> list[int]:
    """All slots, nearest first: by the mean of the query's vectors that are nearest to each."""
    scores = {slot: float((asked @ vector).sort().values[-matched:].mean()) for slot, vector in known.items()}
    return sorted(scores, key=lambda slot: -scores[slot])


changes = st.lists(st.tuples(st.sampled_from(["put", "remove"]), st.integers(0, 30)), min_size=1, max_size=60)


@pytest.mark.parametrize("approximate_from", [NEVER, 1])
@given(changes=changes, seed=st.integers(0, 99))
def test_the_nearest_are_those_that_are_there(approximate_from: int, changes: list[tuple[str, int]], seed: int) -> None:
    found, known = Nearest(6, approximate_from), {}
    for number, (what, slot) in enumerate(changes):
        if what == "put":
            known[slot] = drawn(1, seed + number)[0]
            found.put(torch.tensor([slot]), known[slot][None])
        elif slot in known:
            del known[slot]
            found.remove(slot)
    asked = drawn(5, seed + 1000)
    slots, near = found.search(asked)
    assert slots.tolist() == by_hand(known, asked)
    assert near.tolist() == sorted(near.tolist(), reverse=True)


def test_vectors_of_zeros_ask_nothing() -> None:
    for approximate_from in (NEVER, 1):
        found = Nearest(6, approximate_from)
        assert found.search(drawn(3))[0].tolist() == []
        found.put(torch.arange(9), drawn(9))
        assert found.search(torch.zeros(3, 6))[0].tolist() == []
        assert found.search(torch.cat([torch.zeros(2, 6), drawn(9)[4:5]]))[0][0] == 4


@pytest.mark.parametrize("approximate_from", [NEVER, 1])
def test_the_nearest_of_many_are_found_up_to_a_bound(approximate_from: int) -> None:
    found = Nearest(6, approximate_from)
    others = torch.nn.functional.normalize(drawn(400, 3) - drawn(1), dim=-1)
    found.put(torch.arange(500), torch.cat([drawn(1).expand(100, 6), others]))
    slots, near = found.search(drawn(1))
    assert len(slots) == nearest.MOST and sorted(slots[:100].tolist()) == [*range(100)]
    assert near[:100].tolist() == pytest.approx([1.0] * 100)


def test_the_approximate_search_finds_eight_of_the_nearest_eight() -> None:
    things = drawn(1000, width=32)
    vectors = torch.nn.functional.normalize(things.repeat(10, 1) + 0.05 * drawn(10_000, 1, 32), dim=-1)
    asked = torch.nn.functional.normalize(things[:200] + 0.3 * drawn(200, 2, 32), dim=-1)
    exact, lists = Nearest(32, NEVER), Nearest(32, 1000)
    for one in (exact, lists):
        one.put(torch.arange(10_000), vectors)
        for slot in range(0, 10_000, 13):
            one.remove(slot)
    pairs = [(exact.search(one[None])[0][:8].tolist(), lists.search(one[None])[0][:8].tolist()) for one in asked]
    assert sum(len({*a} & {*b}) for a, b in pairs) >= 0.99 * 1600


def test_without_faiss_the_search_stays_exact(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(nearest.importlib.util, "find_spec", lambda _name: None)
    found = Nearest(6, 5)
    for slot in range(9):
        found.put(torch.tensor([slot]), drawn(9)[slot : slot + 1])
    assert found.search(drawn(9)[3:4])[0][0] == 3
    assert caplog.text.count("faiss-cpu") == 1


def test_what_has_grown_keeps_its_rows() -> None:
    values = torch.arange(6).reshape(3, 2)
    assert grown(values, 3) is values
    larger = grown(values, 100, fill=-1)
    assert len(larger) >= 100 and torch.equal(larger[:3], values) and larger[3:].unique().tolist() == [-1]
