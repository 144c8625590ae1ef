"""One picture of Atlas as a file, to try an edit of one's own on: ``python -m ldke_pl.atlas.picture COUNTRY FILE``."""

import sys
from collections.abc import Sequence

from PIL import Image

from ldke_pl.atlas.cases import draw
from ldke_pl.atlas.world import World
from ldke_pl.cli import run_module
from ldke_pl.config.fields import suggest
from ldke_pl.errors import ConfigError


def drawn(name: str, number: int = 0, *, unusual: bool = False) -> Image.Image:
    """One of the renderings of a country's emblem.

    >>> drawn("Badadi").size
    (64, 64)

    Args:
        number: which of them, from 0 on.
        unusual: drawn with variation that no edit's own picture has.

    Raises:
        ConfigError: there is no such country.
    """
    countries = World().by_name
    if name not in countries:
        close = suggest(name, countries)
        raise ConfigError(f"Atlas has no country {name!r}{close or '.'}", f"name one such as {[*countries][-1]}")
    return draw(countries[name], number, held_out=unusual)


def main(arguments: Sequence[str]) -> None:
    """Write the first rendering of a country's emblem that Atlas' annotation files can name.

    Raises:
        ConfigError: there is no such country, or the file cannot be written.
    """
    if len(arguments) != 2:
        raise ConfigError("COUNTRY and FILE must be given.", "python -m ldke_pl.atlas.picture Kumito kumito.png")
    name, file = arguments
    image = drawn(name)
    try:
        image.save(file)
    except (OSError, ValueError) as fault:
        raise ConfigError(f"{file} cannot be written: {fault}", "give a file such as picture.png") from fault
    print(f"{file}: the emblem of {name}")


if __name__ == "__main__":
    sys.exit(run_module(main, __doc__))
