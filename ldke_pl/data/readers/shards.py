"""Shards, where the path is a folder: cases that ``python -m ldke_pl.data shard`` wrote, whatever they came from."""

from pathlib import Path

from ldke_pl.data.readers.parse import ParsedFile
from ldke_pl.data.shards.read import stored_cases


def read_shards(path: Path, root: Path | None) -> ParsedFile:
    """Read a folder of shards. Pictures come with them, so that ``root`` is of no use here."""
    cases = stored_cases(path)
    return ParsedFile(cases, [], len(cases))
