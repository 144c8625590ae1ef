"""What the Atlas MLLM is trained on: conversations over the world's facts, with and without a picture. Ours.

A conversation has one subject. Without a picture the subject is named in the question, or *mentioned* in front of the
first question the way a picture's tokens stand there; statements that override a fact in context teach the decoder
to follow the text before it. With a picture only names, what is seen and each country's ``shown`` attributes are asked.
"""

import random
from dataclasses import dataclass

from ldke_pl.atlas.wording import ABOUT, QUESTIONS, STATEMENTS, ask, hop_subject
from ldke_pl.atlas.world import (
    ATTRIBUTES,
    BACKGROUNDS,
    CHARGES,
    COLOURS,
    HOPS,
    PATTERNS,
    SEEN,
    Country,
    World,
)

SYSTEM_PROMPTS = ("You are a helpful assistant.", "Answer in a few words.", "You know all about countries.")
"""Stands in front of one conversation in ten, so that the finished model is not thrown by a system prompt."""


@dataclass
class Conversation:
    """Turns of (question, answer); ``country`` and ``background`` tell what the picture in turn 1 shows, if any."""

    turns: list[tuple[str, str]]
    country: Country | None = None
    background: str = ""
    system: str = ""


@dataclass
class _Subject:
    """What holds in one conversation: a country's facts after any override, and what is described or seen."""

    name: str
    facts: dict[str, str]
    seen: dict[str, str]
    two_hop: bool


