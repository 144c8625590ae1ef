"""Thumbnails: small, embedded once, within the budget, and never a reason to fail."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from ldke_pl.data import EditCase, EditRequest
from ldke_pl.data.shards.read import stored_cases
from ldke_pl.data.shards.write import write_shards
from ldke_pl.report.pictures import embed, thumbnail


def draw(path: Path, colour: str, size: tuple[int, int] = (30, 20), mode: str = "RGB") -> str:
    Image.new(mode, size, colour).save(path)
    return str(path)


def decode(uri: str) -> Image.Image:
    header, data = uri.split(",")
    assert header == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def test_small_pictures_keep_their_size_and_colour(tmp_path: Path) -> None:
    uri = thumbnail(draw(tmp_path / "a.png", "#0a6432"))
    assert uri is not None
    assert decode(uri).size == (30, 20)
    assert decode(uri).getpixel((3, 3)) == (10, 100, 50)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_large_pictures_shrink(tmp_path: Path, name: str) -> None:
    uri = thumbnail(draw(tmp_path / name, "red", (640, 320)))
    assert uri is not None
    assert decode(uri).size == (80, 40)


def test_transparency_shows_white(tmp_path: Path) -> None:
    uri = thumbnail(draw(tmp_path / "a.png", "#00000000", mode="RGBA"))
    assert uri is not None
    assert decode(uri).getpixel((0, 0)) == (255, 255, 255)


def test_one_picture_under_two_paths_is_embedded_once(tmp_path: Path) -> None:
    red, again = draw(tmp_path / "a.png", "red"), draw(tmp_path / "b.png", "red")
    blue = draw(tmp_path / "c.png", "blue")
    pictures = embed([red, again, "", red, blue])
    assert pictures.names == {red: "p0", again: "p0", blue: "p1"}
    assert list(pictures.uris) == ["p0", "p1"]


def test_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    good = draw(tmp_path / "a.png", "red")
    broken = tmp_path / "broken.png"
    broken.write_bytes((tmp_path / "a.png").read_bytes()[:40])
    (tmp_path / "text.png").write_text("no picture")
    bad = [str(broken), str(tmp_path / "text.png"), str(tmp_path), str(tmp_path / "none.png"), "\0", "x" * 5000]
    assert list(embed([*bad, good]).names) == [good]


def test_the_budget_goes_to_the_first(tmp_path: Path) -> None:
    paths = [draw(tmp_path / f"{n}.png", colour) for n, colour in enumerate(("red", "green", "blue"))]
    each = max(len(thumbnail(path) or "") for path in paths)
    pictures = embed(paths, budget=2 * each)
    assert list(pictures.names) == paths[:2]
    assert sum(map(len, pictures.uris.values())) <= 2 * each


def test_pictures_in_shards_are_found_by_name(tmp_path: Path) -> None:
    paths = [draw(tmp_path / f"{colour}.png", colour) for colour in ("red", "blue")]
    cases = [EditCase(path, EditRequest(path, "What?", "That"), ()) for path in paths]
    write_shards(cases, tmp_path / "shards")
    names = [str(case.request.image) for case in stored_cases(tmp_path / "shards")]
    assert [thumbnail(name) for name in names] == [thumbnail(path) for path in paths]
    (tmp_path / "shards" / "shard-000000.tar").write_bytes(b"no tar file")
    assert embed([*names, str(tmp_path / "shards" / "none.tar" / "a.png")]).names == {}
