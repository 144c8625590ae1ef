"""The per-edit optimisation loop as a LightningModule.

Edits run in ``predict_step``: it shards requests over ranks without repeating any, and no gradient crosses a rank.
"""

import time
from collections.abc import Sequence

import lightning as L
import torch
from torch.utils.data import DataLoader

from ldke_pl.data import EditRequest
from ldke_pl.editors import Editor
from ldke_pl.edits import Edit
from ldke_pl.edits.chunks import ChunkStore


class EditingModule(L.LightningModule):
    """Makes edits with any editor.

    Use with ``Trainer(inference_mode=False)``; what an edit needs of autograd it switches on itself.

    Args:
        chunks: keeps what is finished; a chunk that it has is not made again. None to keep nothing.

    Attributes:
        edits: all edits so far.
        made, seconds: how many of them were made here, and how long that took.
    """

    def __init__(self, editor: Editor, seed: int = 0, chunks: ChunkStore | None = None) -> None:
        super().__init__()
        self.editor, self.seed, self.chunks = editor, seed, chunks
        self.edits: list[Edit] = []
        self.made, self.seconds = 0, 0.0

    def transfer_batch_to_device(
        self, batch: Sequence[EditRequest], device: torch.device, dataloader_idx: int
    ) -> Sequence[EditRequest]:
        """Requests are no tensors; the editor moves what it makes of them."""
        return batch

    def predict_step(self, batch: Sequence[EditRequest], batch_idx: int) -> list[Edit]:
        """Solve one chunk of requests, unless it is solved already."""
        edits = self.chunks.read(batch_idx, batch) if self.chunks else None
        if edits is None:
            edits = self._make(batch)
            if self.chunks:
                self.chunks.write(batch_idx, edits)
        self._log(edits)
        self.edits += edits
        return edits

    def _make(self, batch: Sequence[EditRequest]) -> list[Edit]:
        start = time.perf_counter()
        edits = self.editor.edit(batch, seed=self.seed)
        self.seconds += time.perf_counter() - start
        self.made += len(edits)
        return edits

    def _log(self, edits: Sequence[Edit]) -> None:
        """One point per edit on its own axis: the trainer's step counter stands still while editing."""
        for index, edit in enumerate(edits, len(self.edits) + 1):
            figures = {"edit/loss": edit.loss, "edit/steps": edit.steps, "edit/bytes": edit.n_bytes}
            for logger in self.loggers:
                logger.log_metrics({"edit/index": index, **figures}, step=index)


def request_loader(requests: Sequence[EditRequest], chunk: int) -> DataLoader[EditRequest]:
    """Requests in chunks of ``chunk``, in order."""
    return DataLoader(list(requests), batch_size=chunk, collate_fn=list)  # type: ignore[arg-type]
