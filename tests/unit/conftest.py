"""One tiny random model for all unit tests that need one, whose weights nothing may change, and made-up pictures."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from ldke_pl.atlas.pretrain import build_model
from ldke_pl.atlas.tokenizer import build_processor, build_tokenizer
from ldke_pl.atlas.world import World
from ldke_pl.backbone import Backbone


@pytest.fixture(scope="session")
def backbone() -> Iterator[Backbone]:
    tokenizer = build_tokenizer(World())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Backbone(build_model(len(tokenizer)), build_processor(tokenizer), "tiny")
    top = len(made.layers) - 1
    before = made.fingerprint(top)
    yield made
    assert made.fingerprint(top) == before


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Coloured noise, each picture unlike the others."""
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((64, 64)) for _ in range(6)]
