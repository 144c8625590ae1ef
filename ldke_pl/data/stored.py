"""A picture inside a shard: its place and checksum, without its pixels.

Thousands of cases can be in memory while their pictures stay on disk, and nothing of a shard is used unchecked.
"""

import hashlib
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from ldke_pl.errors import DataError


@dataclass(frozen=True)
class StoredImage:
    """A picture file inside a shard, read when it is needed. Equal files are equal, wherever they are stored.

    Args:
        sha256: checksum of the picture file.
        shard: the tar file.
        name: name inside the tar file.
        offset: where the picture file begins in the tar file, in bytes.
        size: length of the picture file, in bytes.
    """

    sha256: str
    shard: Path = field(compare=False)
    name: str = field(compare=False)
    offset: int = field(compare=False)
    size: int = field(compare=False)

    def read(self) -> bytes:
        """The picture file.

        Raises:
            DataError: the shard is missing, truncated or altered.
        """
        return read_part(self.shard, self.offset, self.size, self.sha256)

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"


def read_part(shard: Path, offset: int, size: int, sha256: str) -> bytes:
    """Read ``size`` bytes of a shard from ``offset`` on.

    Raises:
        DataError: the shard is missing, ends earlier, or the bytes do not have the checksum ``sha256``.
    """
    try:
        with shard.open("rb") as file:
            file.seek(offset)
            part = file.read(size)
    except FileNotFoundError as error:
        raise damaged(shard, "does not exist") from error
    except OSError as error:
        raise damaged(shard, f"cannot be read: {error.strerror}") from error
    if len(part) < size:
        raise damaged(shard, f"is truncated: it ends before byte {offset + size}")
    if hashlib.sha256(part).hexdigest() != sha256:
        raise damaged(shard, f"was altered: its bytes from {offset} on do not have the checksum they were written with")
    return part


def find_stored(path: Path) -> bytes | None:
    """The picture file that a :class:`StoredImage` is called by in result tables; None if there is no such shard.

    Raises:
        KeyError, OSError, tarfile.TarError: the shard has no such picture, or cannot be read.
    """
    if path.parent.suffix != ".tar" or not path.parent.is_file():
        return None
    with tarfile.open(path.parent, "r:") as tar:
        member = tar.extractfile(path.name)
        return None if member is None else member.read()


def damaged(shard: Path, reason: str) -> DataError:
    """The error of a shard that cannot be used; ``reason`` completes "the shard ..."."""
    return DataError(
        f"Shard {shard} {reason}.",
        "Write it again: the command that wrote the shards (python -m ldke_pl.data shard ...) keeps the good ones.",
    )
