"""Augmented views of an edit's picture, so that the edit is about what is shown and not about its pixels. Ours.

Plain image operations that suit any picture: zoom, stretch, shift, rotation, light and noise.
"""

import numpy as np
from PIL import Image


def augmented_views(image: Image.Image, count: int, rng: np.random.Generator) -> list[Image.Image]:
    """The picture itself and ``count - 1`` altered copies of the same size."""
    return [image, *(_altered(image, rng) for _ in range(count - 1))]


def _altered(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = image.size
    angle = np.deg2rad(rng.uniform(-18, 18))
    zoom, stretch = rng.uniform(0.8, 1.3), rng.uniform(0.88, 1.12)
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    shift_x, shift_y = rng.uniform(-0.12, 0.12, 2) * image.size
    # The map from output to input pixels: rotation and zoom about the middle, then the shift.
    a, b, d, e = cos / stretch, sin, -sin / stretch, cos
    c = width / 2 - a * width / 2 - b * height / 2 + shift_x
    f = height / 2 - d * width / 2 - e * height / 2 + shift_y
    # What turns into view from outside the frame takes the colour of a corner, most often the background.
    corner = image.getpixel((0, 0))
    turned = image.transform(
        image.size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR, fillcolor=corner
    )
    pixels = np.asarray(turned, np.float32) * rng.uniform(0.8, 1.2) * rng.uniform(0.92, 1.08, 3).astype(np.float32)
    pixels += rng.standard_normal(pixels.shape, np.float32) * (255 * rng.uniform(0, 0.05))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
