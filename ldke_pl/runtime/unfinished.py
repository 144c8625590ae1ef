"""What a run that was cut off leaves to the next run of the same command: finished edits, and finished methods. Ours.

Below ``<run>/unfinished`` each method has a folder per seed, in which its edits are kept chunk by chunk and, when it is
done, its rows and costs. They count for a run of the same settings at the same commit alone. A run that finishes
takes them away.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lightning.fabric.utilities import rank_zero_only

from ldke_pl.config import EditConfig
from ldke_pl.edits.chunks import ChunkStore
from ldke_pl.metrics.results import ProbeResult, read_results, write_results
from ldke_pl.runtime.session import Costs, Session

FOLDER = "unfinished"
IDENTITY, ROWS, COSTS = "identity", "rows.csv", "costs.json"


@dataclass(frozen=True)
class Part:
    """One method with one seed."""

    folder: Path
    chunks: ChunkStore

    def read(self) -> tuple[list[ProbeResult], Costs] | None:
        """Its rows and costs, where it is done."""
        if not (self.folder / ROWS).exists():
            return None
        costs = Costs(**json.loads((self.folder / COSTS).read_text(encoding="utf-8")))
        return list(read_results(self.folder / ROWS)), costs

    def write(self, rows: Sequence[ProbeResult], costs: Costs) -> None:
        """Keep them; the rows come last, and whole."""
        (self.folder / COSTS).write_text(json.dumps(asdict(costs)) + "\n", encoding="utf-8")
        partial = self.folder / f"{ROWS}.partial"
        write_results(partial, rows)
        partial.rename(self.folder / ROWS)


def part(session: Session, name: str, seed: int) -> Part:
    """What there is of a method: nothing, if the settings or the commit have changed since.

    The first of several processes sees to that, before any of them makes an edit.
    """
    folder = session.folder / FOLDER / f"{name}-{seed}"
    identity = identity_of(session.config, name, session.commit)
    known = (folder / IDENTITY).exists() and (folder / IDENTITY).read_text(encoding="utf-8") == identity
    if not known and not getattr(rank_zero_only, "rank", 0):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / IDENTITY).write_text(identity, encoding="utf-8")
    return Part(folder, ChunkStore(folder, session.backbone))


def identity_of(config: EditConfig, name: str, commit: str) -> str:
    """A digest of everything that a method's edits and rows follow from, the seed apart."""
    settings = asdict(config)
    settings["editor"] = settings["editor"][name]
    del settings["logger"]
    for key in ("dir", "seeds"):
        del settings["run"][key]
    return hashlib.sha256(json.dumps([settings, commit], sort_keys=True).encode()).hexdigest()


def clear(session: Session) -> None:
    """Take away what no later run needs."""
    shutil.rmtree(session.folder / FOLDER, ignore_errors=True)
