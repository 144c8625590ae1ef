"""The facts of Atlas: complete, unique where they must be, and the same for the same seed."""

from collections import Counter
from dataclasses import asdict

import pytest

from ldke_pl.atlas.world import ATTRIBUTES, CHARGES, COLOURS, HOPS, PATTERNS, SPLITS, Country, World

SIZES = {"router-train": 96, "router-val": 32, "edit-eval": 128}


def families(world: World) -> list[list[Country]]:
    """Countries by family, each family in order."""
    found: dict[int, list[Country]] = {}
    for country in world.countries:
        found.setdefault(country.family, []).append(country)
    return [*found.values()]


def test_splits_are_disjoint_and_complete(world: World) -> None:
    assert [c.index for c in world.countries] == list(range(256))
    assert {split: len(world.split(split)) for split in SPLITS} == SIZES
    assert sum(SIZES.values()) == len({c.index for split in SPLITS for c in world.split(split)})


def test_family_stays_in_one_split(world: World) -> None:
    members = families(world)
    assert all(len({c.split for c in family}) == 1 for family in members)
    counts = Counter(family[0].split for family in members)
    assert counts == {split: n for split, (_, n) in SPLITS.items()}
    assert min(len(family) for family in members) >= 4


def test_names_capitals_and_leaders_are_unique(world: World) -> None:
    for values in ([c.name for c in world.countries], *([c.facts[a] for c in world.countries] for a in ATTRIBUTES[:2])):
        assert len(set(values)) == 256


def test_no_word_means_two_things(world: World) -> None:
    hop_values = [v for values in world.hops.values() for v in {*values.values()}]
    words = [c.name for c in world.countries] + [v for vs in world.values.values() for v in vs] + hop_values
    assert len(set(words)) == len(words)


def test_family_differs_from_its_first_member_in_one_feature(world: World) -> None:
    for first, *others in families(world):
        for other in others:
            a, b = first.emblem, other.emblem
            assert (a.pattern, a.field) == (b.pattern, b.field)
            assert (a.charge != b.charge) + (a.charge_colour != b.charge_colour) == 1


def test_emblems_are_unique_and_drawable(world: World) -> None:
    assert len({c.emblem for c in world.countries}) == 256
    for emblem in (c.emblem for c in world.countries):
        assert emblem.pattern in PATTERNS
        assert emblem.charge in CHARGES
        assert len({*emblem.field}) == 3
        assert emblem.charge_colour in set(COLOURS) - set(emblem.field)


def test_families_differ_in_field_or_pattern(world: World) -> None:
    fields = {(family[0].emblem.pattern, family[0].emblem.field) for family in families(world)}
    assert len(fields) == len(families(world))


def test_one_to_four_attributes_are_shown(world: World) -> None:
    assert all(c.shown <= set(ATTRIBUTES) for c in world.countries)
    assert Counter(len(c.shown) for c in world.countries) == dict.fromkeys((1, 2, 3, 4), 64)
    shown = Counter(a for c in world.countries for a in c.shown)
    assert set(shown) == set(ATTRIBUTES)


def test_every_fact_is_a_known_value_and_every_value_a_fact(world: World) -> None:
    assert all([*c.facts] == list(ATTRIBUTES) for c in world.countries)
    for attribute in ATTRIBUTES:
        used = Counter(c.facts[attribute] for c in world.countries)
        assert set(used) == set(world.values[attribute])
        assert max(used.values()) - min(used.values()) <= 1


@pytest.mark.parametrize(("attribute", "count"), [*zip(ATTRIBUTES, (24, 24, 8, 8, 8), strict=True)])
def test_every_value_has_a_second_hop(world: World, attribute: str, count: int) -> None:
    assert set(HOPS) == set(world.hops) == set(ATTRIBUTES)
    found = [world.hop(attribute, value) for value in world.values[attribute]]
    assert len(set(found)) == count
    assert world.hops[attribute].keys() == {*world.values[attribute]}


def test_same_seed_same_world(world: World) -> None:
    again = World()
    assert [asdict(c) for c in again.countries] == [asdict(c) for c in world.countries]
    assert (again.values, again.hops) == (world.values, world.hops)


def test_other_seed_other_world(world: World) -> None:
    other = World(seed=1)
    assert {c.name for c in other.countries} != {c.name for c in world.countries}
    assert {split: len(other.split(split)) for split in SPLITS} == SIZES


def test_look_alikes_are_near_and_never_the_country_itself(world: World) -> None:
    for family in families(world):
        assert world.look_alikes(family[0]) == family[1:]
        for member in family[1:]:
            found = world.look_alikes(member)
            assert family[0] in found
            assert member not in found
            assert all(c.family == member.family for c in found)


def test_countries_are_found_by_name(world: World) -> None:
    assert all(world.by_name[c.name] is c for c in world.countries)
