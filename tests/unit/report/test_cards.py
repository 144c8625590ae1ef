"""Which edits are shown, in which order, and what counts as a failure."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ldke_pl.metrics.results import ProbeResult
from ldke_pl.report.cards import cards, choose, fault, outcomes

MakeRow = Callable[..., ProbeResult]


@pytest.mark.parametrize(
    ("changes", "named", "filed"),
    [
        ({}, "", "passed"),
        ({"score": 0.0}, "wrong answer", "failed, wrong answer"),
        ({"score": 0.5}, "score 0.50", "failed, wrong answer"),
        ({"route": "base"}, "missed: went to the base", "failed, missed"),
        ({"route": "e7"}, "misrouted: went to another edit", "failed, misrouted"),
        ({"score": 0.0, "route": "base"}, "wrong answer; missed: went to the base", "failed, wrong answer, missed"),
        ({"relevant": False, "route": "base"}, "", "passed"),
        ({"relevant": False, "route": "e0"}, "leaked: went to this edit", "failed, leaked"),
        ({"relevant": False, "route": "e7"}, "leaked: went to another edit", "failed, leaked"),
        ({"relevant": False, "route": "e0", "threshold": None}, "", "passed"),
    ],
)
def test_faults(make_row: MakeRow, changes: dict[str, Any], named: str, filed: str) -> None:
    assert fault(make_row(**changes)) == named
    assert ", ".join(outcomes(make_row(**changes))) == filed


def test_a_card_holds_the_rows_of_one_edit_failures_first(make_row: MakeRow) -> None:
    rows = [
        make_row(kind="portability_1", prompt="p"),
        make_row(kind="text_generality", score=0.0),
        make_row(kind="reliability", prompt="what?", expected="this"),
        make_row(case_id="c1"),
        make_row(mode="joint"),
        make_row(seed=1),
        make_row(method="ft_l"),
    ]
    first, *others = cards(rows)
    assert first.request == rows[2]
    assert [row.kind for row in first.rows] == ["text_generality", "reliability", "portability_1"]
    assert first.failed == (rows[1],)
    assert [card.rows for card in others] == [(row,) for row in rows[3:]]


def test_no_edit_makes_no_card(make_row: MakeRow) -> None:
    assert cards([make_row(method="no_edit", edit_id="", route="base"), make_row(edit_id="base", route="base")]) == []


def test_generated_answers_go_before_other_protocols(make_row: MakeRow) -> None:
    masked, generated = make_row(protocol="masked"), make_row(score=0.0)
    assert [card.rows for card in cards([masked, generated])] == [(generated,)]
    assert [card.rows for card in cards([masked])] == [(masked,)]


def test_a_case_without_its_reliability_row(make_row: MakeRow) -> None:
    (card,) = cards([make_row(kind="text_locality", relevant=False, route="base")])
    assert card.request is None
    assert card.any.kind == "text_locality"


def test_failures_are_the_worst_of_each_method_and_mode(make_row: MakeRow) -> None:
    rows = [
        make_row(method=method, case_id=f"c{case}", kind=kind, score=float(number >= case))
        for method in ("ft_l", "ldke")
        for case in range(4)
        for number, kind in enumerate(("reliability", "text_generality", "image_generality"))
    ]
    choice = choose(cards(rows), failures=3, sample=0)
    assert [(card.any.method, card.any.case_id) for card in choice.failed] == [
        ("ft_l", "c3"), ("ft_l", "c2"), ("ldke", "c3"),
    ]  # fmt: skip
    assert (choice.n_failed, choice.n_edits, choice.sample) == (6, 8, ())


def test_the_sample_is_even_over_groups_then_methods(make_row: MakeRow) -> None:
    rows = [
        make_row(method=method, case_id=f"c{case}", group="rare" if case % 10 == 0 else "common")
        for method in ("ldke", "ft_l")
        for case in range(40)
    ]
    choice = choose(cards(rows), failures=5, sample=8)
    assert Counter((card.any.group, card.any.method) for card in choice.sample) == dict.fromkeys(
        [("rare", "ldke"), ("rare", "ft_l"), ("common", "ldke"), ("common", "ft_l")], 2
    )
    commons = [int(card.any.case_id[1:]) for card in choice.sample if card.any.group == "common"]
    assert max(commons) - min(commons) > 15, "from all over the data, not from its start"


def test_the_sample_repeats_no_failure_and_takes_what_there_is(make_row: MakeRow) -> None:
    rows = [make_row(case_id=f"c{case}", score=float(case > 1)) for case in range(5)]
    choice = choose(cards(rows), failures=1, sample=100)
    assert [card.any.case_id for card in choice.failed] == ["c0"]
    assert [card.any.case_id for card in choice.sample] == ["c1", "c2", "c3", "c4"]
