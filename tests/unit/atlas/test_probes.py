"""Which probes an Atlas edit gets (the table of DESIGN, section 2), and that their answers follow from the world."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ldke_pl.atlas.cases import background
from ldke_pl.atlas.wording import ABOUT, QUESTIONS, hop_subject
from ldke_pl.atlas.world import ATTRIBUTES, HOPS, SEEN, SPLITS, Country, World

Row = dict[str, Any]
Rows = list[Row]

ENTITY = {
    "text_generality": 1, "image_generality": 1, "text_locality": 1, "finegrained_locality": 3, "portability_1": 5,
    "portability_2": 2, "entity_locality": 2,
}  # fmt: skip
ATTRIBUTE = ENTITY | {"finegrained_locality": 4, "portability_1": 2, "portability_2": 1}
"""Number of probes per kind beside the shared keys; a look-alike is added where there is one to ask about."""


def of_group(rows: Rows, group: str) -> Rows:
    return [row for row in rows if row["group"] == group]


def of_kind(row: Row, kind: str) -> list[Row]:
    return [probe for probe in row["probes"] if probe["kind"] == kind]


def everything(all_rows: dict[str, Rows], group: str) -> Iterator[Row]:
    for split in SPLITS:
        yield from of_group(all_rows[split], group)


def on_picture(world: World, image: str) -> tuple[Country, int]:
    """The country and the number of a rendering."""
    found = re.fullmatch(r"images/(\w+)/(?:un)?usual_(\d)\.png", image)
    assert found
    return world.by_name[found[1]], int(found[2])


def truth(world: World, country: Country, relation: str, number: int = 0) -> str:
    """What holds before any edit; ``number`` is that of the rendering."""
    emblem = country.emblem
    seen = {"charge": emblem.charge, "charge_colour": emblem.charge_colour, "pattern": emblem.pattern}
    if relation in ABOUT:
        return world.hop(ABOUT[relation], country.facts[ABOUT[relation]])
    return {"name": country.name, "background": background(country, number), **seen, **country.facts}[relation]


def has_relation(question: str, relation: str, subject: str) -> bool:
    texts = [wording.format(subject) for wording in QUESTIONS[relation]]
    return question in [text[0].upper() + text[1:] for text in texts]


@pytest.mark.parametrize(("group", "wanted"), [("entity", ENTITY), ("attribute", ATTRIBUTE)])
def test_every_edit_gets_the_probes_of_its_kind(all_rows: dict[str, Rows], group: str, wanted: dict[str, int]) -> None:
    look_alikes = Counter[int]()
    for row in everything(all_rows, group):
        counts = Counter(probe["kind"] for probe in row["probes"])
        look_alikes[counts.pop("visual_locality", 0)] += 1
        assert counts == wanted
    assert set(look_alikes) <= {0, 1}
    assert look_alikes[1] > 0.5 * look_alikes.total()


def test_entity_edit_says_what_country_a_picture_shows(world: World, all_rows: dict[str, Rows]) -> None:
    for row in everything(all_rows, "entity"):
        x, y = world.by_name[row["entity"]], world.by_name[row["alt"]]
        assert on_picture(world, row["image"])[0] is x
        assert (row["relation"], row["pred"]) == ("name", x.name)
        assert x.family != y.family
        assert x.split == y.split
        assert has_relation(row["src"], "name", "")


def test_attribute_edit_gives_another_value_of_the_kind(world: World, all_rows: dict[str, Rows]) -> None:
    for row in everything(all_rows, "attribute"):
        x, attribute = world.by_name[row["entity"]], row["relation"]
        assert on_picture(world, row["image"])[0] is x
        assert row["pred"] == x.facts[attribute] != row["alt"]
        assert row["alt"] in world.values[attribute]
        assert has_relation(row["src"], attribute, "this country")


def test_entity_probes_are_those_of_the_table(world: World, all_rows: dict[str, Rows]) -> None:
    for row in everything(all_rows, "entity"):
        y = world.by_name[row["alt"]]
        seen = of_kind(row, "finegrained_locality")
        assert {p["image"] for p in seen} == {row["image"]}
        assert len({p["relation"] for p in seen} & set(SEEN)) == 3
        first = of_kind(row, "portability_1")
        assert [p["relation"] for p in first] == list(ATTRIBUTES)
        assert [p["expected"] for p in first] == [y.facts[a] for a in ATTRIBUTES]
        assert [p["image"] == row["image"] for p in first] == [False, True, False, True, False]
        second = of_kind(row, "portability_2")
        assert [p["expected"] for p in second] == [truth(world, y, p["relation"]) for p in second]
        assert {p["image"] for p in second} == {row["image"]}
        about = of_kind(row, "entity_locality")
        assert [p["entity"] for p in about] == [row["entity"], y.name]
        assert {p["image"] for p in about} == {None}


def test_attribute_probes_are_those_of_the_table(world: World, all_rows: dict[str, Rows]) -> None:
    for row in everything(all_rows, "attribute"):
        attribute, value = row["relation"], row["alt"]
        others = set(ATTRIBUTES) - {attribute}
        seen = of_kind(row, "finegrained_locality")
        assert {p["image"] for p in seen} == {row["image"]}
        name, *attributes, last = [p["relation"] for p in seen]
        assert name == "name"
        assert len({*attributes} & others) == 2
        assert last in SEEN
        first = of_kind(row, "portability_1")
        assert {(p["image"], p["relation"], p["expected"]) for p in first} == {(None, attribute, value)}
        assert all(has_relation(p["prompt"], attribute, row["entity"]) for p in first)
        (second,) = of_kind(row, "portability_2")
        assert (second["relation"], second["image"]) == (HOPS[attribute], row["image"])
        assert second["expected"] == world.hop(attribute, value)
        about = of_kind(row, "entity_locality")
        assert {p["relation"] for p in about} == others - {*attributes}
        assert {(p["image"], p["entity"]) for p in about} == {(None, row["entity"])}


@pytest.mark.parametrize("split", SPLITS)
def test_locality_answers_are_what_holds_before_the_edit(world: World, all_rows: dict[str, Rows], split: str) -> None:
    for row in all_rows[split]:
        assert row["loc_ans"] == truth(world, world.by_name[row["entities"]["loc"]], row["relations"]["loc"])
        assert row["m_loc_a"] == truth(world, world.by_name[row["entities"]["m_loc"]], row["relations"]["m_loc"])
        assert on_picture(world, row["m_loc"])[0].name == row["entities"]["m_loc"]
        for probe in (p for p in row["probes"] if p["kind"].endswith("_locality")):
            country = world.by_name[probe["entity"]]
            number = 0
            if probe["image"] is not None:
                shown, number = on_picture(world, probe["image"])
                assert shown is country
            assert probe["expected"] == truth(world, country, probe["relation"], number)


@pytest.mark.parametrize("split", SPLITS)
def test_locality_keeps_to_other_facts(all_rows: dict[str, Rows], split: str) -> None:
    for row in all_rows[split]:
        for probe in (p for p in row["probes"] if p["kind"].endswith("_locality")):
            assert (probe["entity"], probe["relation"]) != (row["entity"], row["relation"])


@pytest.mark.parametrize("split", SPLITS)
def test_questions_are_about_what_they_say(world: World, all_rows: dict[str, Rows], split: str) -> None:
    for row in all_rows[split]:
        assert has_relation(row["rephrase"], row["relation"], "this country")
        assert has_relation(row["loc"], row["relations"]["loc"], row["entities"]["loc"])
        assert has_relation(row["m_loc_q"], row["relations"]["m_loc"], "this country")
        for probe in row["probes"]:
            relation, country = probe["relation"], world.by_name[probe["entity"]]
            subject = "this country" if probe["image"] else country.name
            if relation in ABOUT:
                subject = hop_subject(relation) if probe["image"] else country.facts[ABOUT[relation]]
            assert has_relation(probe["prompt"], relation, subject), probe


@pytest.mark.parametrize("split", SPLITS)
def test_look_alikes_are_asked_the_edits_question(world: World, all_rows: dict[str, Rows], split: str) -> None:
    for row in all_rows[split]:
        for probe in of_kind(row, "visual_locality"):
            near = world.look_alikes(world.by_name[row["entity"]])
            assert world.by_name[probe["entity"]] in near
            assert probe["relation"] == row["relation"]


@pytest.mark.parametrize("split", SPLITS)
def test_ceilings_ask_where_the_answer_already_holds(world: World, all_rows: dict[str, Rows], split: str) -> None:
    for row in all_rows[split]:
        for probe in (p for p in row["probes"] if p["kind"].startswith("portability")):
            ceiling = probe["ceiling"]
            if ceiling["image"] is not None:
                country = on_picture(world, ceiling["image"])[0]
                assert ceiling["prompt"] == probe["prompt"]
            else:
                (country,) = [c for c in world.countries if c.name in ceiling["prompt"]]
                assert ceiling["prompt"] == probe["prompt"].replace(row["entity"], country.name)
            assert truth(world, country, probe["relation"]) == probe["expected"]
            assert country.name != row["entity"]
