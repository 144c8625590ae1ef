"""One case as one sample of a shard: a JSON record, and every distinct picture of the case once.

The record names its pictures by number and holds their checksums; the index holds the record's. So whatever is read
is checked, in any order, and one case can be read without its neighbours.
"""

import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from ldke_pl.data.images import image_file, image_key
from ldke_pl.data.records import EditCase, EditRequest, ImageSource, Probe, ProbeKind, Question
from ldke_pl.data.shards.index import Place
from ldke_pl.data.stored import StoredImage, damaged, read_part

BLOCK = 512
"""A tar file's unit, in bytes: a member is a header of one block and its bytes, filled up to whole blocks (POSIX)."""

KEY_LENGTH = 72
"""Longest key. With a picture's suffix it stays below the 100 characters of a plain tar name."""


@dataclass(frozen=True)
class Sample:
    """What a shard holds of a case.

    Args:
        key: the case id, made safe as a name in a tar file.
        record: the JSON record.
        pictures: picture files by name, in the order in which the record numbers them and the tar file stores them.
    """

    key: str
    record: bytes
    pictures: dict[str, bytes]

    @property
    def sha256(self) -> str:
        """Checksum of the record, and through it of the pictures."""
        return hashlib.sha256(self.record).hexdigest()


@dataclass(frozen=True)
class StoredCase:
    """A case as it lies in a shard: ``values`` name ``pictures`` by number."""

    values: dict[str, Any]
    pictures: tuple[StoredImage, ...]

    @property
    def case_id(self) -> str:
        return str(self.values["case_id"])

    def case(self, pictures: Sequence[ImageSource]) -> EditCase:
        """The case, with these for its pictures."""
        return _decode_case(self.values, pictures)


def pack(case: EditCase) -> Sample:
    """Make a sample of a case; where its pictures come from leaves no trace.

    Raises:
        DataError: a picture is missing or cannot be read.
    """
    found = _Pictures(case.case_id)
    values = _encode(case, found.number)
    pictures = {f"picture-{i:06d}.{suffix}": content for i, (suffix, content) in enumerate(found.files)}
    listed = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in pictures.items()
    ]
    # Escaped, as half a surrogate pair, which JSON files do contain, cannot be written otherwise.
    record = json.dumps({"case": values, "pictures": listed}, ensure_ascii=True, separators=(",", ":"))
    return Sample(safe_key(case.case_id), record.encode(), pictures)


def unpack(shard: Path, place: Place) -> StoredCase:
    """Read a case, without its pictures.

    Raises:
        DataError: the shard is missing, truncated, altered, or of a version with other records.
    """
    content = read_part(shard, place.offset, place.bytes, place.sha256)
    try:
        record = json.loads(content)
        key, offset, pictures = safe_key(record["case"]["case_id"]), place.offset + _filled(place.bytes), []
        for part in record["pictures"]:
            name = f"{key}.{part['name']}"
            pictures.append(StoredImage(part["sha256"], shard, name, offset + BLOCK, part["bytes"]))
            offset += BLOCK + _filled(part["bytes"])
        stored = StoredCase(record["case"], tuple(pictures))
        stored.case(stored.pictures)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise damaged(shard, f"holds a record that this version cannot read ({error!r})") from error
    return stored


def safe_key(case_id: str) -> str:
    """A case id as a name in a tar file: other ids have other keys, and a dot, which ends a key, is in none.

    >>> safe_key("vlkeb-eval-000017"), safe_key("a.b/c")
    ('vlkeb-eval-000017', 'a%2Eb%2Fc')
    """
    key = quote(case_id, safe="", errors="surrogatepass").replace(".", "%2E") or "%"
    if len(key) <= KEY_LENGTH:
        return key
    return f"{key[: KEY_LENGTH - 17]}%{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _filled(size: int) -> int:
    """Length in a tar file of so many bytes."""
    return -(-size // BLOCK) * BLOCK


class _Pictures:
    """The distinct pictures of a case, in the order in which they are first met."""

    def __init__(self, case_id: str) -> None:
        self.files: list[tuple[str, bytes]] = []
        self._case_id = case_id
        self._sources: dict[Hashable, int] = {}
        self._contents: dict[bytes, int] = {}

    def number(self, source: ImageSource) -> int:
        """The number of a picture; the same for two sources of the same bytes."""
        key = image_key(source)
        if key not in self._sources:
            content, name = image_file(source, case_id=self._case_id)
            number = self._contents.setdefault(content, len(self.files))
            if number == len(self.files):
                self.files.append((_suffix(name), content))
            self._sources[key] = number
        return self._sources[key]


def _suffix(name: str) -> str:
    """A picture's suffix; "img" for what is none: other suffixes make webdataset's own decoders load pickles."""
    suffix = Path(name).suffix.lower()
    return suffix[1:] if suffix in Image.registered_extensions() else "img"


def _encode(value: object, number: Callable[[ImageSource], int]) -> Any:
    if isinstance(value, EditCase | EditRequest | Probe | Question):
        named = {f.name: getattr(value, f.name) for f in fields(value)}
        pictures = {"image": number(named["image"])} if named.get("image") is not None else {}
        return {name: _encode(part, number) for name, part in named.items()} | pictures
    return [_encode(part, number) for part in value] if isinstance(value, tuple) else value


def _decode_case(values: dict[str, Any], pictures: Sequence[ImageSource]) -> EditCase:
    request = EditRequest(**_shown(values["request"], pictures))
    probes = tuple(_decode_probe(probe, pictures) for probe in values["probes"])
    return EditCase(**(values | {"request": request, "probes": probes}))


def _decode_probe(values: dict[str, Any], pictures: Sequence[ImageSource]) -> Probe:
    ceiling = values["ceiling"] and Question(**_shown(values["ceiling"], pictures))
    return Probe(**(_shown(values, pictures) | {"kind": ProbeKind(values["kind"]), "ceiling": ceiling}))


def _shown(values: dict[str, Any], pictures: Sequence[ImageSource]) -> dict[str, Any]:
    image = values["image"]
    return values | {"image": None if image is None else pictures[image]}
