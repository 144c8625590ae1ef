"""An artefact as its files hold it, looked at and changed without its base model. Ours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from ldke_pl.edits.artefact import by_layer
from ldke_pl.edits.edit import state_of
from ldke_pl.edits.entries import REMEMBERED, check_parts
from ldke_pl.edits.files import DELTAS, ROUTER, read_config, read_tensors, write_files
from ldke_pl.errors import ArtefactError, EditError

Entry = dict[str, Any]
"""An edit in the configuration: its fields, without deltas."""


@dataclass(frozen=True)
class Stored:
    """The configuration of an artefact, and where its tensors are.

    Args:
        config: content of ``edit_config.json``.
    """

    folder: Path
    config: dict[str, Any]

    @property
    def entries(self) -> list[Entry]:
        """All edits in the order in which they were made."""
        found: list[Entry] = self.config["edits"]
        return found

    @property
    def rolled_back(self) -> list[dict[str, str]]:
        """What is kept of edits that were taken back."""
        found: list[dict[str, str]] = self.config.get("rolled_back", [])
        return found

    def entry(self, edit_id: str) -> Entry:
        """One edit.

        Raises:
            EditError: there is no such edit.
        """
        found = next((e for e in self.entries if e["edit_id"] == edit_id), None)
        if found is not None:
            return found
        gone = any(e["edit_id"] == edit_id for e in self.rolled_back)
        names = ", ".join(e["edit_id"] for e in self.entries[:5]) + (", ..." if len(self.entries) > 5 else "")
        raise EditError(
            f"{self.folder} holds no edit {edit_id!r}{', it was rolled back' if gone else ''}.",
            f"the edits are {names or 'none'}; `python -m ldke_pl.edits list {self.folder}` shows them all",
        )

    def states(self) -> dict[str, str]:
        """Edit -> "in force", or why no query is routed to it."""
        superseded = {e["supersedes"] for e in self.entries}
        return {
            entry["edit_id"]: state_of(superseded=entry["edit_id"] in superseded, disabled=bool(entry.get("disabled")))
            for entry in self.entries
        }

    def deltas(self) -> dict[str, dict[str, dict[str, Tensor]]]:
        """Edit -> linear layer -> part of its delta.

        Raises:
            ArtefactError: the file is missing or damaged.
        """
        found = by_layer(self._tensors(DELTAS))
        for edit_id, layers in found.items():
            for layer, parts in layers.items():
                try:
                    check_parts(layer, parts)
                except ValueError as fault:
                    raise ArtefactError(
                        f"Edit {edit_id!r} in {self.folder} is damaged: {fault}", "restore the folder from a copy"
                    ) from fault
        return found

    def keys(self) -> dict[str, dict[str, Tensor]]:
        """Edit -> what the router knows it by; see :meth:`deltas`."""
        found: dict[str, dict[str, Tensor]] = {}
        for path, tensor in self._tensors(ROUTER).items():
            kind, _, rest = path.partition("|")
            if kind == "key":
                edit_id, _, part = rest.partition("|")
                found.setdefault(edit_id, {})[part] = tensor
        return found

    def set_disabled(self, edit_id: str, disabled: bool) -> None:
        """Keep in the artefact whether queries are routed to an edit.

        Raises:
            EditError: there is no such edit.
            ArtefactError: the folder cannot be written.
        """
        self.entry(edit_id)
        edits = [e | {"disabled": disabled} if e["edit_id"] == edit_id else e for e in self.entries]
        write_files(self.folder, self.config | {"edits": edits}, {})

    def roll_back(self, edit_id: str) -> str:
        """Take an edit out for good, and return the id of the edit that is no longer superseded, "" for none.

        Raises:
            EditError: there is no such edit.
            ArtefactError: the artefact is damaged, or the folder cannot be written.
        """
        gone = self.entry(edit_id)
        earlier = gone["supersedes"]
        later = [e for e in self.entries if e["supersedes"] == edit_id]
        kept = [e for e in self.entries if e is not gone]
        edits = [e | {"supersedes": earlier} if e in later else e for e in kept]
        remembered = [*self.rolled_back, {name: gone[name] for name in REMEMBERED}]
        deltas = _without(self._tensors(DELTAS), f"{edit_id}|")
        router = _without(self._tensors(ROUTER), f"key|{edit_id}|")
        config = self.config | {"edits": edits, "rolled_back": remembered}
        write_files(self.folder, config, {DELTAS: deltas, ROUTER: router})
        return "" if later else earlier

    def _tensors(self, name: str) -> dict[str, Tensor]:
        return read_tensors(self.folder / name, self.config["sha256"])


def read_stored(folder: Path) -> Stored:
    """Look at an artefact.

    Raises:
        ArtefactError: there is none, or an entry lacks what every edit has.
    """
    return Stored(folder, read_config(folder))


@contextmanager
def changing(folder: Path) -> Iterator[Stored]:
    """An artefact that no other process changes meanwhile.

    Raises:
        ArtefactError: there is none, it cannot be read or written, or another process is changing it.
    """
    read_config(folder)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as fault:
        raise ArtefactError(f"Another process is changing {folder}.", "wait until it is done") from fault
    except OSError as fault:
        raise ArtefactError(f"{folder} cannot be written: {fault}", "give a folder that you may write") from fault
    try:
        yield read_stored(folder)
    finally:
        lock.release()


def _without(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
