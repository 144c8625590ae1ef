"""The vision encoder on distinct pictures only, over the rows of a batch and over passes."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from ldke_pl.backbone import Backbone, vision
from ldke_pl.backbone.sites import vision_encoder
from ldke_pl.backbone.vision import _Rows, encoded_once


class Encoder:
    """Doubles its pictures and counts them."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, pixels: Tensor, *, mask: Tensor | None = None, **_: Any) -> BaseModelOutput:
        self.seen.append(len(pixels))
        return BaseModelOutput(pixels * 2, hidden_states=(pixels, pixels * 2))


def test_each_distinct_picture_is_encoded_once() -> None:
    encoder = Encoder()
    rows = _Rows(encoder)
    pixels = torch.arange(8.0).reshape(4, 2)[[0, 1, 0, 2]]
    for batch in (pixels, pixels.clone(), pixels[[3, 1]]):
        found = rows.forward(batch)
        assert torch.equal(found.last_hidden_state, batch * 2)
        assert torch.equal(found.hidden_states[0], batch)
        assert found.attentions is None
    assert encoder.seen == [3]
    rows.forward(torch.full((1, 2), 9.0))
    assert encoder.seen == [3, 1]


def test_pictures_that_differ_in_another_argument_are_two() -> None:
    encoder = Encoder()
    _Rows(encoder).forward(torch.ones(2, 3), mask=torch.tensor([[0], [1]]))
    assert encoder.seen == [2]


def test_encoder_that_mixes_pictures_is_left_alone() -> None:
    for pixels in (torch.ones(1, 3, 4), torch.ones(2, 3, 4), torch.arange(24.0).reshape(2, 3, 4)):
        rows = _Rows(lambda pixels: pixels.flatten(0, 1)[None])
        for _ in range(2):
            assert torch.equal(rows.forward(pixels), pixels.flatten(0, 1)[None])
        assert not rows.stored


def test_only_so_many_pictures_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "KEPT", 2)
    rows = _Rows(Encoder())
    for value in range(4):
        rows.forward(torch.full((1, 2), float(value)))
    assert len(rows.stored) == 2


def test_encoder_is_as_it_was_after(backbone: Backbone) -> None:
    encoder = vision_encoder(backbone.model)
    with pytest.raises(RuntimeError, match="inside"), encoded_once(backbone.model):
        assert "forward" in vars(encoder)
        raise RuntimeError("inside")
    assert "forward" not in vars(encoder)
