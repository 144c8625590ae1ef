"""Routing decisions of ``train.py`` as result rows: which are scored, when one is right; and what fills the index."""

from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, scored_together
from ldke_pl.metrics.results import BASE
from ldke_pl.runtime.training import _rows

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
