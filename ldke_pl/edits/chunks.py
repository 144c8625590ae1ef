"""Edits on disk while they are made, so that what is finished outlives the process. Ours."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ldke_pl.backbone import Backbone
from ldke_pl.data import EditRequest
from ldke_pl.edits.artefact import Artefact, load_artefact, save_artefact
from ldke_pl.edits.edit import Edit
from ldke_pl.errors import ArtefactError

log = logging.getLogger(__name__)


class ChunkStore:
    """Finished chunks of edits, each an artefact of its own, without router.

    Args:
        folder: of all chunks; need not exist.
        backbone: the base model that the edits are made on.
    """

    def __init__(self, folder: Path, backbone: Backbone) -> None:
        self.folder, self.backbone = folder, backbone

    def read(self, number: int, requests: Sequence[EditRequest]) -> list[Edit] | None:
        """The edits of a chunk; None where it is not finished, is damaged, or holds other requests' edits."""
        place = self._place(number)
        if not place.exists():
            return None
        try:
            edits = load_artefact(place, self.backbone).edits
        except ArtefactError as fault:
            log.warning("a chunk of finished edits is made anew: %s", fault.message)
            return None
        same = [(e.prompt, e.target) for e in edits] == [(r.prompt, r.target) for r in requests]
        return edits if same else None

    def write(self, number: int, edits: Sequence[Edit]) -> None:
        """Keep a chunk; it is there as a whole or not at all.

        Raises:
            ArtefactError: the folder cannot be written, or the disk is full.
        """
        save_artefact(self._place(number), self.backbone, Artefact(list(edits), {}, {}))

    def _place(self, number: int) -> Path:
        return self.folder / f"chunk-{number:05d}"
