"""Calibration: the threshold and the trust that route validation probes best among many other things."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ldke_pl.modules.calibration import THRESHOLDS, Judgements, calibrated, expected_quality
from ldke_pl.router.similarities import both

SURE = 20.0


def judgements(thing: Tensor, question: Tensor | None = None, kinds: list[str] | None = None) -> Judgements:
    """Each of the first half of the probes is relevant to the edit of its number, the others ask about nothing."""
    edits = thing.shape[1]
    return Judgements(
        thing,
        torch.full_like(thing, SURE) if question is None else question,
        own=torch.arange(2 * edits) % edits,
        relevant=torch.arange(2 * edits) < edits,
        kinds=kinds or ["reliability"] * edits + ["image_locality"] * edits,
        edit_entity=torch.arange(edits),
        probe_entity=torch.cat([torch.arange(edits), torch.full((edits,), -1)]),
    )


def of_own(relevant: Tensor, irrelevant: Tensor, others: float = -SURE) -> Tensor:
    """Logits of (probes, edits): these against a probe's own edit, ``others`` elsewhere."""
    edits = len(relevant)
    thing = torch.full((2 * edits, edits), others)
    thing[torch.arange(edits), torch.arange(edits)] = relevant
    thing[edits + torch.arange(edits), torch.arange(edits)] = irrelevant
    return thing


def test_the_threshold_is_the_middle_of_those_that_do_equally_well() -> None:
    found = judgements(of_own(torch.full((4,), 1.4), torch.full((4,), -1.4)))  # 0.8 and 0.2
    threshold, _ = calibrated(found, 100)
    assert abs(threshold - 0.5) < 0.02
    assert float(expected_quality(found, 0.0, 100).max()) == pytest.approx(1)


def test_kinds_count_alike() -> None:
    thing = of_own(torch.full((9,), 0.0), torch.full((9,), 0.4))  # 0.5 and 0.6
    kinds = ["a"] * 9 + ["b"] + ["c"] * 8
    threshold, _ = calibrated(judgements(thing, kinds=kinds), 1)
    assert threshold > 0.59
    threshold, _ = calibrated(judgements(thing, kinds=["a"] + ["d"] * 4 + ["e"] * 4 + ["b"] * 9), 1)
    assert threshold <= 0.5


def test_alarms_of_other_things_weigh_by_how_many_things_there_are() -> None:
    """One probe is taken for another thing at 0.73, and one of the relevant is found up to 0.6 only."""
    edits = 20
    thing = of_own(torch.full((edits,), 3.0), torch.full((edits,), -SURE))
    thing[3, 3] = 0.4
    thing[edits + 7, 8] = 1.0
    found = judgements(thing)
    few, many = calibrated(found, 1)[0], calibrated(found, 1000)[0]
    assert few < 0.6 and 0.73 < many < 0.95
    spared = (1 - 1 / (edits * (edits - 1))) ** 50
    assert float(expected_quality(found, 0.0, 50)[60]) == pytest.approx((1 - 1 / edits + spared) / 2, abs=1e-3)


def test_what_may_bear_on_a_probe_is_no_false_alarm() -> None:
    """Edits of what a probe is about, or of its own edit's entity, are no other things."""
    thing = of_own(torch.full((4,), SURE), torch.full((4,), -SURE))
    thing[5, 2] = SURE
    wrong = judgements(thing)
    assert float(expected_quality(wrong, 0.0, 100).max()) < 0.99
    about = replace(wrong, probe_entity=torch.tensor([0, 1, 2, 3, -1, 2, -1, -1]))
    assert float(expected_quality(about, 0.0, 100).max()) == pytest.approx(1)
    same = replace(wrong, edit_entity=torch.tensor([0, 1, 1, 3]))
    assert float(expected_quality(same, 0.0, 100).max()) == pytest.approx(1)


def test_trust_saves_questions_in_strange_words_without_alarms_from_other_things() -> None:
    """Other things come near by the thing stream; relevant questions in strange words are weak by the other."""
    edits = 12
    thing = of_own(torch.full((edits,), 4.0), torch.full((edits,), -SURE), 1.2)
    question = torch.full_like(thing, SURE)
    question[:6] = 0.0
    threshold, trust = calibrated(judgements(thing, question), 100)
    assert trust > 0
    passed = both(thing, question + trust) >= torch.tensor(threshold).logit()
    assert passed[torch.arange(edits), torch.arange(edits)].all()
    assert passed.sum() == edits


def test_where_nothing_makes_a_difference_the_middle_is_taken() -> None:
    found = judgements(of_own(torch.full((4,), SURE), torch.full((4,), -SURE)))
    assert calibrated(found, 100) == (pytest.approx(float(THRESHOLDS[49]), abs=0.02), 1.5)
