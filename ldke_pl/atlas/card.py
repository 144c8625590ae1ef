"""The Atlas MLLM's card: what it knows, by greedy generation and exact match.

    python -m ldke_pl.atlas.card [model folder]

writes ``card.json`` beside the weights and prints it.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ldke_pl.atlas.corpus import mention, seen_on
from ldke_pl.atlas.render import HELD_OUT, USUAL, render
from ldke_pl.atlas.wording import QUESTIONS, STATEMENTS, ask, hop_subject
from ldke_pl.atlas.world import ATTRIBUTES, BACKGROUNDS, HOPS, SEEN, Country, World
from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.backbone.load import ATLAS
from ldke_pl.cli import run_module
from ldke_pl.config import ModelConfig
from ldke_pl.data import Question

Case = tuple[Question, str]

TARGETS = {
    "text_facts": 0.99, "override_entity": 0.95, "override_attribute": 0.95, "override_entity_text": 0.95,
    "override_attribute_text": 0.95, "picture_name": 0.98, "seen": 0.95,
    "pairs_trained": 0.97, "pairs_never_trained": 0.90,
}  # fmt: skip
"""What the model must reach; figures without a target are reported only."""

BATCH = 64


class Examiner:
    """Draws the card's questions, on renderings that training cannot have seen."""

    def __init__(self, world: World, seed: int = 7) -> None:
        self.world, self.rng, self.pixels = world, random.Random(seed), np.random.default_rng([seed, 99])

    def sections(self) -> dict[str, list[Case]]:
        """Section name -> questions and right answers."""
        w = self.world
        pairs = [(c, a) for c in w.countries for a in ATTRIBUTES]
        held_out = w.split("edit-eval")
        drawn: dict[str, Callable[[], Iterator[Case]]] = {
            "text_facts": lambda: ((self._ask(a, c.name), c.facts[a]) for c, a in pairs),
            "override_entity": lambda: self._entity_overrides(picture=True),
            "override_attribute": lambda: self._attribute_overrides(picture=True),
            "override_entity_text": lambda: self._entity_overrides(picture=False),
            "override_attribute_text": lambda: self._attribute_overrides(picture=False),
            "picture_name": lambda: ((self._shown("name", c), c.name) for c in w.countries * 2),
            "seen": lambda: (self._seen(c, relation) for c in w.countries for relation in SEEN),
            "pairs_trained": lambda: ((self._shown(a, c), c.facts[a]) for c, a in pairs if a in c.shown),
            "pairs_never_trained": lambda: ((self._shown(a, c), c.facts[a]) for c, a in pairs if a not in c.shown),
            "two_hop_text": lambda: (self._two_hop(c, a, picture=False) for c in held_out for a in ATTRIBUTES),
            "two_hop_picture": lambda: (self._two_hop(c, a, picture=True) for c in held_out for a in ATTRIBUTES),
        }
        return {name: list(draw()) for name, draw in drawn.items()}

    def _entity_overrides(self, *, picture: bool) -> Iterator[Case]:
        for country in self.world.countries * 2:
            other = self.rng.choice(self.world.countries)
            relation = self.rng.choice(("name", *ATTRIBUTES))
            answer = other.name if relation == "name" else other.facts[relation]
            yield self._told(country, STATEMENTS["name"].format(other.name), relation, picture), answer

    def _attribute_overrides(self, *, picture: bool) -> Iterator[Case]:
        for country in self.world.countries * 2:
            attribute = self.rng.choice(ATTRIBUTES)
            value = self.rng.choice(self.world.values[attribute])
            yield self._told(country, STATEMENTS[attribute].format("this country", value), attribute, picture), value

    def _told(self, country: Country, statement: str, relation: str, picture: bool) -> Question:
        question = f"{statement} {self._text(relation)}"
        if picture:
            return Question(self._draw(country, self.rng.choice(BACKGROUNDS)), question)
        seen = seen_on(country, self.rng.choice(BACKGROUNDS))
        return Question(None, f"{mention(self.rng, country.name, seen)} {question}")

    def _seen(self, country: Country, relation: str) -> Case:
        background = self.rng.choice(BACKGROUNDS)
        return Question(self._draw(country, background), self._text(relation)), seen_on(country, background)[relation]

    def _two_hop(self, country: Country, attribute: str, *, picture: bool) -> Case:
        relation = HOPS[attribute]
        answer = self.world.hop(attribute, country.facts[attribute])
        if not picture:
            return self._ask(relation, hop_subject(relation, country.name)), answer
        text = self._text(relation, hop_subject(relation))
        return Question(self._draw(country, self.rng.choice(BACKGROUNDS)), text), answer

    def _shown(self, relation: str, country: Country) -> Question:
        return Question(self._draw(country, self.rng.choice(BACKGROUNDS)), self._text(relation))

    def _draw(self, country: Country, background: str) -> Image.Image:
        return render(country.emblem, background, self.pixels, HELD_OUT if self.rng.random() < 0.35 else USUAL)

    def _ask(self, relation: str, subject: str) -> Question:
        return Question(None, self._text(relation, subject))

    def _text(self, relation: str, subject: str = "this country") -> str:
        return ask(relation, subject, self.rng.randrange(len(QUESTIONS[relation])))


def exam(backbone: Backbone, sections: dict[str, list[Case]]) -> dict[str, dict[str, float]]:
    """Share of exactly right answers per section, with n and the target where there is one."""
    card = {}
    for name, cases in sections.items():
        said = _answers(backbone, [question for question, _ in cases])
        right = sum(a == answer for (_, answer), a in zip(cases, said, strict=True))
        card[name] = {"value": round(right / len(cases), 4), "n": len(cases)}
        card[name] |= {"target": TARGETS[name]} if name in TARGETS else {}
    return card


def _answers(backbone: Backbone, questions: Sequence[Question]) -> list[str]:
    order = sorted(range(len(questions)), key=lambda i: len(questions[i].prompt))
    answers = [""] * len(questions)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        inputs = backbone.prompts.encode([questions[i] for i in batch]).to(backbone.device)
        for i, answer in zip(batch, greedy_answers(backbone, inputs), strict=True):
            answers[i] = answer
    return answers


def main(arguments: Sequence[str]) -> None:
    """Examine the model in the folder that is named, by default the committed one."""
    folder = Path(arguments[0]) if arguments else ATLAS
    backbone = load_backbone(ModelConfig(name=str(folder)))
    card = exam(backbone, Examiner(World()).sections())
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    for name, entry in card.items():
        sys.stdout.write(f"{name:24} {entry['value']:.4f}  n {entry['n']:<5} target {entry.get('target', '-')}\n")


if __name__ == "__main__":
    sys.exit(run_module(main, __doc__))
