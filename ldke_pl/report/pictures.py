"""Thumbnails as data URIs, each distinct picture once, within a budget."""

import base64
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps

from ldke_pl.data.stored import find_stored

SIDE = 80
"""Longest side of a thumbnail, in pixels."""

BUDGET = 2_000_000
"""Characters of data URIs in one page; pictures past it are left out, so that a page can be mailed."""

COLOURS = 128
"""Size of a thumbnail's palette: a photo of 80 pixels takes about 5 kB, an emblem less than 1 kB."""

UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, KeyError, tarfile.TarError)
"""What is raised for files that are no pictures, or broken, or absurdly large, or not in their shard."""


@dataclass
class Pictures:
    """Paths to names, and names to data URIs; several paths to one picture share a name.

    Args:
        names: path to name; a picture that is missing, unreadable or past the budget has none.
        uris: name to ``data:image/png;base64,...``; names are letters and digits.
    """

    names: dict[str, str] = field(default_factory=dict)
    uris: dict[str, str] = field(default_factory=dict)


def embed(paths: Iterable[str], *, side: int = SIDE, budget: int = BUDGET) -> Pictures:
    """Turn picture files into thumbnails.

    Args:
        paths: picture files, some of them in shards, the most important first; "" is passed over, repeats cost nothing.
        side: longest side of a thumbnail, in pixels.
        budget: characters of data URIs in all.

    Returns:
        What could be read and fits the budget. A path is only ever opened as a file, never shown as a link.
    """
    pictures = Pictures()
    by_uri: dict[str, str] = {}
    spent = 0
    for path in dict.fromkeys(paths):
        if spent >= budget:
            break
        uri = thumbnail(path, side) if path else None
        if uri is None:
            continue
        if uri not in by_uri:
            if spent + len(uri) > budget:
                continue
            spent += len(uri)
            by_uri[uri] = f"p{len(by_uri)}"
            pictures.uris[by_uri[uri]] = uri
        pictures.names[path] = by_uri[uri]
    return pictures


def thumbnail(path: str, side: int = SIDE) -> str | None:
    """Shrink a picture file into a PNG data URI, at most ``side`` pixels wide and high; None if it cannot be read."""
    try:
        stored = find_stored(Path(path))
        if stored is None and not Path(path).is_file():  # a device or a pipe may never end
            return None
        with Image.open(path if stored is None else io.BytesIO(stored)) as image:
            image.draft("RGB", (side, side))
            small = ImageOps.exif_transpose(image).convert("RGBA")
    except UNREADABLE:
        return None
    small.thumbnail((side, side))
    page = Image.new("RGB", small.size, "white")
    page.paste(small, mask=small.getchannel("A"))
    buffer = io.BytesIO()
    page.quantize(COLOURS, Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
