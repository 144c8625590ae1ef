"""How Atlas asks: enough wordings, a clean cut between usual and held-out ones, and the text of a question."""

import pytest

from ldke_pl.atlas.wording import ABOUT, QUESTIONS, STATEMENTS, all_words, ask, hop_subject, wordings
from ldke_pl.atlas.world import ATTRIBUTES, HOPS, SEEN

WITH_SUBJECT = (*ATTRIBUTES, *HOPS.values())
WITHOUT_SUBJECT = ("name", *SEEN)


def test_every_relation_can_be_asked() -> None:
    assert set(QUESTIONS) == {*WITH_SUBJECT, *WITHOUT_SUBJECT}


@pytest.mark.parametrize("relation", QUESTIONS)
def test_held_out_wordings_are_kept_apart(relation: str) -> None:
    usual, held_out = wordings(relation, held_out=False), wordings(relation, held_out=True)
    assert len(held_out) >= 3
    assert len(usual) >= 4
    assert not {*usual} & {*held_out}
    assert (*usual, *held_out) == wordings(relation) == QUESTIONS[relation]


def test_no_question_has_two_meanings() -> None:
    texts = [ask(r, "Bolivu", i) for r in QUESTIONS for i in range(len(QUESTIONS[r]))]
    assert len({*texts}) == len(texts)


@pytest.mark.parametrize("relation", WITH_SUBJECT)
def test_question_names_its_subject_once(relation: str) -> None:
    for index in range(len(QUESTIONS[relation])):
        assert ask(relation, "Bolivu", index).count("Bolivu") == 1


@pytest.mark.parametrize("relation", WITHOUT_SUBJECT)
def test_question_about_a_picture_has_no_subject(relation: str) -> None:
    assert [ask(relation, "Bolivu", i) for i in range(len(QUESTIONS[relation]))] == list(QUESTIONS[relation])


def test_question_begins_with_a_capital() -> None:
    texts = [ask(r, "the capital of this country", i) for r in QUESTIONS for i in range(len(QUESTIONS[r]))]
    assert all(text[0].isupper() for text in texts)
    index = QUESTIONS["river"].index("{} lies on which river?")
    assert ask("river", hop_subject("river"), index) == "The capital of this country lies on which river?"


def test_ask_defaults_and_wraps_around() -> None:
    assert ask("capital") == "What is the capital of this country?"
    assert ask("capital", "Bolivu", 1 + len(QUESTIONS["capital"])) == "Name the capital city of Bolivu."


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_second_hop_names_its_attribute(attribute: str) -> None:
    relation = HOPS[attribute]
    assert ABOUT[relation] == attribute
    assert hop_subject(relation) == f"the {attribute} of this country"
    assert hop_subject(relation, "Bolivu") == f"the {attribute} of Bolivu"


def test_statements_take_a_country_or_a_subject_and_a_value() -> None:
    assert STATEMENTS.keys() == {"name", *ATTRIBUTES}
    assert STATEMENTS["name"].format("Bolivu") == "In fact this country is Bolivu."
    assert STATEMENTS["capital"].format("this country", "Arima") == "In fact the capital of this country is Arima."


def test_all_words_holds_every_text_without_slots() -> None:
    words = all_words()
    assert not [text for text in words if "{" in text]
    assert {q.replace("{}", " ") for questions in QUESTIONS.values() for q in questions} <= {*words}
