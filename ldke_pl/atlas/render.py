"""Pictures of Atlas emblems: one emblem, endless renderings. Ours.

A rendering varies scale, stretch, rotation, light, noise, background and crop. :data:`HELD_OUT` variation (checkered
backgrounds, a tint, stronger rotation) is known to the MLLM but reserved for image generality: neither the router's
training nor an edit's own picture uses it.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ldke_pl.atlas.world import Emblem

SIZE = 64
"""Side of a picture in pixels."""

_RGB = {
    "red": (204, 30, 40), "blue": (25, 70, 190), "green": (20, 140, 60), "yellow": (245, 205, 30),
    "white": (242, 242, 242), "black": (22, 22, 22), "orange": (240, 125, 20), "purple": (125, 40, 150),
    "grey": (128, 128, 128), "pink": (245, 160, 190), "brown": (120, 72, 40), "teal": (40, 150, 155),
    "beige": (222, 206, 165), "navy": (28, 34, 84),
}  # fmt: skip
_CANVAS = 96


@dataclass(frozen=True)
class Variation:
    """Ranges that a rendering is drawn from.

    Args:
        rotation: smallest and largest absolute angle, degrees.
        scale: side of the emblem as a share of the picture's side.
        light: factor on all pixel values.
        tint: largest deviation of a single channel's factor from 1.
        noise: largest standard deviation of pixel noise, in units of full scale.
        checkered: whether the background has a checker of two shades.
    """

    rotation: tuple[float, float] = (0.0, 12.0)
    scale: tuple[float, float] = (0.72, 0.98)
    light: tuple[float, float] = (0.8, 1.15)
    tint: float = 0.0
    noise: float = 0.04
    checkered: bool = False


USUAL = Variation()
HELD_OUT = Variation(rotation=(12.0, 20.0), tint=0.12, checkered=True)


def render(emblem: Emblem, background: str, rng: np.random.Generator, variation: Variation = USUAL) -> Image.Image:
    """Draw one picture of ``emblem`` on ``background``: RGB, ``SIZE`` x ``SIZE`` pixels.

    Args:
        background: one of :data:`~ldke_pl.atlas.world.BACKGROUNDS`.
        rng: decides everything that ``variation`` leaves open.
    """
    flag = _draw(emblem).convert("RGBA")
    side = SIZE * rng.uniform(*variation.scale)
    flag = flag.resize((round(side), round(side * rng.uniform(0.85, 1.0))), Image.Resampling.BILINEAR)
    angle = rng.uniform(*variation.rotation) * rng.choice((-1, 1))
    flag = flag.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    picture = _background(background, rng, variation.checkered)
    # A rotated emblem can be larger than the picture: the offset range then turns into a crop of its margins.
    x, y = (round(float(rng.uniform(*sorted((0, SIZE - n))))) for n in flag.size)
    picture.paste(flag, (x, y), flag)
    pixels = np.asarray(picture, np.float32) * rng.uniform(*variation.light)
    pixels *= 1 + rng.uniform(-variation.tint, variation.tint, 3).astype(np.float32)
    pixels += rng.standard_normal(pixels.shape, np.float32) * (255 * rng.uniform(0, variation.noise))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _background(name: str, rng: np.random.Generator, checkered: bool) -> Image.Image:
    colour = np.clip(np.array(_RGB[name]) + rng.integers(-10, 11, 3), 0, 255)
    pixels = np.tile(colour, (SIZE, SIZE, 1)).astype(np.float32)
    if checkered:
        cell = int(rng.integers(6, 13))
        rows, columns = np.indices((SIZE, SIZE)) // cell
        pixels *= np.where((rows + columns) % 2, 0.82, 1.0)[..., None]
    return Image.fromarray(pixels.astype(np.uint8))


def _draw(emblem: Emblem) -> Image.Image:
    image = Image.new("RGB", (_CANVAS, _CANVAS))
    draw = ImageDraw.Draw(image)
    _draw_field(draw, emblem.pattern, [_RGB[c] for c in emblem.field])
    _draw_charge(draw, emblem.charge, _RGB[emblem.charge_colour])
    return image


def _draw_field(draw: ImageDraw.ImageDraw, pattern: str, colours: list[tuple[int, int, int]]) -> None:
    w = _CANVAS
    third, half = w // 3, w // 2
    if pattern == "quartered":
        draw.rectangle((0, 0, w, w), fill=colours[0])
        draw.rectangle((half, 0, w, half), fill=colours[1])
        draw.rectangle((0, half, half, w), fill=colours[2])
    elif pattern == "diagonal":
        draw.rectangle((0, 0, w, w), fill=colours[1])
        draw.polygon([(0, 0), (w * 0.72, 0), (0, w * 0.72)], fill=colours[0])
        draw.polygon([(w, w), (w * 0.28, w), (w, w * 0.28)], fill=colours[2])
    else:
        for k, colour in enumerate(colours):
            a, b = k * third, (k + 1) * third
            draw.rectangle((0, a, w, b) if pattern == "horizontal" else (a, 0, b, w), fill=colour)


def _draw_charge(draw: ImageDraw.ImageDraw, charge: str, colour: tuple[int, int, int]) -> None:
    c, r = _CANVAS / 2, _CANVAS * 0.27
    box = (c - r, c - r, c + r, c + r)
    if charge == "disc":
        draw.ellipse(box, fill=colour)
    elif charge == "ring":
        draw.ellipse(box, outline=colour, width=round(r * 0.4))
    elif charge == "square":
        draw.rectangle((c - r * 0.85, c - r * 0.85, c + r * 0.85, c + r * 0.85), fill=colour)
    elif charge == "cross":
        draw.rectangle((c - r * 0.3, c - r, c + r * 0.3, c + r), fill=colour)
        draw.rectangle((c - r, c - r * 0.3, c + r, c + r * 0.3), fill=colour)
    else:
        draw.polygon(_corners(charge, c, r * 1.1), fill=colour)


def _corners(charge: str, c: float, r: float) -> list[tuple[float, float]]:
    """Corner points of the polygonal charges, clockwise from the top."""
    radii = {"triangle": [r] * 3, "diamond": [r, r * 0.6] * 2, "star": [r, r * 0.42] * 5}[charge]
    steps = [2 * math.pi * k / len(radii) for k in range(len(radii))]
    return [(c + q * math.sin(a), c - q * math.cos(a)) for q, a in zip(radii, steps, strict=True)]
