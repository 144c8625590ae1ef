"""The index of keys: whatever was added, hidden and taken away, a query goes where comparing all keys would send it."""

from types import SimpleNamespace
from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ldke_pl.router import Features, Key, KeyIndex, Router
from ldke_pl.router import index as module
from ldke_pl.router.index import COMPARED

WIDTH = 12


class Cosine:
    """Relevance is the cosine of a query's best vector with a key's.

    Args:
        coarse: whether there is a coarse search.
    """

    threshold = 0.5
    reader = SimpleNamespace(backbone=SimpleNamespace(device=torch.device("cpu")))

    def __init__(self, *, coarse: bool = True) -> None:
        self.coarse = coarse
        self.compared: list[int] = []

    def asked(self, queries: Features) -> Features:
        return queries

    def compare(self, asked: Features, keys: Features) -> Tensor:
        vector = keys["vector"]
        self.compared.append(vector.shape[-2])
        own = vector if vector.ndim == 3 else vector.expand(len(asked["vectors"]), *vector.shape)
        return torch.einsum("qtd,qkd->qkt", asked["vectors"], own).amax(-1)

    def key_views(self, keys: Features) -> Features:
        return {"all": keys["vector"]} if self.coarse else {}

    def query_views(self, asked: Features) -> Features:
        return {"all": asked["vectors"]}

    def key_guesses(self, keys: Features) -> Tensor:
        return keys["number"][:, None]

    def query_guesses(self, asked: Features) -> Tensor:
        return torch.zeros(len(asked["seen"]), 1)


def key(number: int) -> Key:
    vector = torch.randn(WIDTH, generator=torch.Generator().manual_seed(number))
    return {"vector": torch.nn.functional.normalize(vector, dim=-1), "number": torch.tensor(float(number))}


def made(router: Cosine) -> KeyIndex:
    return KeyIndex(cast(Router, router))


def asked(numbers: list[int]) -> Features:
    """Questions that are as the keys of these numbers are."""
    return {"vectors": torch.stack([key(n)["vector"] for n in numbers])[:, None], "seen": torch.zeros(len(numbers), 1)}


changes = st.lists(
    st.tuples(st.sampled_from(["add", "add", "hide", "show", "remove"]), st.integers(0, 25)), min_size=1, max_size=80
)


