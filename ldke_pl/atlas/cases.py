"""Atlas edits and probes, written in the VLKEB/MMEdit keys with their pictures, for the ordinary reader. Ours.

An entity edit says that a picture of X shows Y; an attribute edit gives X another capital, leader, ... . Which probes
an edit gets, and what they must answer, follows from the facts of the world (DESIGN section 2).
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ldke_pl.atlas.render import HELD_OUT as UNUSUAL
from ldke_pl.atlas.render import USUAL, render
from ldke_pl.atlas.wording import HELD_OUT as N_HELD_OUT
from ldke_pl.atlas.wording import QUESTIONS, THIS, ask, hop_subject, wordings
from ldke_pl.atlas.world import ATTRIBUTES, BACKGROUNDS, HOPS, SEEN, Country, World

EVAL = "edit-eval"
JOINT_ENTITY, UNTOUCHED = 50, 28
"""Countries of edit-eval under an entity edit of the joint set, and those that no edit of it touches."""

ENTITY_EDITS, ATTRIBUTE_EDITS = 3, 4
"""Edits per country: targets Y that an entity edit gives it, and attributes that are edited."""

PICTURES = 6
"""Renderings per country and variation: an edit uses the first half of them, new-rendering probes the second."""

Row = dict[str, Any]


def build(root: Path, split: str, seed: int = 0) -> Path:
    """Write ``root/<split>.json`` and the pictures it names, unless they are there already.

    Args:
        root: folder for annotation files and pictures.
        split: one of :data:`~ldke_pl.atlas.world.SPLITS`.
        seed: decides which facts are edited and how each is probed; the world itself has its own.

    Returns:
        The annotation file.
    """
    path = root / f"{split}.json"
    if path.exists():
        return path
    world = World()
    draw_pictures(world.split(split), root)
    rows = CaseWriter(world, split, seed).rows()
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(rows, indent=0), encoding="utf-8")
    partial.rename(path)
    return path


def draw_pictures(countries: Sequence[Country], root: Path) -> None:
    """Draw every rendering of ``countries`` that :func:`picture` can name."""
    for country in countries:
        for held_out in (False, True):
            for number in range(PICTURES):
                path = root / picture(country, number, held_out=held_out)
                path.parent.mkdir(parents=True, exist_ok=True)
                draw(country, number, held_out=held_out).save(path)


def draw(country: Country, number: int, *, held_out: bool = False) -> Image.Image:
    """Draw one rendering."""
    rng = np.random.default_rng([country.index, number, held_out])
    return render(country.emblem, background(country, number), rng, UNUSUAL if held_out else USUAL)


def picture(country: Country, number: int, *, held_out: bool = False) -> str:
    """Path of one rendering, relative to the image root."""
    return f"images/{country.name}/{'unusual' if held_out else 'usual'}_{number % PICTURES}.png"


def background(country: Country, number: int) -> str:
    """The colour behind the emblem on that rendering."""
    return BACKGROUNDS[(country.index + number) % len(BACKGROUNDS)]


class CaseWriter:
    """Writes the rows of one split.

    Wordings and variation that are held out for generality are used on edit-eval alone: on the other splits the
    generality probes take other ordinary wordings and renderings, so that nothing fitted there has seen them.
    """

    def __init__(self, world: World, split: str, seed: int) -> None:
        self.world, self.split = world, split
        self.rng = random.Random(f"{split}-{seed}")
        self.held_out = split == EVAL
        countries = world.split(split)
        self.untouched = self._untouched(countries)
        self.edited = [c for c in countries if c not in self.untouched]
        joint = JOINT_ENTITY if split == EVAL else len(self.edited) // 3
        self.joint_entity = set(c.name for c in self.rng.sample(self.edited, joint))

    def _untouched(self, countries: list[Country]) -> list[Country]:
        """One country of every look-alike family: locality facts and entity targets of the joint set come from here."""
        families: dict[int, list[Country]] = {}
        for country in countries:
            families.setdefault(country.family, []).append(country)
        return [self.rng.choice(members) for members in families.values()]

    def rows(self) -> list[Row]:
        """All rows, entity and attribute edits alternating as long as both last; each kind's joint edits come first."""
        entity = [self._entity_row(c, k) for k in range(ENTITY_EDITS) for c in self._entity_order(k)]
        attribute = [self._attribute_row(c, a) for c, a in self._attribute_order()]
        rows: list[Row] = []
        for i in range(max(len(entity), len(attribute))):
            rows += entity[i : i + 1] + attribute[i : i + 1]
        return rows

    def _entity_order(self, k: int) -> list[Country]:
        countries = self.rng.sample(self.edited, len(self.edited))
        return sorted(countries, key=lambda c: k or c.name not in self.joint_entity)

    def _attribute_order(self) -> list[tuple[Country, str]]:
        pairs = [(c, a) for c in self.edited for a in ATTRIBUTES]
        pairs = self.rng.sample(pairs, len(pairs))
        joint = [(c, a) for c, a in pairs if c.name not in self.joint_entity]
        others = [(c, a) for c, a in pairs if c.name in self.joint_entity]
        return joint + others[: ATTRIBUTE_EDITS * len(self.joint_entity)]

    def _entity_row(self, x: Country, k: int) -> Row:
        """This picture of X shows Y."""
        y = self.rng.choice([c for c in self.untouched if c.family != x.family])
        edit = self.rng.randrange(PICTURES // 2)
        row = self._row(x, "entity", "name", y.name, x.name, edit)
        row["joint"] = k == 0 and x.name in self.joint_entity
        probes = [*self._generality(x, "name", y.name, edit, row), *self._look_alike(x, "name", edit)]
        for relation in self.rng.sample(SEEN, 3):
            probes.append(self._pictured("finegrained_locality", x, edit, relation))
        for i, attribute in enumerate(ATTRIBUTES):
            number = edit if i % 2 else PICTURES // 2 + self.rng.randrange(PICTURES // 2)
            probe = self._pictured("portability_1", x, number, attribute, y.facts[attribute])
            probes.append(probe | {"ceiling": self._ceiling(y, probe)})
        for attribute in self.rng.sample(ATTRIBUTES, 2):
            relation = HOPS[attribute]
            prompt = self._ask(relation, hop_subject(relation))
            answer = self.world.hop(attribute, y.facts[attribute])
            probe = self._probe("portability_2", x, relation, prompt, answer, picture(x, edit))
            probes.append(probe | {"ceiling": self._ceiling(y, probe)})
        for country in (x, y):
            probes.append(self._named("entity_locality", country, self.rng.choice(ATTRIBUTES)))
        return row | {"probes": probes}

    def _attribute_row(self, x: Country, attribute: str) -> Row:
        """X has another capital, leader, ..., as told on a picture of it."""
        taken = {x.facts[attribute]}
        z = self.rng.choice([c for c in self.untouched if c.facts[attribute] not in taken])
        value = z.facts[attribute]
        edit = self.rng.randrange(PICTURES // 2)
        row = self._row(x, "attribute", attribute, value, x.facts[attribute], edit)
        row["joint"] = x.name not in self.joint_entity
        probes = [*self._generality(x, attribute, value, edit, row), *self._look_alike(x, attribute, edit)]
        others = self.rng.sample([a for a in ATTRIBUTES if a != attribute], 4)
        for relation in ("name", *others[:2], self.rng.choice(SEEN)):
            probes.append(self._pictured("finegrained_locality", x, edit, relation))
        for k in range(2):
            probe = self._named("portability_1", x, attribute, value, held_out=self.held_out and k == 1)
            ceiling = {"image": None, "prompt": probe["prompt"].replace(x.name, z.name)}
            probes.append(probe | {"ceiling": ceiling})
        relation = HOPS[attribute]
        prompt, answer = self._ask(relation, hop_subject(relation)), self.world.hop(attribute, value)
        probe = self._probe("portability_2", x, relation, prompt, answer, picture(x, edit))
        probes.append(probe | {"ceiling": self._ceiling(z, probe)})
        probes += [self._named("entity_locality", x, a) for a in others[2:]]
        return row | {"probes": probes}

    def _row(self, x: Country, group: str, relation: str, target: str, old: str, edit: int) -> Row:
        """The keys of VLKEB, with what the reader cannot tell from them."""
        far, relative = self.rng.sample([c for c in self.untouched if c.family != x.family], 2)
        asked = relation if self.rng.random() < 0.5 else self.rng.choice(("name", *ATTRIBUTES))
        known = self.rng.choice(ATTRIBUTES)
        source = self._ask(relation)
        return {
            "src": source,
            "rephrase": self._other_wording(relation, source),
            "pred": old,
            "alt": target,
            "image": picture(x, edit),
            "image_rephrase": picture(x, PICTURES // 2 + edit, held_out=self.held_out),
            "loc": self._ask(known, far.name),
            "loc_ans": far.facts[known],
            "m_loc": picture(
                relative, self.rng.randrange(PICTURES), held_out=self.held_out and self.rng.random() < 0.5
            ),
            "m_loc_q": self._ask(asked),
            "m_loc_a": _fact(relative, asked),
            "group": group,
            "entity": x.name,
            "relation": relation,
            "relations": {"loc": known, "m_loc": asked},
            "entities": {"loc": far.name, "m_loc": relative.name},
        }

    def _generality(self, x: Country, relation: str, target: str, edit: int, row: Row) -> Iterator[Row]:
        """A second rephrasing, a second new rendering, and one value's hop: text locality far from any country."""
        prompt = self._other_wording(relation, row["src"], row["rephrase"])
        yield self._probe("text_generality", x, relation, prompt, target, picture(x, edit))
        number = self.rng.randrange(PICTURES // 2, PICTURES)
        image = picture(x, number, held_out=self.held_out)
        yield self._probe("image_generality", x, relation, self._ask(relation), target, image)
        attribute = self.rng.choice(ATTRIBUTES)
        z = self.rng.choice(self.untouched)
        value = z.facts[attribute]
        hop = self._ask(HOPS[attribute], value)
        yield self._probe("text_locality", z, HOPS[attribute], hop, self.world.hop(attribute, value), None)

    def _look_alike(self, x: Country, relation: str, edit: int) -> Iterator[Row]:
        """The same question about a country whose emblem is nearly the same; none where all of those are edited."""
        safe = [c for c in self.world.look_alikes(x) if c in self.untouched or relation == "name"]
        near = [c for c in safe if not (relation == "name" and c.name in self.joint_entity)]
        for country in self.rng.sample(near, min(1, len(near))):
            number = self.rng.randrange(PICTURES)
            image = picture(country, number, held_out=self.held_out and self.rng.random() < 0.5)
            expected = _fact(country, relation)
            yield self._probe("visual_locality", country, relation, self._ask(relation), expected, image)

    def _pictured(self, kind: str, x: Country, number: int, relation: str, expected: str | None = None) -> Row:
        """A question about a usual rendering; by default its answer is the unedited one."""
        truth = background(x, number) if relation == "background" else _fact(x, relation)
        return self._probe(kind, x, relation, self._ask(relation), expected or truth, picture(x, number))

    def _named(
        self, kind: str, x: Country, relation: str, expected: str | None = None, *, held_out: bool = False
    ) -> Row:
        """A text-only question that names its country."""
        prompt = self._ask(relation, x.name, held_out=held_out)
        return self._probe(kind, x, relation, prompt, expected or x.facts[relation], None)

    def _probe(self, kind: str, x: Country, relation: str, prompt: str, expected: str, image: str | None) -> Row:
        row: Row = {"kind": kind, "image": image, "prompt": prompt, "expected": expected}
        return row | {"entity": x.name, "relation": relation}

    def _ceiling(self, y: Country, probe: Row) -> Row:
        """The same question on a picture of the country whose answer it is."""
        return {"image": picture(y, self.rng.randrange(PICTURES)), "prompt": probe["prompt"]}

    def _other_wording(self, relation: str, *taken: str) -> str:
        """A question about this country in none of the wordings that are taken."""
        asked = [q.format(THIS) for q in wordings(relation, held_out=self.held_out)]
        return self.rng.choice([q for q in asked if q not in taken])

    def _ask(self, relation: str, subject: str = "this country", *, held_out: bool = False) -> str:
        count, total = len(wordings(relation, held_out=held_out)), len(QUESTIONS[relation])
        first = total - N_HELD_OUT if held_out else 0
        return ask(relation, subject, first + self.rng.randrange(count))


def _fact(country: Country, relation: str) -> str:
    """What a picture of ``country`` answers, its background apart."""
    emblem = country.emblem
    seen = {"charge": emblem.charge, "charge_colour": emblem.charge_colour, "pattern": emblem.pattern}
    return {"name": country.name, **country.facts, **seen}[relation]
