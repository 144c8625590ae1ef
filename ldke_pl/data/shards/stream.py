"""Batches of cases from shards, every case exactly once over ranks and workers. Ours.

webdataset's own splitting gives whole shards to whoever reads, finds the rank in the reading process, and so reads
everything several times in workers that are spawned, and nothing where there are more readers than shards. Here the
cases are split, by a rank and a number of ranks that are fixed when the stream is made and travel with it.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ldke_pl.data.images import load_image
from ldke_pl.data.records import EditCase
from ldke_pl.data.shards.index import Place, open_index
from ldke_pl.data.shards.record import unpack
from ldke_pl.data.stored import StoredImage
from ldke_pl.errors import ConfigError


class CaseStream(IterableDataset[list[EditCase]]):
    """One rank's batches of cases, with decoded pictures (RGB); the same picture in a batch is the same object.

    The order depends neither on the number of workers nor on how they are started. Ranks have cases that follow each
    other, in numbers that differ by one at most, and so do a rank's batches. All ranks have as many batches, with two
    exceptions: fewer cases than ranks, and batches of one case; then some ranks have one batch fewer.

    Args:
        folder: what :func:`ldke_pl.data.shards.write.write_shards` wrote.
        batch_size: most cases in a batch.
        rank: number of this process among all that read, from 0.
        world_size: number of processes that read.
        seed: order of the cases, anew in every epoch; None for the order in which they were written.
        epoch: number of this pass.
        done: batches of this epoch that this rank has had already; none of their cases is read.

    Raises:
        ConfigError: a number is out of range.
        DataError: the folder cannot be read, or, while reading, a shard is missing, truncated or altered.
    """

    def __init__(
        self, folder: Path, batch_size: int, *, rank: int, world_size: int, seed: int | None, epoch: int, done: int
    ) -> None:
        if batch_size < 1 or done < 0 or not 0 <= rank < world_size:
            given = f"batch_size={batch_size}, done={done}, rank={rank}, world_size={world_size}"
            raise ConfigError(
                f"Shards cannot be read with {given}.", "Give batch_size >= 1, done >= 0, 0 <= rank < world_size."
            )
        places = list(open_index(folder).places(folder))
        # A full shuffle, as a case is found without reading its neighbours.
        order = range(len(places)) if seed is None else np.random.default_rng((seed, epoch)).permutation(len(places))
        own = _parts([places[i] for i in order], world_size)[rank]
        batches = math.ceil(math.ceil(len(places) / world_size) / batch_size)
        self._batches = [part for part in _parts(own, batches) if part][done:]

    def __len__(self) -> int:
        """Batches that this rank has yet to read, whatever the number of workers."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list[EditCase]]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        # The loader asks its workers in turn, and so brings the batches back into order.
        return (_read(batch) for batch in self._batches[first::step])


def shard_loader(
    folder: Path,
    batch_size: int,
    *,
    rank: int,
    world_size: int,
    workers: int = 0,
    start: str | None = None,
    seed: int | None = None,
    epoch: int = 0,
    done: int = 0,
) -> DataLoader[list[EditCase]]:
    """A loader of one rank's share of the shards; its length is the number of batches.

    Call it in the process that has the rank, with the rank and number of ranks of the trainer: nothing else tells this
    process from the others. To go on after an interruption, give the same arguments and ``done``. A LightningModule
    needs a ``transfer_batch_to_device`` that leaves these batches as they are: cases are no tensors.

    Args:
        workers: processes that read and decode ahead; 0 for none.
        start: how workers are started: "fork", "spawn" or "forkserver"; None for the system's own way.

    The other arguments, and what is raised, are those of :class:`CaseStream`.
    """
    stream = CaseStream(folder, batch_size, rank=rank, world_size=world_size, seed=seed, epoch=epoch, done=done)
    return DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        multiprocessing_context=start if workers else None,
    )


def _parts(items: Sequence[tuple[Path, Place]], count: int) -> list[Sequence[tuple[Path, Place]]]:
    """Split into parts that follow each other; their sizes differ by one at most."""
    bounds = [len(items) * i // count for i in range(count + 1)]
    return [items[a:b] for a, b in pairwise(bounds)]


def _read(batch: Sequence[tuple[Path, Place]]) -> list[EditCase]:
    decoded: dict[StoredImage, Image.Image] = {}
    cases = []
    for shard, place in batch:
        stored = unpack(shard, place)
        for picture in stored.pictures:
            if picture not in decoded:
                decoded[picture] = load_image(picture, case_id=stored.case_id)
        cases.append(stored.case([decoded[picture] for picture in stored.pictures]))
    return cases


def _as_it_is(batch: list[EditCase]) -> list[EditCase]:
    # The loader's own conversion looks into lists; a lambda could not be sent to a spawned worker.
    return batch
