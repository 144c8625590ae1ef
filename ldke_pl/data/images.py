"""Open one picture, or say which case and file are at fault."""

import hashlib
import io
import struct
from collections.abc import Hashable, Iterable
from pathlib import Path

from PIL import Image

from ldke_pl.data.records import ImageSource
from ldke_pl.data.stored import StoredImage
from ldke_pl.errors import DataError

# Beside OSError, Pillow's decoders let these through on damaged files.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)


def load_image(source: ImageSource, *, case_id: str = "") -> Image.Image:
    """Load a picture into memory as RGB.

    Args:
        source: path to an image file, an image file in a shard, or an image already in memory (left as it is; the
            result is a copy).
        case_id: the case the picture belongs to, named in the error; "" for none.

    Returns:
        A decoded image of mode "RGB".

    Raises:
        DataError: the file is missing, truncated, or not an image; or the shard is damaged.
    """
    try:
        if isinstance(source, Image.Image):
            return source.convert("RGB")
        with Image.open(io.BytesIO(source.read()) if isinstance(source, StoredImage) else source) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise _missing(source, case_id) from error
    except _UNREADABLE as error:
        raise DataError(
            f"{_name(source, case_id)} cannot be read as an image: {error}.",
            "The file is damaged, incomplete or of another type: download it again.",
        ) from error


def image_file(source: ImageSource, *, case_id: str = "") -> tuple[bytes, str]:
    """A picture as a file: its own bytes, or those of a PNG file where it is in memory; and its name, which may be "".

    Raises:
        DataError: the file is missing or cannot be read; or the shard is damaged.
    """
    if isinstance(source, StoredImage):
        return source.read(), source.name
    if isinstance(source, Image.Image):
        file = io.BytesIO()
        load_image(source, case_id=case_id).save(file, "PNG")
        return file.getvalue(), "memory.png"
    try:
        return Path(source).read_bytes(), Path(source).name
    except FileNotFoundError as error:
        raise _missing(source, case_id) from error
    except OSError as error:
        raise DataError(
            f"{_name(source, case_id)} cannot be read: {error.strerror}.", "Give a file that you may read."
        ) from error


def image_key(source: ImageSource | None) -> Hashable:
    """What to look a picture up by. A picture in memory cannot be hashed, and is itself and no other."""
    return id(source) if isinstance(source, Image.Image) else source


def content_digest(asked: Iterable[tuple[ImageSource | None, str]]) -> str:
    """A digest of pictures' pixels and texts, in order; each picture is opened once."""
    digest = hashlib.sha256()
    pictures: dict[Hashable, str] = {None: ""}
    for image, text in asked:
        key = image_key(image)
        if image is not None and key not in pictures:
            pictures[key] = hashlib.sha256(load_image(image).tobytes()).hexdigest()
        digest.update(f"|{pictures[key]}|{text}".encode())
    return digest.hexdigest()


def _missing(source: ImageSource, case_id: str) -> DataError:
    return DataError(
        f"{_name(source, case_id)} does not exist.",
        "Check the image root, or download the images (data/README.md).",
    )


def _name(source: ImageSource, case_id: str) -> str:
    what = "An image in memory" if isinstance(source, Image.Image) else f"Image {source}"
    return f"{what} of case {case_id}" if case_id else what
