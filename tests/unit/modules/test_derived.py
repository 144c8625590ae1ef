"""Derived pairs: what is added to a row's probes, what is left out, and that no pair is about the wrong thing."""

import pytest
from published import FORMATS, write_published

from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, read_cases
from ldke_pl.modules.derived import OTHERS, with_derived_pairs

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
