"""Edits on disk while they are made, so that what is finished outlives the process that made it. Ours."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ldke_pl.backbone import Backbone
from ldke_pl.data import EditRequest
from ldke_pl.edits.artefact import Artefact, load_artefact, save_artefact
from ldke_pl.edits.edit import Edit
from ldke_pl.errors import ArtefactError

log = logging.getLogger(__name__)

TIMES = "seconds.json"


@dataclass(frozen=True)
class Chunk:
    """Edits that were made together.

    Args:
        seconds: what making them took.
        localizing: the part of it that choosing their sites took.
    """

    edits: list[Edit]
    seconds: float
    localizing: float


class ChunkStore:
    """Finished chunks of edits, each an artefact of its own, without router.

    Args:
        folder: of all chunks; need not exist.
        backbone: the base model that the edits are made on.
    """

    def __init__(self, folder: Path, backbone: Backbone) -> None:
        self.folder, self.backbone = folder, backbone

    def read(self, number: int, requests: Sequence[EditRequest]) -> Chunk | None:
        """A chunk; None where it is not finished, is damaged, or holds other requests' edits."""
        place = self._place(number)
        if not place.exists():
            return None
        try:
            edits = load_artefact(place, self.backbone).edits
            times = json.loads((place / TIMES).read_text(encoding="utf-8"))
        except (ArtefactError, OSError, ValueError) as fault:
            log.warning("a chunk of finished edits is made anew: %s", fault)
            return None
        same = [(e.prompt, e.target) for e in edits] == [(r.prompt, r.target) for r in requests]
        return Chunk(edits, **times) if same else None

    def write(self, number: int, chunk: Chunk) -> None:
        """Keep a chunk; it is there as a whole or not at all.

        Raises:
            ArtefactError: the folder cannot be written, or the disk is full.
        """
        place, times = self._place(number), {"seconds": chunk.seconds, "localizing": chunk.localizing}
        try:
            place.mkdir(parents=True, exist_ok=True)
            (place / TIMES).write_text(json.dumps(times) + "\n", encoding="utf-8")
        except OSError as fault:
            raise ArtefactError(f"Edits cannot be written to {place}: {fault}", "make room, or set run.dir") from fault
        save_artefact(place, self.backbone, Artefact(chunk.edits, {}, {}))

    def _place(self, number: int) -> Path:
        return self.folder / f"chunk-{number:05d}"
