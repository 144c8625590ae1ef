"""What the Atlas MLLM is trained on: what is asked beside a picture, and that every answer follows from the text."""

import random
import re
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldke_pl.atlas.corpus import SYSTEM_PROMPTS, Conversation, Corpus, mention, seen_on
from ldke_pl.atlas.wording import ABOUT, QUESTIONS, ask, hop_subject
from ldke_pl.atlas.world import ATTRIBUTES, HOPS, SEEN, World

WORLD = World()
CORPUS = Corpus(WORLD)
NAME_STATEMENT = re.compile(r"(.*)\bIn fact this country is (\w+)\. (.*)")
FACT_STATEMENT = re.compile(r"(.*)\bIn fact the (\w+) of (this country|\w+) is (\w+)\. (.*)")


def _here() -> dict[str, str]:
    """Question about "this country" -> relation."""
    texts = {}
    for relation, wordings in QUESTIONS.items():
        subject = hop_subject(relation) if relation in ABOUT else "this country"
        texts |= {ask(relation, subject, i): relation for i in range(len(wordings))}
    return texts


def _named() -> dict[str, tuple[str, str, str]]:
    """Question that names its subject -> (relation, subject, answer); a country's second hops included."""
    texts = {}
    for attribute, relation in HOPS.items():
        asked = [(attribute, c.name, c.name, c.facts[attribute]) for c in WORLD.countries]
        asked += [(relation, value, value, WORLD.hop(attribute, value)) for value in WORLD.values[attribute]]
        asked += [
            (relation, hop_subject(relation, c.name), c.name, WORLD.hop(attribute, c.facts[attribute]))
            for c in WORLD.countries
        ]
        for r, subject, name, answer in asked:
            texts |= {ask(r, subject, i): (r, name, answer) for i in range(len(QUESTIONS[r]))}
    return texts


HERE, NAMED = _here(), _named()
DRAWS = {name: getattr(CORPUS, name) for name in vars(Corpus) if not name.startswith("_")}
"""Every kind of conversation that the corpus can draw, with and without picture."""


@dataclass
class Reading:
    """What a conversation says before its first question."""

    opening: str
    question: str
    renamed: str = ""
    attribute: str = ""
    subject: str = ""
    value: str = ""

    @property
    def country(self) -> str:
        """The country that is mentioned, after a statement that it is another."""
        return self.renamed or next(word for word in self.opening.split() if word in WORLD.by_name)


def understand(text: str) -> Reading:
    """Take the first turn apart."""
    if found := NAME_STATEMENT.fullmatch(text):
        return Reading(found[1], found[3], renamed=found[2])
    if found := FACT_STATEMENT.fullmatch(text):
        return Reading(found[1], found[5], attribute=found[2], subject=found[3], value=found[4])
    if text in NAMED:
        return Reading("", text)
    question = max((q for q in HERE if text.endswith(f" {q}")), key=len)
    return Reading(text.removesuffix(question), question)


def expected(reading: Reading, question: str) -> str:
    """The answer that follows from a conversation's opening and the world."""
    if question in NAMED:
        relation, subject, answer = NAMED[question]
        return reading.value if (relation, subject) == (reading.attribute, reading.subject) else answer
    relation, country = HERE[question], WORLD.by_name[reading.country]
    facts = country.facts | ({reading.attribute: reading.value} if reading.subject == "this country" else {})
    if relation == "name":
        return country.name
    if relation in ABOUT:
        return WORLD.hop(ABOUT[relation], facts[ABOUT[relation]])
    return facts[relation]


def seen_in(opening: str, relation: str, answer: str) -> bool:
    """Whether a mention says so; a colour stands in front of the shape that has it."""
    words = opening.split()
    if relation != "charge_colour":
        return answer in words
    return words[words.index(answer) + 1] in {c.emblem.charge for c in WORLD.countries}


def conversations(n: int, seed: int = 0) -> list[Conversation]:
    """Conversations of all kinds without picture, ``n`` of each."""
    rng = random.Random(seed)
    drawn = [draw(rng) for draw in DRAWS.values() for _ in range(n)]
    return [talk for talk in drawn if talk.country is None]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_pictures_are_asked_for_shown_attributes_only(seed: int) -> None:
    rng = random.Random(seed)
    for talk in (draw(rng) for draw in DRAWS.values()):
        country = talk.country
        if country is None:
            continue
        truth = {"name": country.name, **country.facts, **seen_on(country, talk.background)}
        for question, answer in talk.turns:
            relation = HERE[question]
            assert relation in {"name", *SEEN, *country.shown}
            assert answer == truth[relation]


