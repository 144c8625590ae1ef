"""Edits that change what is asked in place of the model, and edits that share one change, in the evaluator."""

import torch

from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, Question
from ldke_pl.edits import Delta, Edit
from ldke_pl.metrics.evaluator import Evaluator, _ends_aligned


def test_predictions_are_put_where_they_are_without_a_context() -> None:
    ids = torch.arange(2 * 6).reshape(2, 6, 1)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])  # with two tokens of context each
    wanted = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    assert _ends_aligned(ids, mask, wanted)[..., 0].tolist() == [[2, 3, 4, 5], [8, 9, 0, 0]]


def test_predictions_of_a_shorter_question_stand_at_its_end() -> None:
    ids = torch.tensor([[[7], [8], [0]]])
    found = _ends_aligned(ids, torch.tensor([[1, 1, 0]]), torch.tensor([[1, 1, 1, 1]]))
    assert found[..., 0].tolist() == [[0, 0, 7, 8]]


def test_a_question_is_asked_as_the_edit_says() -> None:
    asked = Question("picture.png", "Who is this?")
    told = Edit("a", "Who?", "Ada", (), {}, context="It is Ada.")
    assert told.asked(asked) == Question("picture.png", "It is Ada. Who is this?")
    assert Edit("a", "Who?", "Ada", (), {}, blind=True).asked(asked) == Question(None, "Who is this?")
    assert Edit("a", "Who?", "Ada", (), {}).asked(asked) == asked
    assert not told.changes_nothing and Edit("a", "Who?", "Ada", (), {}).changes_nothing
    assert told.n_bytes == len("It is Ada.")


def test_a_query_that_goes_to_a_shared_change_goes_to_its_own_edit() -> None:
    probes = (Probe(ProbeKind.RELIABILITY, None, "Who?", "Ada"),)
    cases = [EditCase(f"c{i}", EditRequest(None, "Who?", "Ada"), probes) for i in range(3)]
    evaluator = Evaluator(None, cases, ["generate"], 4)  # type: ignore[arg-type]
    shared = {"layer": Delta((torch.ones(1, 1),))}
    edits = [Edit(f"e{i}", "Who?", "Ada", (), shared if i < 2 else dict(shared)) for i in range(3)]
    relevance = torch.tensor([[0.9, 0.9, 0.1], [0.9, 0.8, 0.1], [0.9, 0.2, 0.1]])
    assert evaluator.joint_routes(relevance, edits, [0, 1, 2], 0.5).edits == [0, 1, 0]
    assert evaluator.joint_routes(relevance, edits, [0, 1, 2], 0.95).edits == [-1, -1, -1]
