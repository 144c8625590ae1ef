"""Streaming: every case once over any number of ranks and workers, in an order that can be gone on with."""

import json
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from PIL import Image
from shard_cases import decoded, images, make_cases, text_case

from ldke_pl.data import EditCase, StoredImage
from ldke_pl.data.shards import stream
from ldke_pl.data.shards.stream import shard_loader
from ldke_pl.data.shards.write import write_shards
from ldke_pl.errors import ConfigError

Batches = list[list[str]]
COUNT = 11


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[EditCase]:
    return make_cases(tmp_path_factory.mktemp("pictures"), COUNT)


@pytest.fixture(scope="module")
def folder(cases: list[EditCase], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards, so that four readers are more than there are shards; the last has a single case."""
    path = tmp_path_factory.mktemp("shards")
    assert len(write_shards(cases, path, cases_per_shard=5).shards) == 3
    return path


def batches(folder: Path, rank: int = 0, world_size: int = 1, **rest: int | str | None) -> Batches:
    loader = shard_loader(folder, 2, rank=rank, world_size=world_size, **rest)  # type: ignore[arg-type]
    found = [[case.case_id for case in batch] for batch in loader]
    assert len(found) == len(loader)
    return found


def ids(given: Batches) -> list[str]:
    return [case_id for batch in given for case_id in batch]


@pytest.mark.parametrize("start", ["fork", "spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_two_ranks_of_two_workers_read_every_case_once(start: str, folder: Path, cases: list[EditCase]) -> None:
    found = [batches(folder, rank, 2, workers=2, start=start) for rank in range(2)]
    assert Counter(ids(found[0]) + ids(found[1])) == Counter(case.case_id for case in cases)
    assert [len(part) for part in found] == [3, 3]
    assert found == [batches(folder, rank, 2) for rank in range(2)]


def test_every_case_once_for_any_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (1, 2, 3, 4, 7, 12):
        cases = [text_case(i) for i in range(count)]
        write_shards(cases, tmp_path / str(count), cases_per_shard=3)
        for ranks, workers, size, seed in product((1, 2, 3, 5), (1, 2, 3), (1, 2, 5), (None, 0)):
            found = []
            lengths = set()
            for rank in range(ranks):
                made = stream.CaseStream(
                    tmp_path / str(count), size, rank=rank, world_size=ranks, seed=seed, epoch=0, done=0
                )
                lengths.add(len(made))
                parts = []
                for worker in range(workers):
                    info = SimpleNamespace(id=worker, num_workers=workers)
                    monkeypatch.setattr(stream, "get_worker_info", lambda info=info: info)
                    parts += list(made)
                assert len(parts) == len(made)
                assert all(0 < len(batch) <= size for batch in parts)
                found += [case for batch in parts for case in batch]
            assert Counter(case.case_id for case in found) == Counter(case.case_id for case in cases)
            assert len(lengths) == 1 or (max(lengths) - min(lengths) == 1 and (size == 1 or count < ranks))


def test_pictures_are_decoded_once_per_batch(folder: Path, cases: list[EditCase], tmp_path: Path) -> None:
    found = [case for batch in shard_loader(folder, 4, rank=0, world_size=1) for case in batch]
    assert [decoded(case) for case in found] == [decoded(case) for case in cases]
    shown = images(found[1])
    assert all(isinstance(image, Image.Image) and image.mode == "RGB" for image in shown)
    assert [len(shown), len({id(image) for image in shown})] == [6, 3]
    write_shards([cases[1], replace(cases[1], case_id="twin")], tmp_path, cases_per_shard=1)
    one, twin = next(iter(shard_loader(tmp_path, 2, rank=0, world_size=1, workers=1, start="fork")))
    assert one.request.image is twin.request.image


def test_shuffle_is_the_same_again_and_other_in_another_epoch(folder: Path, cases: list[EditCase]) -> None:
    orders = [ids(batches(folder, seed=seed, epoch=epoch)) for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert orders[0] == orders[1] == ids(batches(folder, seed=0, workers=2, start="fork"))
    assert len({tuple(order) for order in orders}) == 3
    written = [case.case_id for case in cases]
    assert all(sorted(order) == sorted(written) and order != written for order in orders)
    assert ids(batches(folder)) == written


@pytest.mark.parametrize(("workers", "seed"), [(0, None), (0, 3), (2, 3)])
def test_reading_goes_on_where_it_stopped(workers: int, seed: int | None, folder: Path) -> None:
    whole = batches(folder, 1, 2, seed=seed)
    for done in range(len(whole) + 1):
        assert batches(folder, 1, 2, seed=seed, done=done, workers=workers) == whole[done:]


def test_pictures_of_what_is_done_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    original = StoredImage.read

    def read(image: StoredImage) -> bytes:
        reads.append(str(image))
        return original(image)

    monkeypatch.setattr(StoredImage, "read", read)
    left = ids(batches(folder, done=5))
    assert left == ["set-eval-000009", "set/é.010"]
    assert len(reads) == 3
    assert all("%2E010." in name for name in reads)


def test_numbers_out_of_range_are_refused(folder: Path) -> None:
    for given in ({"rank": 2}, {"rank": -1}, {"world_size": 0}, {"done": -1}):
        with pytest.raises(ConfigError, match="Shards cannot be read with"):
            batches(folder, **({"rank": 0, "world_size": 2} | given))
    with pytest.raises(ConfigError, match="batch_size=0"):
        shard_loader(folder, 0, rank=0, world_size=1)


class Notes(L.LightningModule):
    """Notes the cases that its rank is given."""

    def __init__(self, shards: Path, notes: Path) -> None:
        super().__init__()
        self.shards, self.notes, self.seen = shards, notes, Batches()

    def predict_dataloader(self) -> object:
        trainer = self.trainer
        return shard_loader(self.shards, 2, rank=trainer.global_rank, world_size=trainer.world_size, workers=2)

    def transfer_batch_to_device(
        self, batch: list[EditCase], device: torch.device, dataloader_idx: int
    ) -> list[EditCase]:
        return batch

    def predict_step(self, batch: list[EditCase]) -> None:
        self.seen.append([case.case_id for case in batch])

    def on_predict_epoch_end(self) -> None:
        (self.notes / f"{self.trainer.global_rank}.json").write_text(json.dumps(self.seen))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process whose autograd has used a GPU cannot fork")
def test_two_lightning_processes_read_every_case_once(
    folder: Path, cases: list[EditCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    torch.set_num_threads(1)
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp_fork", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.predict(Notes(folder, tmp_path), return_predictions=False)
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert Counter(ids(found[0]) + ids(found[1])) == Counter(case.case_id for case in cases)
    assert found == [batches(folder, rank, 2) for rank in range(2)]