@pytest.mark.parametrize("coarse", [True, False])
@given(changes=changes)
def test_every_key_in_force_and_no_other_is_found(coarse: bool, changes: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ALL", 4)
        index, state = made(Cosine(coarse=coarse)), {}
        for what, number in changes:
            name = str(number)
            if what == "add" and name not in index:
                index.add([name], [key(number)])
                state[name] = True
            elif what in ("hide", "show") and name in index:
                getattr(index, what)(name)
                state[name] = what == "show"
            elif what == "remove" and name in index:
                index.remove(name)
                del state[name]
        in_force = sorted(name for name, shown in state.items() if shown)
        assert sorted(index.names()) == in_force and len(index) == len(in_force)
        for name in state:
            assert torch.equal(index.key(name)["vector"], key(int(name))["vector"])
        names, top = index.best(asked(list(range(26))))
        right = [n for n, (name, value) in enumerate(zip(names, top, strict=True)) if name == str(n) and value > 0.999]
        assert sorted(str(n) for n in right) == in_force


def test_the_pair_head_sees_few_of_many() -> None:
    router = Cosine()
    index = made(router)
    index.add([str(n) for n in range(500)], [key(n) for n in range(500)])
    names, _ = index.best(asked([7, 400]))
    assert names == ["7", "400"]
    assert router.compared == [COMPARED]
    comparing_all = Cosine(coarse=False)
    other = made(comparing_all)
    other.add([str(n) for n in range(500)], [key(n) for n in range(500)])
    assert other.best(asked([7, 400]))[0] == names
    assert comparing_all.compared == [500]


@pytest.mark.parametrize("count", [20, 300])
def test_the_most_relevant_keys_are_ranked(count: int) -> None:
    index, queries = made(Cosine()), asked([7, 12])
    index.add([str(n) for n in range(count)], [key(n) for n in range(count)])
    index.hide("3")
    vectors = torch.stack([key(n)["vector"] for n in range(count) if n != 3])
    names = [str(n) for n in range(count) if n != 3]
    for query, found in enumerate(index.ranked(queries, 4)):
        top, where = (vectors @ queries["vectors"][query, 0]).topk(4)
        assert list(found) == [names[i] for i in where]
        assert list(found.values()) == pytest.approx(top.tolist())
    assert [next(iter(found)) for found in index.ranked(queries, 1)] == index.best(queries)[0]


def test_of_many_edits_of_one_thing_those_with_a_touching_question_are_compared() -> None:
    class OfNumber(Cosine):
        """A question touches the edits of its number alone, and the guess says so."""

        def key_guesses(self, keys: Features) -> Tensor:
            return torch.nn.functional.one_hot(keys["number"].long(), 200) * 8.0 - 4

        def query_guesses(self, asked: Features) -> Tensor:
            return torch.nn.functional.one_hot(asked["number"].long(), 200).float()

        def compare(self, asked: Features, keys: Features) -> Tensor:
            return super().compare(asked, keys) * (keys["number"] == asked["number"][:, None])

    router = OfNumber()
    index = made(router)
    index.add([str(n) for n in range(200)], [key(0) | {"number": torch.tensor(float(n))} for n in range(200)])
    question = asked([0, 0]) | {"number": torch.tensor([170.0, 3.0])}
    names, top = index.best(question)
    assert names == ["170", "3"] and top.tolist() == pytest.approx([1, 1])
    assert router.compared == [COMPARED]
    index.remove("170")
    index.add(["again"], [key(0) | {"number": torch.tensor(170.0)}])
    assert index.best(question)[0] == ["again", "3"]


def test_a_key_that_is_found_twice_is_ranked_once() -> None:
    class Twice(Cosine):
        def key_views(self, keys: Features) -> Features:
            return {"one": keys["vector"], "other": keys["vector"]}

        def query_views(self, asked: Features) -> Features:
            return {"one": asked["vectors"], "other": asked["vectors"]}

    index = made(Twice())
    index.add([str(n) for n in range(100)], [key(n) for n in range(100)])
    (found,) = index.ranked(asked([7]), 100)
    assert len(found) >= COMPARED and list(found.values()) == sorted(found.values(), reverse=True)


def test_few_keys_are_ranked_whole_and_none_are_none() -> None:
    index = made(Cosine())
    assert index.ranked(asked([1, 2]), 3) == [{}, {}]
    index.add(["1"], [key(1)])
    assert [list(found) for found in index.ranked(asked([1, 2]), 3)] == [["1"], ["1"]]


def test_keys_without_a_view_are_no_candidates_and_take_no_place() -> None:
    index = made(Cosine())
    blank = {"vector": torch.zeros(WIDTH), "number": torch.tensor(0.0)}
    index.add([f"blank {n}" for n in range(100)], [blank] * 100)
    index.add([str(n) for n in range(100)], [key(n) for n in range(100)])
    assert index.best(asked([3, 99]))[0] == ["3", "99"]


def test_tokens_take_as_much_room_as_the_longest_key_needs() -> None:
    index = made(Cosine())
    for number, tokens in enumerate((0, 3, 2, 5)):
        words = torch.zeros(9, WIDTH)
        words[:tokens] = key(number)["vector"]
        index.add([str(number)], [{**key(number), "text_tokens": words}])
        kept = [int((index.key(str(n))["text_tokens"].abs().sum(-1) > 0).sum()) for n in range(number + 1)]
        assert kept == [0, 3, 2, 5][: number + 1]
        assert len(index.key("0")["text_tokens"]) == [1, 3, 3, 5][number]


def test_an_empty_index_sends_nothing_anywhere() -> None:
    index = made(Cosine())
    names, top = index.best(asked([1, 2]))
    assert names == ["", ""] and top.tolist() == [0, 0]
    index.add([], [])
    assert len(index) == 0
    index.add(["1"], [key(1)])
    nothing = {name: values[:0] for name, values in asked([1]).items()}
    assert (index.best(nothing)[0], index.ranked(nothing, 2)) == ([], [])


def test_the_random_state_is_left_alone() -> None:
    index, before = made(Cosine()), torch.random.get_rng_state()
    index.add([str(n) for n in range(100)], [key(n) for n in range(100)])
    assert torch.equal(torch.random.get_rng_state(), before)
