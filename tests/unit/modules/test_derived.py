"""Derived pairs and edits: what is added, what is left out, and that no pair is about the wrong thing."""

import pytest
from published import FORMATS, write_published

from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, read_cases
from ldke_pl.modules.derived import AGAIN, OTHERS, TOLD, with_derived_pairs, with_second_hop_edits

K = ProbeKind


def case(number: int, *, prompt: str = "") -> EditCase:
    asked = prompt or f"question {number}?"
    probes = (
        Probe(K.RELIABILITY, f"{number}.png", asked, "new"),
        Probe(K.TEXT_GENERALITY, f"{number}.png", f"rephrased {number}?", "new"),
        Probe(K.IMAGE_GENERALITY, f"{number}-b.png", asked, "new"),
        Probe(K.TEXT_LOCALITY, None, f"far {number}?"),
        Probe(K.PORTABILITY_1, f"{number}.png", f"related {number}?", "x"),
    )
    return EditCase(f"c{number}", EditRequest(f"{number}.png", asked, "new"), probes, entity=f"e{number}")


def test_rephrasings_are_multiplied_and_portability_left_out() -> None:
    (found, *_) = with_derived_pairs([case(0), case(1)])
    products = [p for p in found.probes if (p.image, p.prompt) == ("0-b.png", "rephrased 0?")]
    assert [(p.kind, p.expected, p.entity) for p in products] == [(K.IMAGE_GENERALITY, "new", "e0")]
    assert not any(p.kind.is_portability for p in found.probes)


def test_other_rows_questions_and_pictures_are_irrelevant() -> None:
    cases = [case(i) for i in range(5)]
    for made, source in zip(with_derived_pairs(cases), cases, strict=True):
        here = [p for p in made.probes if p.kind is K.FINEGRAINED_LOCALITY]
        there = [p for p in made.probes if p.kind is K.VISUAL_LOCALITY]
        assert len(here) == len(there) == OTHERS
        assert all(p.image == source.request.image and p.prompt != source.request.prompt for p in here)
        assert all(p.entity == source.entity for p in here)
        assert all(p.prompt == source.request.prompt and p.image != source.request.image for p in there)
        assert all(p.entity != source.entity for p in there)


def test_rows_that_ask_the_same_are_no_other_question() -> None:
    made = with_derived_pairs([case(i, prompt="Who is this?") for i in range(3)])
    assert not any(p.kind is K.FINEGRAINED_LOCALITY for c in made for p in c.probes)


def test_the_draw_depends_on_the_seed_alone() -> None:
    cases = [case(i) for i in range(12)]
    assert with_derived_pairs(cases, 3) == with_derived_pairs(cases, 3) != with_derived_pairs(cases, 4)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_pairs_of_both_kinds(format: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path, root = write_published(format, tmp_path_factory.mktemp(format))
    made = with_derived_pairs(read_cases(format, path, root))
    kinds = {p.kind for c in made for p in c.probes}
    assert K.RELIABILITY in kinds
    assert any(kind.is_locality for kind in kinds)
    assert not any(kind.is_portability for kind in kinds)


def hopping(entity: str, relation: str, hop: str) -> EditCase:
    shown, asked = f"{entity}-{relation}.png", f"What is its {relation}?"
    probes = (
        Probe(K.RELIABILITY, shown, asked, f"new {relation}", entity, relation),
        Probe(K.FINEGRAINED_LOCALITY, shown, "Which colour is it?", "red", entity, "colour"),
        Probe(K.ENTITY_LOCALITY, None, f"Which colour is {entity}?", "red", entity, "colour"),
        *(
            Probe(K.PORTABILITY_2, shown, f"Which {hop} has its {relation}, {i}?", f"{hop} of {entity}", entity, hop)
            for i in range(AGAIN + 3)
        ),
    )
    return EditCase(f"{entity}-edit", EditRequest(shown, asked, f"new {relation}"), probes, "", entity, relation)


HOPPING = [hopping("A", "leader", "birthplace"), hopping("A", "capital", "river"), hopping("B", "leader", "birthplace")]


def test_second_hops_become_edits_of_their_own() -> None:
    made = with_second_hop_edits(HOPPING)
    assert made[: len(HOPPING)] == HOPPING
    added = made[len(HOPPING) :]
    # A's river is the only one that is asked for: there is no other answer to give it.
    assert [(c.entity, c.relation, c.request.target) for c in added] == [
        ("A", "birthplace", "birthplace of B"),
        ("B", "birthplace", "birthplace of A"),
    ]
    assert not any(c.joint for c in added)


def test_only_its_own_question_belongs_to_a_second_hop() -> None:
    asked = {(p.image, p.prompt) for c in HOPPING for p in c.probes}
    for case in with_second_hop_edits(HOPPING)[len(HOPPING) :]:
        own = [p for p in case.probes if not p.kind.is_locality]
        others = [p for p in case.probes if p.kind.is_locality]
        assert (own[0].image, own[0].prompt) == (case.request.image, case.request.prompt)
        assert len(own) == 1 + AGAIN
        assert {p.relation for p in own} == {"birthplace"}
        assert {"leader", "colour"} <= {p.relation for p in others}
        assert "birthplace" not in {p.relation for p in others}
        assert {p.entity for p in case.probes} == {case.entity}
        assert 0 < sum(p.image is None for p in others) <= TOLD
        assert {(p.image, p.prompt) for p in case.probes} <= asked


def test_a_set_without_second_hops_gets_no_edits() -> None:
    cases = [case(i) for i in range(3)]
    assert with_second_hop_edits(cases) == cases
    assert with_second_hop_edits(HOPPING, 1) == with_second_hop_edits(HOPPING, 1) != with_second_hop_edits(HOPPING, 2)
