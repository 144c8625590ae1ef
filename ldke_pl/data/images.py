"""Open one picture, or say which case and file are at fault."""

import struct
from pathlib import Path

from PIL import Image

from ldke_pl.data.records import ImageSource
from ldke_pl.errors import DataError

# Beside OSError, Pillow's decoders let these through on damaged files.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)


def load_image(source: ImageSource, *, case_id: str = "") -> Image.Image:
    """Load a picture into memory as RGB.

    Args:
        source: path to an image file, or an image already in memory (left as it is; the result is a copy).
        case_id: the case the picture belongs to, named in the error; "" for none.

    Returns:
        A decoded image of mode "RGB".

    Raises:
        DataError: the file is missing, truncated, or not an image.
    """
    try:
        if isinstance(source, Image.Image):
            return source.convert("RGB")
        with Image.open(source) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise DataError(
            f"{_name(source, case_id)} does not exist.",
            "Check the image root, or download the images (data/README.md).",
        ) from error
    except _UNREADABLE as error:
        raise DataError(
            f"{_name(source, case_id)} cannot be read as an image: {error}.",
            "The file is damaged, incomplete or of another type: download it again.",
        ) from error


def _name(source: ImageSource, case_id: str) -> str:
    what = f"Image {source}" if isinstance(source, str | Path) else "An image in memory"
    return f"{what} of case {case_id}" if case_id else what
