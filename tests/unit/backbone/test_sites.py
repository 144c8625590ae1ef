"""Sites: which linear maps of a model can be written, and how they are named."""

import pytest
from torch import nn

from ldke_pl.backbone import CONNECTOR, Backbone, find_sites
from ldke_pl.errors import ModelError


def test_connector_comes_first_then_the_layers_from_below(backbone: Backbone) -> None:
    assert list(backbone.sites) == [CONNECTOR, *(f"decoder.{i}" for i in range(len(backbone.layers)))]
    assert all(name == site.name for name, site in backbone.sites.items())


def test_sites_lead_to_the_decoder_width(backbone: Backbone) -> None:
    config = backbone.model.config
    width, inner = backbone.width, config.text_config.intermediate_size
    connector = [(m.in_features, m.out_features) for m in backbone.sites[CONNECTOR].slots.values()]
    assert connector == [(config.vision_config.hidden_size, width), (width, width)]
    for layer, site in zip(backbone.layers, list(backbone.sites.values())[1:], strict=True):
        assert [(m.in_features, m.out_features) for m in site.slots.values()] == [(inner, width)]
        assert site.output is layer


def test_names_resolve_to_the_layers_they_stand_for(backbone: Backbone) -> None:
    named = {n: m for site in backbone.sites.values() for n, m in site.slots.items()}
    assert len(named) == len(backbone.layers) + 2
    assert all(backbone.model.get_submodule(name) is slot.module for name, slot in named.items())


def test_model_without_a_stack_of_layers_is_refused(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(backbone.model), "get_decoder", lambda self: nn.Linear(1, 1))
    with pytest.raises(ModelError, match="No stack of decoder layers"):
        find_sites(backbone.model)


def test_model_without_a_connector_is_refused(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    body = backbone.model.base_model
    monkeypatch.setitem(body._modules, "multi_modal_projector", nn.Identity())
    with pytest.raises(ModelError, match="No connector"):
        find_sites(backbone.model)
