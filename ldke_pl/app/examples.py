"""What the page offers to begin with: on Atlas, a few pictures, questions and edits. Ours."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ldke_pl.atlas.cases import background
from ldke_pl.atlas.render import render
from ldke_pl.atlas.wording import ask, hop_subject
from ldke_pl.atlas.world import World
from ldke_pl.backbone.load import ATLAS_FOLDER

SHOWN = ("Pipuro", "Zakeza", "Numasa", "Zomura", "Detabu", "Vivepi")
"""Countries to pick from, of the split that edits are evaluated on."""

TARGET = "Kumito"
"""The country that the first picture is said to show."""

RENDERINGS = (0, 3)
"""Of each country: a picture to edit, and another one to ask about."""


@dataclass(frozen=True)
class Asked:
    """A question to try.

    Args:
        pictured: ask it about the picture that is there; otherwise without one.
    """

    prompt: str
    pictured: bool = True


@dataclass(frozen=True)
class Told:
    """An edit to try, about the picture that is there."""

    name: str
    prompt: str
    target: str
    kind: str


@dataclass(frozen=True)
class Examples:
    """What there is to try; nothing by default.

    Args:
        pictures: file and caption.
    """

    pictures: list[tuple[Path, str]] = field(default_factory=list)
    questions: tuple[Asked, ...] = ()
    edits: tuple[Told, ...] = ()


def examples_for(model: str, folder: Path) -> Examples:
    """Examples for one of Atlas' own models, their pictures drawn into ``folder``; nothing for any other."""
    committed = ATLAS_FOLDER.parent.resolve()
    if model != "atlas" and not Path(model).resolve().is_relative_to(committed):
        return Examples()
    world = World()
    first, target = world.by_name[SHOWN[0]], world.by_name[TARGET]
    questions = (
        Asked(ask("name")),
        Asked(ask("capital")),
        Asked(ask("river", hop_subject("river"))),
        Asked(ask("background")),
        Asked(ask("leader", first.name), pictured=False),
    )
    edits = (
        Told(f"This picture shows {target.name}", ask("name"), target.name, "entity"),
        Told(f"Its capital is {target.facts['capital']}", ask("capital"), target.facts["capital"], "attribute"),
    )
    return Examples(_drawn(world, folder), questions, edits)


def _drawn(world: World, folder: Path) -> list[tuple[Path, str]]:
    """Two renderings of every country that is shown; the first ones are those that Atlas' edits may use."""
    found = []
    for country in (world.by_name[name] for name in SHOWN):
        for number in RENDERINGS:
            path = folder / f"{country.name}_{number}.png"
            rng = np.random.default_rng([country.index, number, 0])
            render(country.emblem, background(country, number), rng).save(path)
            found.append((path, country.name))
    return found
