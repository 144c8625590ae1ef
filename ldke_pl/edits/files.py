"""The files of an artefact, changed as one: whatever moment a process dies at, what was there or what is new is whole.

The configuration names the checksums of the other files. They are written beside their places first, then the
configuration is renamed, then they are. A reader that comes in between finds them by checksum. Ours.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldke_pl.edits.entries import is_remembered, unusable
from ldke_pl.errors import ArtefactError

CONFIG, DELTAS, ROUTER = "edit_config.json", "edits.safetensors", "router.safetensors"
FILES = (CONFIG, DELTAS, ROUTER)
VERSION = 1


def read_config(folder: Path) -> dict[str, Any]:
    """The artefact's configuration.

    Raises:
        ArtefactError: there is none, it cannot be read, or an entry lacks what every edit has.
    """
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["version"] != VERSION:
            raise ValueError(f"it has version {config['version']}, this program reads {VERSION}")
        missing = [key for key in ("name", "dtype", "revision", "top_layer") if key not in config["base"]]
        if missing or not {"edits", "router", "sha256"} <= config.keys():
            raise ValueError(f"it lacks {', '.join(missing) or 'edits, router or sha256'}")
        if strange := _of_another_type(config):
            raise TypeError(f"{', '.join(strange)} is of another type than save() writes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise ArtefactError(f"{folder / CONFIG} cannot be read: {fault}", "give a folder written by save()") from fault
    _check_entries(folder, config)
    return config


def _check_entries(folder: Path, config: dict[str, Any]) -> None:
    for number, entry in enumerate(config["edits"]):
        if wrong := unusable(entry):
            raise ArtefactError(
                f"Edit number {number} in {folder / CONFIG} has no usable {', '.join(wrong)}.",
                "restore the folder from a copy",
            )
    if not all(map(is_remembered, config.get("rolled_back", []))):
        raise ArtefactError(f"rolled_back in {folder / CONFIG} cannot be used.", "restore the folder from a copy")


def _of_another_type(config: dict[str, Any]) -> list[str]:
    base = config["base"]
    right = {
        "version": type(config["version"]) is int,
        "edits": isinstance(config["edits"], list),
        "router": isinstance(config["router"], dict),
        "rolled_back": isinstance(config.get("rolled_back", []), list),
        "calibration": isinstance(config.get("calibration", {}), dict),
        "sha256": isinstance(config["sha256"], dict) and all(isinstance(s, str) for s in config["sha256"].values()),
        "base.name": isinstance(base["name"], str),
        "base.dtype": isinstance(base["dtype"], str) and _is_dtype(base["dtype"]),
        "base.revision": isinstance(base["revision"], str | None),
        "base.top_layer": type(base["top_layer"]) is int,
    }
    return [name for name, fits in right.items() if not fits]


def _is_dtype(name: str) -> bool:
    return isinstance(getattr(torch, name.removeprefix("torch."), None), torch.dtype)


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


def copy_files(folder: Path, out: Path) -> None:
    """Copy the three files as they stand into an empty folder, each from where its content is.

    A change by another process meanwhile shows in the checksums of the copy.

    Raises:
        ArtefactError: a file cannot be copied; one that is missing is no fault here.
    """
    try:
        for path in (place for name in FILES for place in (folder / name, _partial(folder / name))):
            if path.exists():
                shutil.copyfile(path, out / path.name)
        _settle(out)
    except OSError as fault:
        raise ArtefactError(
            f"{folder} cannot be copied to {out}: {fault}", "make room there, and see that you may read the folder"
        ) from fault


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
