"""The table shows the fault of every editor that is bad in a known way: real edits of Atlas, sent to wrong probes."""

from collections.abc import Callable

import pytest

from ldke_pl import EditedModel
from ldke_pl.config import DataConfig
from ldke_pl.data import EditCase, Probe
from ldke_pl.edits import Edit
from ldke_pl.metrics.answers import Answers
from ldke_pl.metrics.evaluator import Evaluator, Routes, Run
from ldke_pl.metrics.grouping import IntervalDict
from ldke_pl.metrics.summary import summarise
from ldke_pl.runtime.data import load_cases, sampled

CASES = 24

Rule = Callable[[EditCase, Probe], bool]
"""Whether a bad editor answers a probe under its case's edit."""

GOOD: Rule = lambda _, probe: not probe.kind.is_locality  # noqa: E731


def asked_like_the_edit(case: EditCase, probe: Probe) -> bool:
    return probe.prompt == case.request.prompt


def asks_the_same(case: EditCase, probe: Probe) -> bool:
    return probe.image is not None and probe.relation == case.relation


def on_a_picture_of_its_thing(case: EditCase, probe: Probe) -> bool:
    return probe.image is not None and probe.entity == case.entity


BAD: dict[str, tuple[Rule, set[tuple[str, str]]]] = {
    "memorises the prompt": (
        asked_like_the_edit,
        {(g, k) for g in ("entity", "attribute") for k in ("text_generality", "portability_1")},
    ),
    "ignores the picture": (
        lambda c, p: GOOD(c, p) or asks_the_same(c, p),
        {("entity", "visual_locality"), ("attribute", "visual_locality")},
    ),
    "changes everything": (
        lambda *_: True,
        {(g, k) for g in ("entity", "attribute") for k in ("image_locality", "visual_locality")},
    ),
    "skips text-only input": (
        lambda c, p: GOOD(c, p) and p.image is not None,
        {("attribute", "portability_1")},
    ),
    "routes on the same picture": (
        lambda c, p: GOOD(c, p) or on_a_picture_of_its_thing(c, p),
        {("entity", "finegrained_locality"), ("attribute", "finegrained_locality")},
    ),
}
"""What is wrong with an editor -> where it sends its edits, and the (group, kind) figures that must fall for it."""

SLIGHT = ("entity", "image_locality")
"""Sent to other pictures, entity edits change 7 of 24 validation answers: beyond chance, but about 0.3."""


@pytest.fixture(scope="module")
def evaluated() -> tuple[Evaluator, list[Edit], Answers]:
    """Validation edits of both kinds made by LDKE, and every probe under its own case's edit."""
    edited = EditedModel.from_pretrained("atlas")
    cases = sampled(load_cases(DataConfig(), "router-val"), CASES)
    evaluator = Evaluator(edited.backbone, cases, ["generate"], 64)
    evaluator.ask_base()
    edits = edited.editor.edit([case.request for case in cases])
    return evaluator, edits, evaluator.forced(edits)


def figures(evaluated: tuple[Evaluator, list[Edit], Answers], rule: Rule) -> dict[tuple[str, str], IntervalDict]:
    """By (group, kind), what the table shows of edits sent where ``rule`` says."""
    evaluator, edits, unrouted = evaluated
    routes = [own if rule(*item) else -1 for own, item in zip(evaluator.own_routes(), evaluator.items, strict=True)]
    rows = evaluator.rows(Run("bad", "single", 0), edits, unrouted, Routes(routes))
    groups = summarise(rows, index_sizes={"single": 1})["bad"]["single"]["protocol"]["generate"]
    return {(g, kind): v for g, kinds in groups.items() if g != "all" for kind, v in kinds.items()}


def test_edits_that_go_where_they_belong_have_no_fault(evaluated: tuple[Evaluator, list[Edit], Answers]) -> None:
    found = figures(evaluated, GOOD)
    watched = {key for _, fallen in BAD.values() for key in fallen}
    assert all(found[key]["value"] >= 0.9 for key in watched), found


@pytest.mark.parametrize("fault", BAD)
def test_the_table_shows_the_fault(evaluated: tuple[Evaluator, list[Edit], Answers], fault: str) -> None:
    rule, fallen = BAD[fault]
    good, bad = figures(evaluated, GOOD), figures(evaluated, rule)
    for key in fallen:
        assert bad[key]["hi"] < good[key]["lo"], (key, good[key], bad[key])  # no reader takes it for chance
        assert key == SLIGHT or bad[key]["value"] <= good[key]["value"] - 0.3, (key, good[key], bad[key])
    for group in {group for group, _ in fallen}:
        assert bad[group, "average"]["value"] < good[group, "average"]["value"]
