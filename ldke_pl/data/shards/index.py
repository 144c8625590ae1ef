"""``index.json`` of a folder of shards: what is in which shard, where, and with which checksum."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ldke_pl.data.stored import damaged
from ldke_pl.errors import DataError

INDEX, PROGRESS = "index.json", "progress.json"
"""The index of a finished folder, and the same of one that is being written."""

VERSION = 1
_AGAIN = "Delete the folder and write the shards again (python -m ldke_pl.data shard ...)."


@dataclass(frozen=True)
class Place:
    """Where a case's record lies in its shard: ``bytes`` of them from ``offset`` on."""

    offset: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Args:
        file: its name.
        cases: how many cases it holds.
        bytes: its length.
        sha256: its checksum.
        records: where the records of its cases lie, in order.
    """

    file: str
    cases: int
    bytes: int
    sha256: str
    records: tuple[Place, ...]


@dataclass(frozen=True)
class ShardIndex:
    """All shards of a folder.

    Args:
        format: the format that the cases were read from; "" for none.
        cases: how many cases all shards hold when they are finished.
        cases_per_shard: how many cases a shard holds; the last may hold fewer.
        shards: the shards, in the order of the cases.
    """

    format: str
    cases: int
    cases_per_shard: int
    shards: tuple[Shard, ...]

    def places(self, folder: Path) -> Iterator[tuple[Path, Place]]:
        """Shard and place of every case, in order."""
        return ((folder / shard.file, place) for shard in self.shards for place in shard.records)


def save_index(index: ShardIndex, path: Path) -> None:
    """Write an index, at once or not at all."""
    values = {"version": VERSION} | asdict(index)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(values | {"checksum": _checksum(values)}, indent=1), encoding="utf-8")
    partial.replace(path)


def load_index(path: Path) -> ShardIndex:
    """Read an index.

    Raises:
        DataError: it cannot be read, is damaged, or is of another version.
        FileNotFoundError: there is none.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("checksum") != _checksum(values):
            raise ValueError("it does not have its checksum")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(
            f"Shard index {path} cannot be read: {error.strerror}.", "Give a folder you may read."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"Shard index {path} is damaged: {error}.", _AGAIN) from error
    if values.pop("version") != VERSION:
        raise DataError(f"Shard index {path} is of another version than {VERSION}.", _AGAIN)
    shards = tuple(Shard(**(s | {"records": tuple(Place(**p) for p in s["records"])})) for s in values["shards"])
    return ShardIndex(**(values | {"shards": shards}))


def open_index(folder: Path, *, verify: bool = False) -> ShardIndex:
    """The index of a folder of shards that are all there, at their length.

    Args:
        folder: what :func:`ldke_pl.data.shards.write.write_shards` wrote.
        verify: also read every shard and compare its checksum. Without it, what is read of a shard is still compared
            with checksums as it is read.

    Raises:
        DataError: there is no index, it is damaged, or a shard is missing, truncated or altered.
    """
    try:
        index = load_index(folder / INDEX)
    except FileNotFoundError as error:
        raise _without_index(folder) from error
    for shard in index.shards:
        fault = shard_fault(folder / shard.file, shard, verify=verify)
        if fault:
            raise damaged(folder / shard.file, fault)
    return index


def shard_fault(path: Path, shard: Shard, *, verify: bool) -> str:
    """What is wrong with a shard, as the end of "the shard ..."; "" for nothing."""
    try:
        size = path.stat().st_size
        if size != shard.bytes:
            what = "is truncated" if size < shard.bytes else "was altered"
            return f"{what}: it has {size} bytes instead of {shard.bytes}"
        return "was altered: it does not have its checksum" if verify and file_sha256(path) != shard.sha256 else ""
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def file_sha256(path: Path) -> str:
    """Checksum of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_index(folder: Path) -> DataError:
    if (folder / PROGRESS).exists():
        hint = "Run the command that writes it again: it goes on where it stopped."
        return DataError(f"Shard folder {folder} is not finished.", hint)
    if not folder.exists():
        return DataError(f"Shard folder {folder} does not exist.", "Give a folder that ldke_pl.data shard wrote.")
    return DataError(f"Shard folder {folder} has no {INDEX}.", _AGAIN)


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