def test_pictures_are_asked_for_everything_that_may_be_asked() -> None:
    rng = random.Random(0)
    asked: Counter[str] = Counter()
    pairs: set[tuple[str, str]] = set()
    for _ in range(40000):
        talk = CORPUS.picture(rng)
        relations = [HERE[question] for question, _ in talk.turns]
        asked.update(relations)
        pairs |= {(talk.country.name if talk.country else "", r) for r in relations if r in ATTRIBUTES}
    assert set(asked) == {"name", *SEEN, *ATTRIBUTES}
    assert pairs == {(c.name, a) for c in WORLD.countries for a in c.shown}


def test_every_text_answer_follows_from_what_was_said() -> None:
    forms: Counter[str] = Counter()
    for talk in conversations(3000):
        reading = understand(talk.turns[0][0])
        forms["renamed" if reading.renamed else "fact" if reading.attribute else "plain"] += 1
        forms["mentioned"] += bool(reading.opening)
        for turn, (question, answer) in enumerate(talk.turns):
            question = reading.question if turn == 0 else question
            if HERE.get(question) in SEEN:
                assert seen_in(reading.opening, HERE[question], answer)
            else:
                assert answer == expected(reading, question), talk
    assert all(forms[form] > 100 for form in ("renamed", "fact", "plain", "mentioned"))


def test_overrides_are_asked_about_and_leave_the_rest() -> None:
    told: Counter[bool] = Counter()
    for talk in conversations(3000):
        reading = understand(talk.turns[0][0])
        if reading.attribute:
            told.update(answer == reading.value for _, answer in talk.turns)
    assert told[True] > 300
    assert told[False] > 300


def test_second_hops_are_taught_for_countries_outside_evaluation_alone() -> None:
    taught: Counter[str] = Counter()
    for talk in conversations(6000):
        reading = understand(talk.turns[0][0])
        for turn, (question, _) in enumerate(talk.turns):
            question = reading.question if turn == 0 else question
            if HERE.get(question) in ABOUT:
                taught[WORLD.by_name[reading.country].split] += 1
            elif question in NAMED and NAMED[question][1] in WORLD.by_name and NAMED[question][0] in ABOUT:
                taught[WORLD.by_name[NAMED[question][1]].split] += 1
    assert set(taught) == {"router-train", "router-val"}


def test_questions_are_asked_in_every_wording() -> None:
    asked = {talk.turns[0][0] for talk in conversations(8000) if talk.turns[0][0] in NAMED}
    found = {relation: 0 for relation in (*ATTRIBUTES, *HOPS.values())}
    for relation in found:
        patterns = [re.escape(q).replace(r"\{\}", ".+") for q in QUESTIONS[relation]]
        found[relation] = sum(any(re.fullmatch(p, q, re.IGNORECASE) for q in asked) for p in patterns)
    assert found == {relation: len(QUESTIONS[relation]) for relation in found}


@pytest.mark.parametrize("kind", ["text", "picture"])
def test_one_conversation_in_ten_has_a_system_prompt(kind: str) -> None:
    rng = random.Random(0)
    systems = Counter(DRAWS[kind](rng).system for _ in range(3000))
    assert set(systems) == {"", *SYSTEM_PROMPTS}
    assert 0.07 < 1 - systems[""] / 3000 < 0.13


def test_generator_decides_the_conversations() -> None:
    assert conversations(20) == conversations(20)
    assert conversations(20) != conversations(20, seed=1)


def test_mention_holds_the_name_and_all_that_is_seen() -> None:
    rng = random.Random(0)
    country = WORLD.countries[0]
    seen = seen_on(country, "teal")
    counts = Counter()
    for _ in range(300):
        text = mention(rng, country.name, seen)
        counts[text.split().count(country.name)] += 1
        assert f"{seen['charge_colour']} {seen['charge']}" in text
        assert {seen["pattern"], "teal"} <= {*text.split()}
    assert set(counts) == {1, 2, 3, 5}


def test_seen_on_is_what_the_emblem_shows() -> None:
    emblem = WORLD.countries[5].emblem
    told = [emblem.charge, emblem.charge_colour, emblem.pattern, "navy"]
    assert seen_on(WORLD.countries[5], "navy") == dict(zip(SEEN, told, strict=True))
