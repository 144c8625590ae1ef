"""Features are read once each, by however many ranks, and found again on disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_reading import bank_of, three_cases

from ldke_pl.backbone import Backbone
from ldke_pl.data import EditCase, EditRequest, load_image
from ldke_pl.data.shards.read import stored_cases
from ldke_pl.data.shards.stream import shard_loader
from ldke_pl.data.shards.write import write_shards
from ldke_pl.errors import ConfigError
from ldke_pl.modules.features import FeatureBank
from ldke_pl.router import FeatureReader, Features


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[EditCase]:
    return three_cases(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def reader(backbone: Backbone) -> FeatureReader:
    return FeatureReader(backbone, [0])


@pytest.fixture(scope="module")
def bank(reader: FeatureReader, cases: list[EditCase], tmp_path_factory: pytest.TempPathFactory) -> FeatureBank:
    return bank_of(reader, cases, tmp_path_factory.mktemp("features"))


def assert_alike(bank: FeatureBank, other: FeatureBank, exactly: bool = False) -> None:
    tolerance = 0.0 if exactly else 1e-4
    for one, two in ((bank.edits, other.edits), (bank.queries, other.queries)):
        assert one.keys() == two.keys()
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, atol=tolerance / 10, rtol=tolerance)


def test_features_are_those_of_a_reader_asked_directly(
    reader: FeatureReader, bank: FeatureBank, cases: list[EditCase]
) -> None:
    def close(found: Features, wanted: Features) -> None:
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)

    requests = [c.request for c in cases]
    close(bank.of_edits(requests[::-1]), reader.edits(requests[::-1]))
    asked = [cases[2].probes[0], cases[0].probes[2]]
    questions = [reader.questions([p]) for p in asked]  # type: ignore[list-item]
    close(bank.of_questions(asked), {n: torch.cat([q[n] for q in questions]) for n in questions[0]})  # type: ignore[arg-type]
    assert len(bank.queries["seen"]) == 8  # two of nine probes ask the same in words


def test_size_of_batches_and_precision_of_the_trainer_do_not_matter(
    reader: FeatureReader, bank: FeatureBank, cases: list[EditCase], tmp_path: Path
) -> None:
    assert_alike(bank, bank_of(reader, cases, tmp_path / "small", batch_size=2))
    assert_alike(bank, bank_of(reader, cases, tmp_path / "half", precision="bf16-mixed"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process whose autograd has used a GPU cannot fork")
def test_two_ranks_read_everything_once(
    reader: FeatureReader, bank: FeatureBank, cases: list[EditCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    torch.set_num_threads(1)
    original: Callable[..., Features] = FeatureReader.questions

    def noted(self: FeatureReader, questions: list[object]) -> Features:
        with (tmp_path / "asked").open("a") as file:
            file.writelines(f"{q}\n" for q in questions)
        return original(self, questions)  # type: ignore[arg-type]

    def asked() -> list[str]:
        lines = sorted((tmp_path / "asked").read_text().splitlines())
        (tmp_path / "asked").unlink()
        return lines

    monkeypatch.setattr(FeatureReader, "questions", noted)
    assert_alike(bank, bank_of(reader, cases, tmp_path / "two", batch_size=1, devices=2))
    shared = asked()
    bank_of(reader, cases, tmp_path / "one", batch_size=1)
    assert shared == asked()
    assert len([*(tmp_path / "two").iterdir()]) == 1
    with pytest.raises(ConfigError, match="1 edits and 3 questions cannot be shared by 2"):
        bank_of(reader, cases[:1], tmp_path / "two", devices=2)


def test_cache_gives_equal_tensors_and_is_missed_by_other_content(
    backbone: Backbone, cases: list[EditCase], bank: FeatureBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    original: Callable[..., object] = FeatureReader.edits

    def counted(self: FeatureReader, requests: list[EditRequest]) -> object:
        reads.append(len(requests))
        return original(self, requests)

    monkeypatch.setattr(FeatureReader, "edits", counted)
    for _ in range(2):
        assert_alike(bank, bank_of(FeatureReader(backbone, [0]), cases, tmp_path), exactly=True)
    assert reads == [3]
    renamed = replace(cases[0], request=replace(cases[0].request, target="something else"))
    shown = replace(cases[0], request=replace(cases[0].request, image=cases[1].request.image))
    for changed in (renamed, shown):
        bank_of(FeatureReader(backbone, [0]), [changed, *cases[1:]], tmp_path)
    bank_of(FeatureReader(backbone, [1]), cases, tmp_path)
    assert reads == [3] * 4
    assert len([*tmp_path.glob("features-*.safetensors")]) == len([*tmp_path.iterdir()]) == 4


def test_pictures_in_memory_or_in_shards_give_the_same_features(
    reader: FeatureReader, cases: list[EditCase], bank: FeatureBank, tmp_path: Path
) -> None:
    write_shards(cases, tmp_path / "shards", cases_per_shard=2)
    streamed = [case for batch in shard_loader(tmp_path / "shards", 2, rank=0, world_size=1) for case in batch]
    cache = tmp_path / "cache"
    for given in (streamed, stored_cases(tmp_path / "shards"), cases):
        assert_alike(bank, bank_of(reader, given, cache), exactly=True)
    assert len([*cache.iterdir()]) == 1  # what is shown is the same, wherever it comes from
    repainted = load_image(cases[1].request.image or "")
    changed = replace(streamed[0], request=replace(streamed[0].request, image=repainted))
    bank_of(reader, [changed, *streamed[1:]], cache)
    assert len([*cache.iterdir()]) == 2
