"""What the page shows as HTML: nothing of a text is taken for markup, and marks stand where they belong."""

import math
import re

import pytest

from ldke_pl.app import markup
from ldke_pl.app.localization import Localized
from ldke_pl.app.session import Answer, Entry, Written
from ldke_pl.editors.watch import Step
from ldke_pl.errors import EditError

EVIL = '<script>alert("&")</script>'
ONE, OTHER = Entry("a1", "Who?", "Ada", "in force", ("connector",)), Entry("b2", "Where?", "Zz", "in force", ("x",))


def shown(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_texts_are_escaped_wherever_they_come_from() -> None:
    entry = Entry(EVIL, EVIL, EVIL, EVIL, (EVIL,))
    found = Answer(EVIL, EVIL, entry, [(entry, 0.9)], 0.5)
    texts = [
        markup.answer(found),
        markup.edits([entry]),
        markup.localized(Localized({EVIL: 0.5}, EVIL, (EVIL,), "")),
        markup.fault(EditError(EVIL, EVIL)),
        *(markup.written(Written(e, found)) for e in (entry, ONE)),
        markup.written(Written(entry, Answer(EVIL, EVIL, None, [], 0.5))),
    ]
    assert all("<script" not in text and "&lt;script" in text for text in texts)


def test_an_answer_shows_both_the_route_and_its_scores() -> None:
    html = markup.answer(Answer("Ada", "", ONE, [(ONE, 0.9), (OTHER, 0.6)], 0.5))
    assert "Base model Ada Edited model (empty) Route: edit a1 , “Who?” → Ada" in shown(html)
    assert "0.500 or more" in html
    assert [bool("chosen" in row) for row in html.split("<tr")[2:]] == [True, False]


@pytest.mark.parametrize(
    ("relevance", "why"), [([], "no edit is in force"), ([(ONE, 0.1)], "no edit is relevant enough")]
)
def test_the_base_is_a_route_with_a_reason(relevance: list[tuple[Entry, float]], why: str) -> None:
    html = markup.answer(Answer("Ada", "Ada", None, relevance, 0.5))
    assert f"Route: base ({why})" in shown(html).replace(" (", " (")
    assert "changed" not in html and "chosen" not in html


def test_sites_have_bars_from_the_lowest_score_to_the_highest() -> None:
    found = Localized({"connector": -math.inf, "decoder.0": 0.2, "decoder.1": 0.4, "decoder.2": 0.3}, "x", (), "")
    html = markup.localized(found)
    assert re.findall(r"width:(\d+)%", html) == ["0", "100", "50"]
    assert "connector not possible" in shown(html)
    assert markup.BY_SCORE in html
    assert markup.BY_KIND in markup.localized(Localized({"a": 1.0}, "x", ("a",), "entity"))


def test_sites_that_are_written_to_are_marked() -> None:
    html = markup.localized(Localized({"a": 0.1, "b": 0.1}, "x", ("b",), ""))
    assert "b chosen" in shown(html) and "a chosen" not in shown(html)


@pytest.mark.parametrize("losses", [[2.0], [2.0, 2.0], [3.0, 0.0], [7.0, 1.0, 1e-4]])
def test_a_curve_of_any_losses_stays_in_its_frame(losses: list[float]) -> None:
    html = markup.steps([Step("a", i, loss) for i, loss in enumerate(losses)], 30)
    (points,) = re.findall(r'points="([^"]*)"', html)
    pairs = [tuple(map(float, pair.split(","))) for pair in points.split()]
    assert len(pairs) == len(losses)
    assert all(0 <= x <= markup.WIDTH and 0 <= y <= markup.HEIGHT for x, y in pairs)
    assert pairs == sorted(pairs)
    assert f"{losses[0]:.4g} at first" in html and f"after {len(losses) - 1} steps of at most 30" in html


def test_nothing_is_drawn_before_the_first_step() -> None:
    assert markup.steps([], 30) == ""


@pytest.mark.parametrize(
    ("again", "told"),
    [
        (Answer("Bo", "Ada", ONE, [(ONE, 0.9)], 0.5), "is written and answered so; before, the answer was Bo"),
        (Answer("Bo", "Bo", ONE, [(ONE, 0.9)], 0.5), "but its own question is answered Bo"),
        (Answer("Bo", "Bo", OTHER, [(OTHER, 0.9)], 0.5), "but its own question goes to “Where?” → Zz"),
        (Answer("Bo", "Bo", None, [(ONE, 0.1)], 0.5), "but the router still sends its own question to the base"),
    ],
)
def test_how_an_edit_went_is_told_honestly(again: Answer, told: str) -> None:
    html = markup.written(Written(ONE, again))
    assert told in shown(html)
    assert ("good" in html) == told.startswith("is written")


def test_edits_are_a_table_or_a_sentence() -> None:
    assert "No edits yet" in markup.edits([])
    html = markup.edits([ONE, OTHER])
    assert html.count("<tr data-state") == 2
    assert "in force Who? Ada connector a1" in shown(html)
