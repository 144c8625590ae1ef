"""Pictures that are made for probes: changed ones that show the same, and pictures of nothing. Ours.

The same picture always gives the same ones.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

LONGEST = 1024
"""Longest side of what is made of a picture, in pixels: photos as they come from a camera would fill the disk."""

SIDE = 224
"""Side of a picture of nothing, in pixels."""


def cropped(image: Image.Image) -> Image.Image:
    """The picture without a margin of 6% on each side."""
    width, height = image.size
    box = (round(0.06 * width), round(0.06 * height), round(0.94 * width), round(0.94 * height))
    return image.resize(image.size, Image.Resampling.BILINEAR, box)


def turned(image: Image.Image) -> Image.Image:
    """The picture turned by 6 degrees."""
    # What turns into view from outside the frame takes the colour of a corner, most often the background.
    return image.rotate(6, Image.Resampling.BILINEAR, fillcolor=image.getpixel((0, 0)))


def noisy(image: Image.Image) -> Image.Image:
    """The picture with noise of 3% of full scale."""
    pixels = np.asarray(image, np.float32)
    pixels = pixels + np.random.default_rng(0).standard_normal(pixels.shape, np.float32) * (0.03 * 255)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


VARIATIONS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "cropped": cropped,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "turned": turned,
    "noisy": noisy,
}
"""Changes of an RGB picture after which it shows the same."""


def write_varied(image: Image.Image, folder: Path, number: int) -> dict[str, Path]:
    """Write every variation of an RGB picture, the ``number``-th of a run; returns path by variation."""
    small = image.copy()
    small.thumbnail((LONGEST, LONGEST))
    return {name: _write(change(small), folder / f"{number}-{name}.png") for name, change in VARIATIONS.items()}


def write_neutral(folder: Path) -> dict[str, Path]:
    """Write pictures that show nothing; returns path by name."""
    return {name: _write(image, folder / f"{name}.png") for name, image in _neutral()}


def _neutral() -> Iterator[tuple[str, Image.Image]]:
    yield "grey", Image.new("RGB", (SIDE, SIDE), (128, 128, 128))
    yield "gradient", Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")
    rows, columns = np.indices((SIDE, SIDE)) // (SIDE // 8)
    yield "squares", Image.fromarray(np.where((rows + columns) % 2, 90, 200).astype(np.uint8)).convert("RGB")


def _write(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path
