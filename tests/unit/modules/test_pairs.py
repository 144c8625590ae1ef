"""Pairs: what the data says about them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_reading import bank_of, three_cases

from ldke_pl.backbone import Backbone
from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind
from ldke_pl.modules.pairs import PairTable, pair_table, without_relations
from ldke_pl.router import FeatureReader


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[EditCase]:
    return three_cases(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def table(backbone: Backbone, cases: list[EditCase], tmp_path_factory: pytest.TempPathFactory) -> PairTable:
    return pair_table(cases, bank_of(FeatureReader(backbone, [0]), cases, tmp_path_factory.mktemp("features")))


def test_labels_say_what_the_data_says(table: PairTable) -> None:
    labels = table.labels(torch.arange(3), torch.arange(9))
    assert labels.tolist() == [
        [1, -1, 0],  # on a picture of A, and the other edit of A is told apart in words alone
        [1, 0, 0],  # in words, where the second case's locality probe asks for the leader
        [0, 0, 0],  # about nobody
        [-1, 1, 0],
        [-1, 1, 0],
        [-1, 0, 0],  # the leader of A, which is what the first edit changes
        [0, 0, 1],
        [0, 0, 1],
        [-1, -1, 0],  # the capital of A, which is what the second edit changes
    ]


def test_labels_follow_the_chosen_cases_and_probes(table: PairTable) -> None:
    cases, probes = torch.tensor([2, 0]), torch.tensor([6, 3, 0])
    assert table.labels(cases, probes).tolist() == [[1, 0], [0, -1], [0, 1]]


def test_things_are_first_pictured_cases_of_entities(table: PairTable) -> None:
    assert table.things().tolist() == [0, 2]
    in_words = replace(table, edits=table.edits | {"seen": torch.tensor([[0.0], [1.0], [0.0]])})
    assert in_words.things().tolist() == [1]


def test_held_out_relations_leave_no_trace(cases: list[EditCase]) -> None:
    kept = without_relations(cases, {"capital"})
    assert [c.case_id for c in kept] == ["case-0", "case-2"]
    assert [len(c.probes) for c in kept] == [3, 2]
    assert without_relations(cases, set()) == cases


def test_probes_that_ask_the_same_share_a_row(table: PairTable, cases: list[EditCase]) -> None:
    assert len(table.queries["seen"]) == 8  # probes 1 and 7 ask the same in words
    assert table.places[1] == table.places[7]
    assert table.kinds == [p.kind.value for c in cases for p in c.probes]


def test_an_edit_of_the_second_hop_does_not_leave_it_alone(
    backbone: Backbone, cases: list[EditCase], tmp_path: Path
) -> None:
    first, _, other = cases
    leader = Probe(ProbeKind.FINEGRAINED_LOCALITY, first.request.image, "Who leads it?", None, "A", "leader")
    hop = Probe(ProbeKind.PORTABILITY_2, first.request.image, "Where was its leader born?", None, "A", "birthplace")
    river = Probe(ProbeKind.PORTABILITY_2, first.request.image, "Which river?", None, "A", "river")
    born = EditCase("born", EditRequest(hop.image, hop.prompt, "there"), (leader,), "", "A", "birthplace")
    rows = [replace(first, probes=(hop, river)), born, other]
    table = pair_table(rows, bank_of(FeatureReader(backbone, [0]), rows, tmp_path))
    assert table.labels(torch.arange(3), torch.arange(2)).tolist() == [[1, -1, 0], [1, 0, 0]]
