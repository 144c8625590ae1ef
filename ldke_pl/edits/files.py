"""The files of an artefact, changed as one: whatever moment a process dies at, what was there or what is new is whole.

The configuration names the checksums of the other files. They are written beside their places first, then the
configuration is renamed, then they are. A reader that comes in between finds them by checksum. Ours.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldke_pl.errors import ArtefactError

CONFIG, DELTAS, ROUTER = "edit_config.json", "edits.safetensors", "router.safetensors"
VERSION = 1


def read_config(folder: Path) -> dict[str, Any]:
    """The artefact's configuration.

    Raises:
        ArtefactError: there is none, or it cannot be read.
    """
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["version"] != VERSION:
            raise ValueError(f"it has version {config['version']}, this program reads {VERSION}")
        missing = [key for key in ("name", "dtype", "revision", "top_layer") if key not in config["base"]]
        if missing or not {"edits", "router", "sha256"} <= config.keys():
            raise ValueError(f"it lacks {', '.join(missing) or 'edits, router or sha256'}")
        kinds = ((config["edits"], list), (config["sha256"], dict), (config["base"]["top_layer"], int))
        if not all(isinstance(value, kind) for value, kind in kinds):
            raise TypeError("edits, sha256 or top_layer is of another type than save() writes")
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ArtefactError(f"{folder / CONFIG} cannot be read: {fault}", "give a folder written by save()") from fault
    return config


def read_tensors(path: Path, sums: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors of a file whose checksum is among ``sums``, by file name.

    Raises:
        ArtefactError: it is missing or damaged.
    """
    try:
        return load_file(_whole(path, sums) or _refuse(path))
    except (OSError, SafetensorError) as fault:
        raise ArtefactError(f"{path} cannot be read: {fault}", "restore the folder from a copy") from fault


def write_files(folder: Path, config: dict[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write an artefact whose configuration is ``config`` with the checksums of the files of ``tensors``.

    Args:
        tensors: by file name; a file that is not named stays as it is.

    Raises:
        ArtefactError: the folder cannot be written, or the disk is full; what was there is whole.
    """
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _settle(folder)
        for name, held in tensors.items():
            # Edits of one batch may share a tensor; a file holds each by itself.
            save_file({n: t.detach().cpu().clone().contiguous() for n, t in held.items()}, _partial(folder / name))
        sums = {name: _sha256(_partial(folder / name)) for name in tensors}
        config = config | {"sha256": config.get("sha256", {}) | sums}
        _partial(folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        _partial(folder / CONFIG).rename(folder / CONFIG)
        for name in tensors:
            _partial(folder / name).rename(folder / name)


def _settle(folder: Path) -> None:
    """Put in place what a process that died had written and its configuration already counts on."""
    if not (folder / CONFIG).exists():
        return
    try:
        sums = read_config(folder)["sha256"]
    except ArtefactError:
        return  # there is nothing whole to keep
    for name in sums:
        found = _whole(folder / name, sums)
        if found is not None and found != folder / name:
            found.rename(folder / name)


def _whole(path: Path, sums: Mapping[str, str]) -> Path | None:
    """Where the content of a file is, in its place or beside it; None where neither is what was written."""
    places = [place for place in (path, _partial(path)) if place.exists()]
    return next((place for place in places if sums.get(path.name) == _sha256(place)), None)


def _refuse(path: Path) -> Path:
    if not path.exists():
        raise OSError("there is no such file")
    raise OSError("its content is not what was written")


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as fault:
        raise ArtefactError(
            f"Edits cannot be written to {folder}: {fault}", "make room, or write somewhere else; what is there is kept"
        ) from fault
