"""Atlas: the optional keys, and the shared ones that may be absent."""

from collections.abc import Callable
from pathlib import Path

from ldke_pl.data import Probe, ProbeKind, Question, parse_cases, read_cases

FixtureFile = Callable[[str], Path]


def test_optional_keys_fill_the_case(fixture_file: FixtureFile) -> None:
    case = read_cases("atlas", fixture_file("atlas.json"), None)[0]
    assert (case.group, case.entity, case.relation, case.old_answer) == ("entity", "velmora", "name", "velmora")
    assert case.case_id == "atlas-atlas-000000"


def test_shared_probes_take_their_relations(fixture_file: FixtureFile) -> None:
    case = read_cases("atlas", fixture_file("atlas.json"), None)[0]
    assert [(probe.kind.value, probe.relation) for probe in case.probes[:6]] == [
        ("reliability", "name"),
        ("text_generality", "name"),
        ("image_generality", "name"),
        ("text_locality", "currency"),
        ("image_locality", "name"),
        ("portability_1", "capital"),
    ]


def test_own_probes_follow_the_shared_ones(fixture_file: FixtureFile) -> None:
    case = read_cases("atlas", fixture_file("atlas.json"), None)[0]
    river = "Which river flows through the capital of this country?"
    capital = "What is the capital of tarnia?"
    image = Path("emblems/velmora_0.png")
    assert case.probes[6:] == (
        Probe(
            ProbeKind.PORTABILITY_2, image, river, "wend", "velmora", "river",
            Question(Path("emblems/tarnia_0.png"), river),
        ),
        Probe(ProbeKind.FINEGRAINED_LOCALITY, image, "What shape is on the emblem?", None, relation="shape"),
        Probe(ProbeKind.PORTABILITY_1, None, capital, "quill", ceiling=Question(None, capital)),
    )  # fmt: skip


def test_shared_probes_are_about_the_edits_entity_except_for_locality(fixture_file: FixtureFile) -> None:
    case = read_cases("atlas", fixture_file("atlas.json"), None)[0]
    assert [(probe.kind.value, probe.entity) for probe in case.probes[:6]] == [
        ("reliability", "velmora"),
        ("text_generality", "velmora"),
        ("image_generality", "velmora"),
        ("text_locality", "ostrel"),
        ("image_locality", ""),
        ("portability_1", "velmora"),
    ]


def test_a_case_says_whether_it_belongs_to_the_joint_set(fixture_file: FixtureFile) -> None:
    cases = read_cases("atlas", fixture_file("atlas.json"), None)
    assert [case.joint for case in cases] == [False, True, True]
    assert cases[0].request.group == cases[0].group == "entity"


def test_a_kind_without_its_keys_is_absent(fixture_file: FixtureFile) -> None:
    _, text_only, picture_only = read_cases("atlas", fixture_file("atlas.json"), None)
    assert [probe.kind.value for probe in text_only.probes] == ["reliability", "text_generality", "text_locality"]
    assert text_only.probes[-1].expected is None
    assert [probe.kind.value for probe in picture_only.probes] == ["reliability", "text_generality", "image_locality"]
    assert [probe.relation for probe in picture_only.probes] == ["", "", "name"]


def test_a_case_without_an_entity_is_its_own(fixture_file: FixtureFile) -> None:
    cases = read_cases("atlas", fixture_file("atlas.json"), None)
    assert cases[1].entity == cases[1].case_id == "atlas-atlas-000001"
    assert cases[1].group == ""


BROKEN = {
    (0, "loc"): "is missing",
    (0, "m_loc"): "is missing",
    (0, "relations.mloc"): 'is not a known key. Did you mean "m_loc"?',
    (0, "joint"): "is a text, not true or false",
    (0, "port_new"): "is an object, not a list",
    (0, "probes[0].kind"): 'Did you mean "portability_2"?',
    (0, "probes[1].expected"): "portability_1 is scored against it",
    (0, "probes[2].image"): "is missing",
    (0, "probes[2].expected"): "is missing",
    (0, "probes[3].prompt"): "is empty",
    (0, "probes[3].ceiling.image"): "is missing",
    (1, "rephrase"): "is missing",
    (1, "pred"): "is missing",
    (1, "relations"): "is a text, not an object",
}


def test_every_fault_is_found(fixture_file: FixtureFile) -> None:
    parsed = parse_cases("atlas", fixture_file("atlas_broken.json"))
    assert parsed.cases == []
    found = {(problem.row, problem.key): problem.reason for problem in parsed.problems}
    assert found.keys() == BROKEN.keys()
    for where, reason in BROKEN.items():
        assert reason in found[where]
