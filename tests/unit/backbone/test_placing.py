"""Where the base is put."""

import torch

from ldke_pl import EditedModel
from ldke_pl.backbone import load_backbone
from ldke_pl.config import ModelConfig


def test_the_base_is_put_where_it_is_asked_for() -> None:
    assert load_backbone(ModelConfig()).device.type == "cpu"
    assert load_backbone(ModelConfig(), torch.device("meta")).device.type == "meta"
    assert EditedModel.from_pretrained("atlas").to("meta").backbone.device.type == "meta"
