"""Passes over the very same pixels share one run of the vision encoder, and any other pixels do not."""

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.vision import encoded_alike, vision_encoder
from ldke_pl.data import Question


def test_the_same_pixels_are_encoded_once(
    backbone: Backbone, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dict(backbone.prompts.encode([Question(p, "What is it?") for p in (pictures[0], pictures[0], pictures[1])]))
    other = dict(backbone.prompts.encode([Question(p, "What is it?") for p in pictures[2:5]]))
    encoder, runs = vision_encoder(backbone.model), []
    original = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda *a, **k: (runs.append(1), original(*a, **k))[1])
    with torch.no_grad():
        wanted = [backbone(**batch).logits for batch in (first, other)]
        runs.clear()
        with encoded_alike(backbone.model):
            for place, count in ((0, 1), (0, 1), (1, 2), (0, 3)):
                batch = {n: v.clone() for n, v in (first, other)[place].items()}
                assert torch.equal(backbone(**batch).logits, wanted[place])
                assert len(runs) == count
        backbone(**first)
    assert len(runs) == 4