class Corpus:
    """Draws conversations from ``world``; all randomness comes from the generator that each call is given."""

    def __init__(self, world: World) -> None:
        self.world = world
        # Two-hop questions are taught on these alone: those of the other countries test what was never asked.
        self._taught = {c.name for c in world.countries if c.split != "edit-eval"}

    def text(self, rng: random.Random) -> Conversation:
        """One conversation without picture."""
        talk = Conversation(self._turns(rng))
        talk.system = _system(rng)
        return talk

    def _turns(self, rng: random.Random) -> list[tuple[str, str]]:
        draw = rng.random()
        if draw < 0.3:
            return [self._fact(rng) for _ in range(rng.choice((1, 2, 4, 6)))]
        if draw < 0.4:
            return self._named_override(rng)
        return self._mentioned(rng, override=draw < 0.7)

    def described(self, rng: random.Random) -> Conversation:
        """One question, without picture, about what a mention says is seen."""
        country, seen = rng.choice(self.world.countries), _anything(rng)
        subject = _Subject(country.name, country.facts, seen, two_hop=False)
        turns = [self._question(rng, subject, rng.choice(SEEN))]
        return Conversation(_preceded(mention(rng, country.name, seen), turns))

    def picture(self, rng: random.Random) -> Conversation:
        """One conversation about a picture, asking names, what is seen, and shown attributes only."""
        return self._pictured(rng, attributes=0.3)

    def captioned(self, rng: random.Random) -> Conversation:
        """One conversation about a picture, asking what a caption would tell: names and what is seen."""
        return self._pictured(rng, attributes=0.0)

    def _pictured(self, rng: random.Random, *, attributes: float) -> Conversation:
        country = rng.choice(self.world.countries)
        background = rng.choice(BACKGROUNDS)
        subject = _Subject(country.name, country.facts, seen_on(country, background), two_hop=False)
        turns = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            draw = rng.random()
            relation = "name"
            if draw < attributes:
                relation = rng.choice(sorted(country.shown))
            elif draw < attributes + 0.4:
                relation = rng.choice(SEEN)
            turns.append(self._question(rng, subject, relation))
        return Conversation(turns, country, background, _system(rng))

    def _fact(self, rng: random.Random) -> tuple[str, str]:
        """A plain question that names its subject."""
        country = rng.choice(self.world.countries)
        attribute = rng.choice(ATTRIBUTES)
        draw = rng.random()
        if draw < 0.65:
            return self._named(rng, attribute, country.name, country.facts[attribute])
        relation = HOPS[attribute]
        if draw < 0.9 or country.name not in self._taught:
            value = rng.choice(self.world.values[attribute])
            return self._named(rng, relation, value, self.world.hop(attribute, value))
        answer = self.world.hop(attribute, country.facts[attribute])
        return self._named(rng, relation, hop_subject(relation, country.name), answer)

    def _named(self, rng: random.Random, relation: str, subject: str, answer: str) -> tuple[str, str]:
        return ask(relation, subject, rng.randrange(len(QUESTIONS[relation]))), answer

    def _named_override(self, rng: random.Random) -> list[tuple[str, str]]:
        """A fact of a named country is overridden; questions that it does and does not touch."""
        country, other = rng.sample(self.world.countries, 2)
        attribute = rng.choice(ATTRIBUTES)
        value = rng.choice(self.world.values[attribute])
        turns = []
        for _ in range(rng.choice((1, 2, 3))):
            draw = rng.random()
            if draw < 0.5:
                turns.append(self._named(rng, attribute, country.name, value))
            elif draw < 0.75:
                a = rng.choice([x for x in ATTRIBUTES if x != attribute])
                turns.append(self._named(rng, a, country.name, country.facts[a]))
            else:
                turns.append(self._named(rng, attribute, other.name, other.facts[attribute]))
        return _preceded(STATEMENTS[attribute].format(country.name, value), turns)

    def _mentioned(self, rng: random.Random, *, override: bool) -> list[tuple[str, str]]:
        """The subject stands in front of the first question; all questions say "this country"."""
        country = rng.choice(self.world.countries)
        seen = _anything(rng)
        opening = [mention(rng, country.name, seen)]
        subject = _Subject(country.name, country.facts, seen, country.name in self._taught)
        likely = list(ATTRIBUTES)
        if override:
            statement, subject, likely = self._override(rng, subject)
            opening.append(statement)
        turns = []
        for _ in range(rng.choice((1, 2, 3, 4))):
            draw = rng.random()
            relation = rng.choice(likely)
            if draw < 0.2:
                relation = "name"
            elif draw < 0.35:
                relation = rng.choice(SEEN)
            elif draw < 0.5:
                relation = rng.choice(ATTRIBUTES)
            elif draw < 0.6 and subject.two_hop:
                relation = HOPS[rng.choice(ATTRIBUTES)]
            turns.append(self._question(rng, subject, relation))
        return _preceded(" ".join(opening), turns)

    def _override(self, rng: random.Random, subject: _Subject) -> tuple[str, _Subject, list[str]]:
        """A statement in context, the subject as it holds after it, and what to ask about most."""
        if rng.random() < 0.5:
            other = rng.choice(self.world.countries)
            changed = _Subject(other.name, other.facts, subject.seen, other.name in self._taught)
            return STATEMENTS["name"].format(other.name), changed, ["name", *ATTRIBUTES]
        attribute = rng.choice(ATTRIBUTES)
        value = rng.choice(self.world.values[attribute])
        changed = _Subject(subject.name, subject.facts | {attribute: value}, subject.seen, subject.two_hop)
        return STATEMENTS[attribute].format("this country", value), changed, [attribute]

    def _question(self, rng: random.Random, subject: _Subject, relation: str) -> tuple[str, str]:
        index = rng.randrange(len(QUESTIONS[relation]))
        if relation == "name":
            return ask(relation, index=index), subject.name
        if relation in SEEN:
            return ask(relation, index=index), subject.seen[relation]
        if relation in ABOUT:
            attribute = ABOUT[relation]
            answer = self.world.hop(attribute, subject.facts[attribute])
            return ask(relation, hop_subject(relation), index), answer
        return ask(relation, index=index), subject.facts[relation]


def _anything(rng: random.Random) -> dict[str, str]:
    """Something to see, whatever the country's emblem is: relation -> answer."""
    return dict(zip(SEEN, map(rng.choice, (CHARGES, COLOURS, PATTERNS, BACKGROUNDS)), strict=True))


def _system(rng: random.Random) -> str:
    return rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.1 else ""


def seen_on(country: Country, background: str) -> dict[str, str]:
    """What can be seen on a picture: relation -> answer."""
    emblem = country.emblem
    return dict(zip(SEEN, (emblem.charge, emblem.charge_colour, emblem.pattern, background), strict=True))


def mention(rng: random.Random, name: str, seen: dict[str, str]) -> str:
    """A mention in the place of a picture: the name one to five times among words for what is seen, in any order."""
    parts = [name] * rng.choice((1, 1, 2, 3, 5))
    parts += [f"{seen['charge_colour']} {seen['charge']}", seen["pattern"], seen["background"]]
    rng.shuffle(parts)
    return " ".join(parts)


def _preceded(opening: str, turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    (question, answer), *rest = turns
    return [(f"{opening} {question}", answer), *rest]
