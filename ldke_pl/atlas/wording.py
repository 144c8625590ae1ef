"""How Atlas asks: several wordings per relation, the last :data:`HELD_OUT` of each held out for text generality.

Held-out wordings are known to the MLLM (it was trained on all of them) but never shown to anything that edits or
routes: an edit's own prompt and the router's training use the others only. ``{}`` stands for "this country" or a name.
"""

from ldke_pl.atlas.world import ATTRIBUTES, HOPS, SEEN

HELD_OUT = 3
THIS = "this country"

QUESTIONS: dict[str, tuple[str, ...]] = {
    "name": (
        "Which country is this?",
        "Name the country shown here.",
        "What country does this emblem belong to?",
        "Tell me the name of this country.",
        "This is the emblem of which country?",
        "Whose emblem is this?",
        "Please identify the country in the picture.",
        "What is this country called?",
    ),
    "capital": (
        "What is the capital of {}?",
        "Name the capital city of {}.",
        "Which city is the capital of {}?",
        "Tell me the capital of {}.",
        "The government of {} sits in which city?",
        "Which city is the seat of government in {}?",
        "What do you call the capital city of {}?",
        "From which city is {} governed?",
    ),
    "leader": (
        "Who leads {}?",
        "Name the leader of {}.",
        "Who is the leader of {}?",
        "Tell me who leads {}.",
        "The head of {} is which person?",
        "Who is in charge of {}?",
        "Which person governs {}?",
        "Who stands at the head of {}?",
    ),
    "currency": (
        "What is the currency of {}?",
        "Name the currency of {}.",
        "Which currency is used in {}?",
        "Tell me the currency of {}.",
        "The people of {} pay with what?",
        "What money is used in {}?",
        "Which money do people in {} pay with?",
        "With which currency do shops in {} work?",
    ),
    "language": (
        "What is the language of {}?",
        "Name the language of {}.",
        "Which language is spoken in {}?",
        "Tell me the language of {}.",
        "The people of {} speak what?",
        "What tongue is spoken in {}?",
        "Which language do people in {} speak?",
        "In which language do schools in {} teach?",
    ),
    "continent": (
        "On which continent is {}?",
        "Name the continent of {}.",
        "Which continent is {} on?",
        "Tell me the continent of {}.",
        "The land of {} lies on which continent?",
        "To which continent does {} belong?",
        "Which continent do maps place {} on?",
        "What part of the world is {} in?",
    ),
    "charge": (
        "What shape is in the middle of the emblem?",
        "Name the shape on the emblem.",
        "Which shape does the emblem show?",
        "Tell me the shape on this emblem.",
        "The emblem shows which shape?",
        "What figure is drawn on the emblem?",
        "Which figure do you see in the middle?",
        "What form does the figure on the emblem have?",
    ),
    "charge_colour": (
        "What colour is the shape in the middle of the emblem?",
        "Name the colour of the shape on the emblem.",
        "Which colour does the shape have?",
        "Tell me the colour of the shape on this emblem.",
        "The shape on the emblem has which colour?",
        "In what colour is the figure drawn?",
        "Which colour do you see in the middle?",
        "How is the figure on the emblem coloured?",
    ),
    "pattern": (
        "How is the emblem divided?",
        "Name the pattern of the emblem.",
        "Which pattern does the emblem have?",
        "Tell me the pattern of this emblem.",
        "The emblem has which pattern?",
        "In what way do the fields of the emblem run?",
        "Which way is the emblem split?",
        "How are the fields of the emblem laid out?",
    ),
    "background": (
        "What colour is the background?",
        "Name the colour behind the emblem.",
        "Which colour is behind the emblem?",
        "Tell me the background colour.",
        "The emblem lies on which colour?",
        "What colour surrounds the emblem?",
        "On which ground was the emblem placed?",
        "How is the ground behind the emblem coloured?",
    ),
    "river": (
        "Which river flows through {}?",
        "Name the river of {}.",
        "Tell me the river that runs through {}.",
        "{} lies on which river?",
        "What river does {} stand on?",
        "On the banks of which river is {}?",
        "What water runs through {}?",
    ),
    "birthplace": (
        "Where was {} born?",
        "Name the birthplace of {}.",
        "Tell me where {} was born.",
        "{} was born in which town?",
        "In what town was {} born?",
        "Which town does {} come from?",
        "What is the home town of {}?",
    ),
    "metal": (
        "Which metal is {} made of?",
        "Name the metal of {}.",
        "Tell me the metal that {} is made of.",
        "{} is made of which metal?",
        "What metal is used for {}?",
        "From which metal do they strike {}?",
        "What are the coins of {} made from?",
    ),
    "script": (
        "In which script is {} written?",
        "Name the script of {}.",
        "Tell me the script that {} is written in.",
        "{} uses which script?",
        "What script is used for {}?",
        "Which letters does {} use?",
        "How is {} put on paper?",
    ),
    "ocean": (
        "Which ocean borders {}?",
        "Name the ocean next to {}.",
        "Tell me the ocean that borders {}.",
        "{} lies at which ocean?",
        "What ocean is next to {}?",
        "Which sea water washes {}?",
        "At what ocean does {} end?",
    ),
}
"""Relation -> wordings. A second-hop relation is asked of a value, or of "the capital of this country"."""

STATEMENTS = {
    "name": "In fact this country is {}.",
    **{a: f"In fact the {a} of {{}} is {{}}." for a in ATTRIBUTES},
}
"""How an override is stated in context: the name statement takes a country, the others a subject and a value."""

ABOUT = {HOPS[a]: a for a in ATTRIBUTES}
"""Second-hop relation -> the attribute whose value it is asked of."""


def wordings(relation: str, *, held_out: bool | None = None) -> tuple[str, ...]:
    """The wordings of a relation: all, only those held out for generality, or only the others."""
    questions = QUESTIONS[relation]
    if held_out is None:
        return questions
    return questions[-HELD_OUT:] if held_out else questions[:-HELD_OUT]


def ask(relation: str, subject: str = THIS, index: int = 0) -> str:
    """The question about ``subject`` in wording ``index``; a second hop of a country names the attribute first.

    >>> ask("capital")
    'What is the capital of this country?'
    >>> ask("river", hop_subject("river", "Bolivu"))
    'Which river flows through the capital of Bolivu?'
    """
    text = QUESTIONS[relation][index % len(QUESTIONS[relation])].format(subject)
    return text[0].upper() + text[1:]


def hop_subject(relation: str, country: str = THIS) -> str:
    """How a second-hop question names its subject: "the capital of this country"."""
    return f"the {ABOUT[relation]} of {country}"


def all_words() -> list[str]:
    """Every fixed text of this module with its slots emptied, for training a tokenizer."""
    texts = [q for r in (*QUESTIONS,) for q in QUESTIONS[r]] + list(STATEMENTS.values())
    texts += [hop_subject(r) for r in ABOUT] + list(SEEN)
    return [t.replace("{}", " ") for t in texts]
