"""Joining edits: ids, which edit supersedes which, and keys of unequal length."""

from dataclasses import replace

import pytest
import torch

from ldke_pl.edits import Delta, Edit
from ldke_pl.edits.artefact import Artefact
from ldke_pl.upkeep.merge import merged, same_picture


def edit(name: str, picture: int | None = 0, prompt: str = "Who?", supersedes: str = "", drawn: int = 0) -> Edit:
    generator = torch.Generator().manual_seed(1000 * drawn + sum(map(ord, name)))
    delta = Delta((torch.randn(1, 3, generator=generator), torch.randn(2, 1, generator=generator)))
    image = torch.zeros(5) if picture is None else torch.nn.functional.one_hot(torch.tensor(picture), 5).float()
    key = {"seen": torch.tensor([float(picture is not None)]), "image": image, "text_tokens": torch.ones(2, 3)}
    return Edit(name, prompt, "x", ("decoder.0",), {"layer": delta}, key, supersedes=supersedes)


def joined(*sets: list[Edit]) -> dict[str, str]:
    """Edit -> the edit that it supersedes."""
    found = merged([Artefact(edits, {}, {}) for edits in sets]).edits
    return {e.edit_id: e.supersedes for e in found}


def test_the_later_of_two_edits_of_a_fact_supersedes() -> None:
    assert joined([edit("a")], [edit("b", prompt="who ?")]) == {"a": "", "b": "a"}
    assert joined([edit("a", None)], [edit("b", None)], [edit("c", None)]) == {"a": "", "b": "a", "c": "b"}


@pytest.mark.parametrize("other", [edit("b", 1), edit("b", None), edit("b", 0, "When?"), replace(edit("b"), key={})])
def test_edits_of_other_facts_stand_side_by_side(other: Edit) -> None:
    assert joined([edit("a")], [other]) == {"a": "", "b": ""}
    assert joined([other], [edit("a")]) == {"b": "", "a": ""}


def test_edits_of_one_artefact_are_left_to_it() -> None:
    assert joined([edit("a"), edit("b")]) == {"a": "", "b": ""}


def test_an_edit_is_superseded_by_one_other() -> None:
    assert joined([edit("a")], [edit("b"), edit("c")]) == {"a": "", "b": "a", "c": ""}


def test_chains_are_joined_end_to_end() -> None:
    first, second = [edit("a"), edit("b", supersedes="a")], [edit("c"), edit("d", supersedes="c")]
    assert joined(first, second) == {"a": "", "b": "a", "c": "b", "d": "c"}


def test_ids_that_are_taken_get_a_number() -> None:
    second = [edit("a", 1, drawn=1), edit("a-2", 2), edit("b", 3, supersedes="a")]
    assert joined([edit("a")], second) == {"a": "", "a-2": "", "a-2-2": "", "b": "a-2"}


def test_an_edit_of_several_is_kept_once_as_the_last_has_it() -> None:
    off = replace(edit("a"), disabled=True)
    found = merged([Artefact([edit("a")], {}, {}), Artefact([off, edit("b", supersedes="a")], {}, {})]).edits
    assert [(e.edit_id, e.supersedes, e.disabled) for e in found] == [("a", "", True), ("b", "a", False)]


def test_artefacts_that_contradict_each_other_make_no_ring() -> None:
    here = [edit("a"), edit("b", supersedes="a")]
    there = [edit("b"), edit("a", supersedes="b")]
    assert joined(here, there) == {"a": "", "b": "a"}


@pytest.mark.parametrize("first", [True, False])
def test_a_disabled_edit_neither_supersedes_nor_is_superseded(first: bool) -> None:
    pair = [edit("a"), edit("b")]
    pair[0 if first else 1] = replace(pair[0 if first else 1], disabled=True)
    assert joined([pair[0]], [pair[1]]) == {"a": "", "b": ""}


def test_keys_are_brought_to_one_length() -> None:
    longer = edit("b", 1)
    longer = replace(longer, key={**longer.key, "text_tokens": torch.ones(4, 3)})
    short, long = merged([Artefact([edit("a")], {}, {}), Artefact([longer], {}, {})]).edits
    assert short.key["text_tokens"].sum(1).tolist() == [3, 3, 0, 0]
    assert torch.equal(long.key["text_tokens"], longer.key["text_tokens"])


def test_what_was_rolled_back_is_remembered_unless_another_still_has_it() -> None:
    gone = [{"edit_id": name, "prompt": "Who?", "target": "x"} for name in ("a", "z")]
    found = merged([Artefact([], {}, {}, gone), Artefact([edit("a")], {}, {})])
    assert [e["edit_id"] for e in found.rolled_back] == ["z"]


def test_one_picture_seen_twice_is_one_picture_for_all_rounding() -> None:
    key = edit("a").key
    assert same_picture(key, {**key, "image": key["image"] + 0.005})
    assert not same_picture(key, {**key, "image": key["image"] + 0.05})
