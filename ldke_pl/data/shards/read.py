"""The cases of a folder of shards, with their pictures left on disk until they are needed."""

from pathlib import Path

from ldke_pl.data.records import EditCase
from ldke_pl.data.shards.index import open_index
from ldke_pl.data.shards.record import unpack


def stored_cases(folder: Path, *, verify: bool = False) -> list[EditCase]:
    """All cases, in the order in which they were written; their pictures are :class:`StoredImage`.

    Args:
        folder: what :func:`ldke_pl.data.shards.write.write_shards` wrote.
        verify: read every shard in full and compare its checksum first.

    Raises:
        DataError: there is no index, it is damaged, or a shard is missing, truncated or altered.
    """
    places = open_index(folder, verify=verify).places(folder)
    stored = (unpack(shard, place) for shard, place in places)
    return [one.case(one.pictures) for one in stored]
