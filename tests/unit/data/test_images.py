"""Loading pictures: what comes back, and what a damaged file says."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ldke_pl.data import load_image
from ldke_pl.errors import DataError


def encoded(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(buffer, format)
    return buffer.getvalue()


ENCODED = {format: encoded(format) for format in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")}


@pytest.mark.parametrize("as_text", [True, False])
def test_a_file_is_loaded_as_rgb(as_text: bool, tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.new("L", (3, 2), 7).save(path)
    image = load_image(str(path) if as_text else path)
    assert (image.mode, image.size) == ("RGB", (3, 2))
    assert image.getpixel((0, 0)) == (7, 7, 7)


def test_an_image_in_memory_is_copied() -> None:
    source = Image.new("RGB", (2, 2), "red")
    image = load_image(source)
    image.putpixel((0, 0), (0, 0, 0))
    assert source.getpixel((0, 0)) == (255, 0, 0)


def test_a_palette_image_in_memory_becomes_rgb() -> None:
    assert load_image(Image.new("P", (2, 2))).mode == "RGB"


def test_a_missing_file_names_the_case_and_the_path(tmp_path: Path) -> None:
    path = tmp_path / "gone.jpg"
    with pytest.raises(DataError) as caught:
        load_image(path, case_id="vlkeb-eval-000017")
    assert caught.value.message == f"Image {path} of case vlkeb-eval-000017 does not exist."
    assert "data/README.md" in caught.value.hint


def test_no_case_is_named_where_none_is_given(tmp_path: Path) -> None:
    path = tmp_path / "gone.jpg"
    with pytest.raises(DataError) as caught:
        load_image(path)
    assert caught.value.message == f"Image {path} does not exist."


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", ENCODED["JPEG"][:400], ENCODED["PNG"][:60]])
def test_a_file_that_is_no_whole_image_names_the_case(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.jpg of case c1 cannot be read as an image"):
        load_image(path, case_id="c1")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as an image"):
        load_image(tmp_path)


def test_a_truncated_image_in_memory_names_the_case() -> None:
    lazy = Image.open(io.BytesIO(ENCODED["JPEG"][:-80]))
    with pytest.raises(DataError, match="An image in memory of case c1 cannot be read"):
        load_image(lazy, case_id="c1")


@pytest.mark.parametrize("case_id", ["", "c1"])
def test_an_image_of_absurd_size_is_refused(case_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(ENCODED["PNG"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="exceeds limit"):
        load_image(path, case_id=case_id)


@settings(deadline=None)
@given(format=st.sampled_from(sorted(ENCODED)), kept=st.floats(0, 1))
def test_a_file_cut_anywhere_is_an_image_or_a_data_error(
    format: str, kept: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = ENCODED[format]
    path = tmp_path_factory.getbasetemp() / "cut"
    path.write_bytes(content[: int(kept * len(content))])
    try:
        image = load_image(path)
    except DataError as error:
        assert str(path) in error.message
    else:
        assert (image.mode, image.size) == ("RGB", (32, 32))
