"""Reading shards back: as a data format, lazily, and with every sort of damage found and named."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from shard_cases import decoded, images, make_cases

from ldke_pl.config import DataConfig
from ldke_pl.data import EditCase, StoredImage, load_image, parse_cases, read_cases
from ldke_pl.data.readers.parse import without_contradictions
from ldke_pl.data.shards.index import open_index
from ldke_pl.data.shards.read import stored_cases
from ldke_pl.data.shards.stream import shard_loader
from ldke_pl.data.shards.write import write_shards
from ldke_pl.errors import DataError
from ldke_pl.runtime.data import check_images, load_cases


@pytest.fixture
def cases(tmp_path: Path) -> list[EditCase]:
    return make_cases(tmp_path / "pictures", 5)


@pytest.fixture
def folder(cases: list[EditCase], tmp_path: Path) -> Path:
    write_shards(cases, tmp_path / "shards", cases_per_shard=2)
    return tmp_path / "shards"


def everything(folder: Path) -> list[EditCase]:
    loader = shard_loader(folder, 2, rank=0, world_size=1)
    return [decoded(case) for batch in loader for case in batch]


def test_shards_are_a_format_like_any_other(folder: Path, cases: list[EditCase]) -> None:
    config = DataConfig(format="shards", path=str(folder))
    found = load_cases(config)
    assert [decoded(case) for case in found] == [decoded(case) for case in without_contradictions(cases)]
    check_images(found)
    assert load_cases(DataConfig(format="shards", path=str(folder), limit=2)) == found[:2]
    assert load_cases(DataConfig(format="shards", root=str(folder.parent)), folder.name) == found
    assert read_cases("shards", folder, folder) == parse_cases("shards", folder).cases == found


def test_no_picture_is_read_before_it_is_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda source: opened.append(source) or original(source))
    found = stored_cases(folder)
    assert opened == []
    image = found[1].request.image
    assert image is not None
    assert load_image(image).size == (5, 6)
    assert len(opened) == 1


def test_equal_pictures_of_different_cases_are_equal(cases: list[EditCase], tmp_path: Path) -> None:
    twin = EditCase("twin", cases[1].request, ())
    write_shards([cases[1], twin, cases[2]], tmp_path / "shards", cases_per_shard=1)
    first, second, third = stored_cases(tmp_path / "shards")
    assert first.request == second.request
    assert len({first.request, second.request, third.request}) == 2
    assert str(first.request.image) != str(second.request.image)


def test_nothing_is_unpickled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **rest: object) -> None:
        raise AssertionError("a pickle was loaded")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    assert [case.case_id for case in everything(folder)] == [case.case_id for case in stored_cases(folder)]


def test_a_missing_or_cut_shard_is_named_at_once(folder: Path) -> None:
    path = folder / "shard-000001.tar"
    content = path.read_bytes()
    (image,) = {i for i in images(stored_cases(folder)[2]) if isinstance(i, StoredImage) and i.name.endswith("0.jpg")}
    for kept in (0, 512, image.offset + image.size // 2, len(content) - 1024, len(content) - 1):
        path.write_bytes(content[:kept])
        for use in (stored_cases, everything):
            with pytest.raises(DataError, match=r"shard-000001\.tar is truncated: it has") as caught:
                use(folder)
            assert "Write it again" in caught.value.hint
    path.write_bytes(content + b"\0")
    with pytest.raises(DataError, match=r"shard-000001\.tar was altered: it has"):
        stored_cases(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"shard-000001\.tar does not exist"):
        stored_cases(folder)


def test_a_shard_that_is_cut_while_it_is_read_is_named(folder: Path) -> None:
    loader, found = shard_loader(folder, 1, rank=0, world_size=1), stored_cases(folder)
    path = folder / "shard-000001.tar"
    (image,) = {i for i in images(found[2]) if isinstance(i, StoredImage) and i.name.endswith("0.jpg")}
    os.truncate(path, image.offset + image.size // 2)
    with pytest.raises(DataError, match=r"shard-000001\.tar is truncated: it ends before byte"):
        list(loader)
    with pytest.raises(DataError, match=r"shard-000001\.tar is truncated"):
        load_image(image)
    path.unlink()
    with pytest.raises(DataError, match=r"shard-000001\.tar does not exist"):
        load_image(image)


def test_every_altered_byte_of_a_case_is_found(folder: Path) -> None:
    path, case = folder / "shard-000001.tar", stored_cases(folder)[2]
    content = path.read_bytes()
    record = open_index(folder).shards[1].records[0]
    places = [(record.offset, record.bytes), *((i.offset, i.size) for i in images(case) if isinstance(i, StoredImage))]
    assert len(places) == 7
    for offset, size in places:
        for place in (offset, offset + size // 2, offset + size - 1):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(DataError, match=r"shard-000001\.tar was altered: its bytes from") as caught:
                everything(folder)
            assert "Write it again" in caught.value.hint


def test_verifying_finds_what_reading_does_not_need(folder: Path) -> None:
    path = folder / "shard-000000.tar"
    content = path.read_bytes()
    stored_cases(folder, verify=True)
    path.write_bytes(content[:-1] + b"x")  # in the blocks of zeros that end a tar file
    stored_cases(folder)
    with pytest.raises(DataError, match=r"shard-000000\.tar was altered: it does not have its checksum"):
        stored_cases(folder, verify=True)


def test_damage_is_named_from_a_worker_too(folder: Path) -> None:
    loader = shard_loader(folder, 2, rank=0, world_size=1, workers=1, start="fork")
    os.truncate(folder / "shard-000001.tar", 700)
    with pytest.raises(DataError, match=r"shard-000001\.tar is truncated"):
        list(loader)


def test_a_missing_index_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    (folder / "index.json").unlink()
    with pytest.raises(DataError, match=r"shards has no index\.json"):
        stored_cases(folder)
    with pytest.raises(DataError, match="nowhere does not exist"):
        stored_cases(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/index\.json cannot be read: Not a directory"):
        stored_cases(tmp_path / "file")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: "", "is damaged"),
        (lambda text: "[]", "is damaged"),
        (lambda text: json.dumps(json.loads(text) | {"cases": 6}), "is damaged: it does not have its checksum"),
        (lambda text: text.replace('"offset": 512', '"offset": 513'), "is damaged: it does not have its checksum"),
    ],
)
def test_a_damaged_index_is_named(damage: Callable[[str], str], reason: str, folder: Path) -> None:
    path = folder / "index.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=rf"index\.json {reason}"):
        stored_cases(folder)
