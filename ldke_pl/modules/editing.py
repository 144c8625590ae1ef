"""The per-edit optimisation loop as a LightningModule.

Edits run in ``predict_step``: it shards chunks of requests over ranks without repeating any, and no gradient crosses a
rank.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import lightning as L
import torch
from torch.utils.data import DataLoader

from ldke_pl.data import EditRequest
from ldke_pl.editors import Editor, Sites
from ldke_pl.edits import Edit, kept_in
from ldke_pl.edits.chunks import Chunk, ChunkStore


@dataclass
class Timed:
    """A choice of sites that notes how long it took."""

    choose: Sites
    seconds: float = 0.0

    def __call__(self, requests: Sequence[EditRequest]) -> list[tuple[str, ...]]:
        start = time.perf_counter()
        chosen = self.choose(requests)
        self.seconds += time.perf_counter() - start
        return chosen


Numbered = tuple[int, list[EditRequest]]
"""A chunk of requests, and its number among all chunks of a run."""


class EditingModule(L.LightningModule):
    """Makes edits with any editor.

    Use with ``Trainer(inference_mode=False)``; what an edit needs of autograd it switches on itself.

    Args:
        store: keeps what is finished, for other processes as well; None to keep nothing.
        sites: what chooses sites for the editor, if it notes how long that takes.
        storage: dtype in which finished deltas are kept.

    Attributes:
        made: chunks that this process made, by number.
    """

    def __init__(
        self,
        editor: Editor,
        seed: int = 0,
        store: ChunkStore | None = None,
        sites: Timed | None = None,
        storage: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.editor, self.seed, self.store, self.sites, self.storage = editor, seed, store, sites, storage
        self.made: dict[int, Chunk] = {}

    def transfer_batch_to_device(self, batch: Numbered, device: torch.device, dataloader_idx: int) -> Numbered:
        """Requests are no tensors; the editor moves what it makes of them."""
        return batch

    def predict_step(self, batch: Numbered, batch_idx: int) -> None:
        """Solve one chunk of requests, unless it is solved already."""
        number, requests = batch
        if not requests or (self.store and self.store.read(number, requests)):
            return
        chunk = self._make(requests)
        if self.store:
            self.store.write(number, chunk)
        self._log(chunk.edits)
        self.made[number] = chunk

    def on_predict_end(self) -> None:
        """Wait for the other ranks: what they made is in the store then."""
        self.trainer.strategy.barrier("edits made")

    def _make(self, requests: Sequence[EditRequest]) -> Chunk:
        start, before = time.perf_counter(), self._localizing()
        edits = kept_in(self.storage, self.editor.edit(requests, seed=self.seed))
        edits = [replace(edit, seed=self.seed) for edit in edits]
        return Chunk(edits, time.perf_counter() - start, self._localizing() - before)

    def _localizing(self) -> float:
        return self.sites.seconds if self.sites else 0.0

    def _log(self, edits: Sequence[Edit]) -> None:
        """One point per edit on its own axis: the trainer's step counter stands still while editing."""
        first = sum(len(chunk.edits) for chunk in self.made.values()) + 1
        for index, edit in enumerate(edits, first):
            figures = {"edit/loss": edit.loss, "edit/steps": edit.steps, "edit/bytes": edit.n_bytes}
            for logger in self.loggers:
                logger.log_metrics({"edit/index": index, **figures}, step=index)


def numbered(requests: Sequence[EditRequest], size: int) -> list[Numbered]:
    """Requests in chunks of ``size``, in order."""
    return [(i, list(requests[start : start + size])) for i, start in enumerate(range(0, len(requests), size))]


def chunk_loader(chunks: Sequence[Numbered]) -> DataLoader[Numbered]:
    """Chunk by chunk."""
    return DataLoader(list(chunks), batch_size=1, collate_fn=_only)  # type: ignore[arg-type]


def _only(batch: Sequence[Numbered]) -> Numbered:
    (chunk,) = batch
    return chunk
