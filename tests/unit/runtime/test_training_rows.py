"""Routing decisions of ``train.py`` as result rows: which are scored, when one is right; and what fills the index."""

from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, scored_together
from ldke_pl.metrics.results import BASE
from ldke_pl.modules.pairs import PairTable
from ldke_pl.runtime.training import _rows, calibrate, distractors

RIGHT = ProbeKind.RELIABILITY, ProbeKind.ENTITY_LOCALITY


def case(name: str, relation: str, *, joint: bool = True) -> EditCase:
    """A case about entity ``name`` with one relevant probe and a locality probe about the capital of A."""
    probes = (
        Probe(RIGHT[0], None, "Who?", "Ada", name, relation),
        Probe(RIGHT[1], None, "What?", None, "A", "capital"),
    )
    return EditCase(f"case-{name}", EditRequest(None, "Who?", "Ada"), probes, "g", name, relation, joint=joint)


CASES = [case("A", "leader"), case("B", "leader", joint=False), case("C", "leader")]
EVERY_PROBE = {number: [True, True] for number in range(3)}


def test_single_rows_cover_every_probe() -> None:
    rows = list(_rows("single", CASES, [0, -1, -1, 1, 2, -1], EVERY_PROBE))
    assert [row.case_id for row in rows] == ["case-A", "case-A", "case-B", "case-B", "case-C", "case-C"]
    assert [row.relevant for row in rows] == [True, False] * 3
    assert [row.route for row in rows] == ["case-A", BASE, BASE, "case-B", "case-C", BASE]
    assert [row.score for row in rows] == [1, 1, 0, 0, 1, 1]
    assert all(row.score == row.score_unrouted == row.score_no_edit for row in rows)


def test_query_sent_to_another_edit_is_wrong() -> None:
    rows = list(_rows("joint", CASES, [2, 2, 0, 0, 0, -1], {0: [True, True], 2: [True, True]}))
    assert [(row.case_id, row.score) for row in rows] == [
        ("case-A", 0),
        ("case-A", 0),
        ("case-C", 0),
        ("case-C", 1),
    ]


def test_joint_rows_leave_out_what_another_edit_answers() -> None:
    edited = [CASES[0], CASES[1], case("A", "capital")]
    scored = dict(zip((0, 2), scored_together([edited[0], edited[2]]), strict=True))
    rows = list(_rows("joint", edited, [0, -1, -1, -1, 2, -1], scored))
    assert [(row.case_id, row.kind) for row in rows] == [("case-A", RIGHT[0].value), ("case-A", RIGHT[0].value)]


def test_distractors_are_edits_of_what_is_not_in_the_cohort() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    table = PairTable(
        {"seen": torch.ones(4, 1)}, {}, nothing, nothing, nothing,
        edit_entity=torch.tensor([0, 0, 1, 2]), probe_entity=nothing, kinds=[], apart=nothing,
    )  # fmt: skip
    assert distractors(table, 1).tolist() == [2, 3]
    assert distractors(table, 2).tolist() == [3]
    assert distractors(table, 3).tolist() == []


def test_calibration_ignores_edits_that_may_bear_on_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe 1 is about the entity of both edits: that it goes to the other one is no fault the data knows of."""

    def table(about: int) -> PairTable:
        return PairTable(
            {"seen": torch.zeros(2, 1)}, {}, places=torch.arange(2), owner=torch.tensor([0, 1]),
            relevant=torch.tensor([True, False]), edit_entity=torch.zeros(2, dtype=torch.long),
            probe_entity=torch.tensor([0, about]), kinds=["reliability", "entity_locality"],
            apart=torch.zeros(2, 2, dtype=torch.bool),
        )  # fmt: skip

    def relevance(_router: object, asked: PairTable, edits: PairTable, *_: object) -> Tensor:
        return torch.tensor([[0.8, 0.0], [0.6, 0.1]]) if edits is asked else torch.zeros(2, 1)

    monkeypatch.setattr("ldke_pl.runtime.training._relevance", relevance)
    router = Mock(**{"classifier.shape": {"cohort": 1}})
    assert 0.1 < calibrate(router, table(0), table(0)) < 0.6
    assert 0.6 < calibrate(router, table(1), table(0)) < 0.8
