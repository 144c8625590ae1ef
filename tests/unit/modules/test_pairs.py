"""Pairs: what the data says about them, and their features on disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import Backbone
from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, load_image
from ldke_pl.data.shards.read import stored_cases
from ldke_pl.data.shards.stream import shard_loader
from ldke_pl.data.shards.write import write_shards
from ldke_pl.modules.pairs import PairTable, read_pairs, without_relations
from ldke_pl.router import FeatureReader

RELEVANT, OTHER, TOLD = ProbeKind.RELIABILITY, ProbeKind.IMAGE_LOCALITY, ProbeKind.TEXT_LOCALITY


@pytest.fixture(scope="module")
def cases(pictures: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> list[EditCase]:
    """Two edits of A, of which the second's locality probe asks for the leader in words, and one of B."""
    paths = [tmp_path_factory.getbasetemp() / f"picture-{i}.png" for i in range(4)]
    for path, image in zip(paths, pictures, strict=False):
        image.save(path)

    def case(number: int, entity: str, relation: str, *others: Probe) -> EditCase:
        request = EditRequest(paths[number], f"What is its {relation}?", f"new {relation}")
        own = [Probe(RELEVANT, i, request.prompt, None, entity, relation) for i in (request.image, None)]
        return EditCase(f"case-{number}", request, (*own, *others), "", entity, relation)

    return [
        case(0, "A", "leader", Probe(OTHER, paths[3], "What is this?", None, "", "name")),
        case(1, "A", "capital", Probe(TOLD, None, "Who leads A?", None, "A", "leader")),
        case(2, "B", "leader", Probe(TOLD, None, "What is the capital of A?", None, "A", "capital")),
    ]


@pytest.fixture(scope="module")
def reader(backbone: Backbone) -> FeatureReader:
    return FeatureReader(backbone, [0])


@pytest.fixture(scope="module")
def table(reader: FeatureReader, cases: list[EditCase]) -> PairTable:
    return read_pairs(reader, cases)


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


def test_features_are_read_once_per_question_and_found_by_probe(
    reader: FeatureReader, table: PairTable, cases: list[EditCase]
) -> None:
    assert len(table.queries["seen"]) == 8  # probes 1 and 7 ask the same in words
    assert table.places[1] == table.places[7]
    assert table.kinds == [p.kind.value for c in cases for p in c.probes]
    small = read_pairs(reader, cases, batch_size=2)
    for one, other in ((table.edits, small.edits), (table.queries, small.queries)):
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, atol=1e-5, rtol=1e-4)


def test_cache_gives_equal_tensors_and_is_missed_by_other_content(
    backbone: Backbone, cases: list[EditCase], table: PairTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    original: Callable[..., object] = FeatureReader.edits

    def counted(self: FeatureReader, requests: list[EditRequest]) -> object:
        reads.append(len(requests))
        return original(self, requests)

    monkeypatch.setattr(FeatureReader, "edits", counted)
    for _ in range(2):
        found = read_pairs(FeatureReader(backbone, [0]), cases, tmp_path)
        assert found.edits.keys() == table.edits.keys() and found.queries.keys() == table.queries.keys()
        assert all(torch.equal(found.edits[n], table.edits[n]) for n in table.edits)
        assert all(torch.equal(found.queries[n], table.queries[n]) for n in table.queries)
    assert reads == [3]
    renamed = replace(cases[0], request=replace(cases[0].request, target="something else"))
    shown = replace(cases[0], request=replace(cases[0].request, image=cases[1].request.image))
    for changed in (renamed, shown):
        read_pairs(FeatureReader(backbone, [0]), [changed, *cases[1:]], tmp_path)
    read_pairs(FeatureReader(backbone, [1]), cases, tmp_path)
    assert reads == [3] * 4
    assert len([*tmp_path.glob("features-*.safetensors")]) == len([*tmp_path.iterdir()]) == 4


def test_pictures_in_memory_or_in_shards_give_the_same_features(
    reader: FeatureReader, cases: list[EditCase], table: PairTable, tmp_path: Path
) -> None:
    write_shards(cases, tmp_path / "shards", cases_per_shard=2)
    streamed = [case for batch in shard_loader(tmp_path / "shards", 2, rank=0, world_size=1) for case in batch]
    cache = tmp_path / "cache"
    for given in (streamed, stored_cases(tmp_path / "shards"), cases):
        found = read_pairs(reader, given, cache)
        assert torch.equal(found.places, table.places)
        assert all(torch.equal(found.queries[n], table.queries[n]) for n in table.queries)
        assert all(torch.equal(found.edits[n], table.edits[n]) for n in table.edits)
    assert len([*cache.iterdir()]) == 1  # what is shown is the same, wherever it comes from
    repainted = load_image(cases[1].request.image or "")
    changed = replace(streamed[0], request=replace(streamed[0].request, image=repainted))
    read_pairs(reader, [changed, *streamed[1:]], cache)
    assert len([*cache.iterdir()]) == 2


def test_features_can_be_read_batch_by_batch_from_shards(
    reader: FeatureReader, cases: list[EditCase], table: PairTable, tmp_path: Path
) -> None:
    write_shards(cases, tmp_path, cases_per_shard=2)
    loaders = [shard_loader(tmp_path, 1, rank=rank, world_size=2) for rank in range(2)]
    parts = [reader.edits([case.request for case in batch]) for loader in loaders for batch in loader]
    for name, value in table.edits.items():
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), value, atol=1e-5, rtol=1e-4)
