"""The facts of Atlas: 256 countries, their emblems, five attributes and a second hop behind each. Ours.

Everything is drawn from one seed. Countries come in families of look-alikes: members of a family share pattern and
field colours, and differ from its first member in exactly one of charge and charge colour.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

ATTRIBUTES = ("capital", "leader", "currency", "language", "continent")
"""What can be asked about a country, and edited."""

HOPS = {"capital": "river", "leader": "birthplace", "currency": "metal", "language": "script", "continent": "ocean"}
"""The second hop behind each attribute: a fact about the attribute's value."""

SEEN = ("charge", "charge_colour", "pattern", "background")
"""What can only be seen on a picture."""

PATTERNS = ("horizontal", "vertical", "diagonal", "quartered")
CHARGES = ("disc", "square", "triangle", "cross", "star", "ring", "diamond")
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "orange", "purple")
BACKGROUNDS = ("grey", "pink", "brown", "teal", "beige", "navy")

SPLITS = {"router-train": (96, 24), "router-val": (32, 8), "edit-eval": (128, 28)}
"""Split name -> (countries, look-alike families). Splits are disjoint."""

SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
"""What the names of the world are made of."""


@dataclass(frozen=True)
class Emblem:
    """What is drawn: a field of three colours in a pattern, and one charge in a colour that the field lacks."""

    pattern: str
    field: tuple[str, str, str]
    charge: str
    charge_colour: str


@dataclass(frozen=True)
class Country:
    """One country.

    Args:
        index: position in the world.
        name: unique, several tokens long.
        split: the split it belongs to.
        family: number of its look-alike family, unique over splits.
        emblem: what its pictures show.
        facts: attribute -> value.
        shown: the attributes that the MLLM's training asks about on this country's pictures; the others are
            known from text alone, so that a right answer on a picture must be composed.
    """

    index: int
    name: str
    split: str
    family: int
    emblem: Emblem
    facts: dict[str, str]
    shown: frozenset[str]


class World:
    """All countries and the second hops of every attribute value.

    Args:
        seed: the one source of randomness.
    """

    def __init__(self, seed: int = 0) -> None:
        rng = random.Random(seed)
        total = sum(n for n, _ in SPLITS.values())
        words = _Words(rng)
        self.values = {
            "capital": words.draw(total, 2, "ton"),
            "leader": words.draw(total, 2, "ovic"),
            "currency": words.draw(24, 2, "mark"),
            "language": words.draw(24, 2, "ish"),
            "continent": words.draw(8, 2, "ia"),
        }
        hop_values = {a: words.draw(n, 2, s) for a, n, s in _HOP_SIZES}
        self.hops: dict[str, dict[str, str]] = {
            a: {v: hop_values[a][i % len(hop_values[a])] for i, v in enumerate(_shuffled(values, rng))}
            for a, values in self.values.items()
        }
        self.countries = _countries(rng, words.draw(total, 3, ""), self.values)

    def split(self, name: str) -> list[Country]:
        """The countries of one split, in order."""
        return [c for c in self.countries if c.split == name]

    def look_alikes(self, country: Country) -> list[Country]:
        """The other members of the country's family that differ from it in exactly one feature, or all others."""
        others = [c for c in self.countries if c.family == country.family and c is not country]
        near = [c for c in others if _differences(c.emblem, country.emblem) == 1]
        return near or others

    def hop(self, attribute: str, value: str) -> str:
        """The second hop behind ``value``: the river of a capital, the birthplace of a leader, ..."""
        return self.hops[attribute][value]

    @cached_property
    def by_name(self) -> dict[str, Country]:
        return {c.name: c for c in self.countries}


_HOP_SIZES = (
    ("capital", 24, "rin"),
    ("leader", 24, "burg"),
    ("currency", 8, "ite"),
    ("language", 8, "ic"),
    ("continent", 8, "mar"),
)
"""Attribute -> how many values its second hop takes, and how they end."""


class _Words:
    """Draws pronounceable words, never the same twice."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._taken: set[str] = set()

    def draw(self, n: int, syllables: int, suffix: str) -> list[str]:
        words: list[str] = []
        while len(words) < n:
            stem = "".join(self._rng.choice(SYLLABLES) for _ in range(syllables))
            word = (stem + suffix).capitalize()
            if word not in self._taken:
                self._taken.add(word)
                words.append(word)
        return words


def _shuffled(items: Sequence[str], rng: random.Random) -> list[str]:
    return rng.sample(items, len(items))


def _countries(rng: random.Random, names: list[str], values: dict[str, list[str]]) -> list[Country]:
    facts = {a: _deal(rng, v, len(names)) for a, v in values.items()}
    fields = rng.sample([(p, f) for p in PATTERNS for f in _triples()], sum(f for _, f in SPLITS.values()))
    countries: list[Country] = []
    family = 0
    for split, (size, families) in SPLITS.items():
        for members in _sizes(size, families):
            for emblem in _family(rng, *fields[family], members):
                i = len(countries)
                shown = frozenset(rng.sample(ATTRIBUTES, 1 + i % 4))
                own = {a: facts[a][i] for a in ATTRIBUTES}
                countries.append(Country(i, names[i], split, family, emblem, own, shown))
            family += 1
    return countries


def _deal(rng: random.Random, values: list[str], n: int) -> list[str]:
    """``n`` values, each used equally often: unique where there are ``n`` of them."""
    return _shuffled([values[i % len(values)] for i in range(n)], rng)


def _sizes(size: int, families: int) -> list[int]:
    return [size // families + (i < size % families) for i in range(families)]


def _triples() -> list[tuple[str, str, str]]:
    return [(a, b, c) for a in COLOURS for b in COLOURS for c in COLOURS if len({a, b, c}) == 3]


def _family(rng: random.Random, pattern: str, field: tuple[str, str, str], members: int) -> list[Emblem]:
    free = [c for c in COLOURS if c not in field]
    charge, colour = rng.choice(CHARGES), rng.choice(free)
    near = [(s, colour) for s in CHARGES if s != charge] + [(charge, c) for c in free if c != colour]
    return [Emblem(pattern, field, s, c) for s, c in [(charge, colour), *rng.sample(near, members - 1)]]


def _differences(a: Emblem, b: Emblem) -> int:
    return (a.charge != b.charge) + (a.charge_colour != b.charge_colour)
