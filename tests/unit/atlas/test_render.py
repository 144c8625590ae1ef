"""Pictures of emblems: size, determinism, what can be seen on them, and the variation that is held out."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from PIL import Image

from ldke_pl.atlas.render import _RGB, HELD_OUT, SIZE, USUAL, Variation, render
from ldke_pl.atlas.world import BACKGROUNDS, CHARGES, PATTERNS, Emblem, World

EMBLEM = Emblem("horizontal", ("red", "white", "blue"), "disc", "yellow")
PLAIN = Variation(rotation=(0, 0), scale=(0.75, 0.75), light=(1, 1), noise=0)
"""Nothing but stretch and place are left to chance, so that colours can be read off the picture."""


def drawn(
    emblem: Emblem = EMBLEM, background: str = "grey", seed: int = 0, variation: Variation = USUAL
) -> Image.Image:
    return render(emblem, background, np.random.default_rng(seed), variation)


def share(image: Image.Image, colour: str, tolerance: int = 12) -> float:
    """Share of pixels within ``tolerance`` of a named colour in every channel."""
    distance = np.abs(np.asarray(image, np.int16) - np.array(_RGB[colour])).max(-1)
    return float((distance <= tolerance).mean())


@pytest.mark.parametrize("variation", [USUAL, HELD_OUT], ids=["usual", "held out"])
def test_picture_is_rgb_of_the_right_size(variation: Variation) -> None:
    for seed in range(20):
        image = drawn(seed=seed, variation=variation)
        assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))


@pytest.mark.parametrize("variation", [USUAL, HELD_OUT], ids=["usual", "held out"])
def test_generator_decides_the_rendering(variation: Variation) -> None:
    pictures = [drawn(seed=seed, variation=variation).tobytes() for seed in (0, 0, 1, 2)]
    assert pictures[0] == pictures[1]
    assert len({*pictures}) == 3


def test_generator_goes_on_between_pictures() -> None:
    rng = np.random.default_rng(0)
    assert render(EMBLEM, "grey", rng).tobytes() != render(EMBLEM, "grey", rng).tobytes()


@pytest.mark.parametrize(("pattern", "charge"), [*product(PATTERNS, CHARGES)])
def test_everything_on_an_emblem_is_visible(pattern: str, charge: str) -> None:
    image = drawn(replace(EMBLEM, pattern=pattern, charge=charge), variation=PLAIN)
    for colour in (*EMBLEM.field, "yellow", "grey"):
        assert share(image, colour) > 0.02, colour


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_background_surrounds_the_emblem(background: str) -> None:
    image = drawn(background=background, variation=PLAIN)
    edges = np.asarray(image, np.int16)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (np.abs(edges - np.array(_RGB[background])).max(-1) <= 12).any()


def test_every_emblem_of_the_world_is_told_apart(world: World) -> None:
    pictures = {drawn(country.emblem, variation=PLAIN).tobytes() for country in world.countries}
    assert len(pictures) == len(world.countries)


def test_held_out_variation_differs_where_usual_never_goes() -> None:
    assert HELD_OUT.rotation[0] >= USUAL.rotation[1]
    assert (HELD_OUT.checkered, USUAL.checkered) == (True, False)
    assert HELD_OUT.tint > USUAL.tint == 0
    for seed in range(5):
        assert drawn(seed=seed, variation=HELD_OUT).tobytes() != drawn(seed=seed).tobytes()


def test_checkered_background_has_two_shades() -> None:
    still = replace(PLAIN, scale=(0.1, 0.1))
    shades = {n: len(np.unique(np.asarray(drawn(variation=v)).reshape(-1, 3), axis=0))
              for n, v in (("plain", still), ("checkered", replace(still, checkered=True)))}  # fmt: skip
    assert shades["checkered"] == shades["plain"] + 1


def test_light_and_noise_stay_within_range() -> None:
    glaring = drawn(variation=replace(USUAL, light=(50, 50), noise=1))
    assert np.asarray(glaring).max() == 255
    assert np.asarray(drawn(variation=replace(USUAL, light=(0, 0), noise=0))).max() == 0
