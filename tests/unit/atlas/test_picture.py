"""A picture of Atlas for whoever wants to try an edit of their own."""

from pathlib import Path

import pytest
from PIL import Image

from ldke_pl.atlas.cases import draw_pictures, picture
from ldke_pl.atlas.picture import main
from ldke_pl.atlas.world import World
from ldke_pl.errors import ConfigError


def test_picture_is_the_one_of_the_annotation_files(tmp_path: Path) -> None:
    country = World().countries[130]
    main([country.name, str(tmp_path / "own.png")])
    draw_pictures([country], tmp_path)
    own, drawn = Image.open(tmp_path / "own.png"), Image.open(tmp_path / picture(country, 0))
    assert (own.size, own.tobytes()) == (drawn.size, drawn.tobytes())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "must be given"),
        (["Sasevo", "x.png"], "no country 'Sasevo'; did you mean Sasevu"),
        (["Sasevu", "nowhere/x.png"], "nowhere/x.png cannot be written"),
        (["Sasevu", "x.nothing"], "x.nothing cannot be written"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        main(arguments)
