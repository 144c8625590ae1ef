"""The world and the rows of every split, made once: both are cheap, and no test changes them."""

from typing import Any

import pytest

from ldke_pl.atlas.cases import CaseWriter
from ldke_pl.atlas.world import SPLITS, World


@pytest.fixture(scope="session")
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def all_rows(world: World) -> dict[str, list[dict[str, Any]]]:
    """Split -> rows as they are written, pictures not drawn."""
    return {split: CaseWriter(world, split, seed=0).rows() for split in SPLITS}
