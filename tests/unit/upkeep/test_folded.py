"""An edit in the weights: what it computes, and what no weight can hold."""

from dataclasses import replace

import pytest
import torch

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.edits import Delta, Edit
from ldke_pl.errors import EditError
from ldke_pl.upkeep.fold import folded


def edit(backbone: Backbone, site: str, *, full: bool = False, bias: bool = False) -> Edit:
    deltas = {}
    for name, slot in backbone.sites[site].slots.items():
        shapes = [(slot.out_features, slot.in_features)] if full else [(3, slot.in_features), (slot.out_features, 3)]
        added = torch.randn(1, slot.out_features) if bias else None
        deltas[name] = Delta(tuple(torch.randn(shape) for shape in shapes), added)
    return Edit("a", "Who?", "x", (site,), deltas)


@pytest.mark.parametrize(("full", "bias"), [(False, False), (True, False), (False, True)])
def test_a_folded_layer_adds_what_the_delta_adds(backbone: Backbone, full: bool, bias: bool) -> None:
    made = edit(backbone, CONNECTOR, full=full, bias=bias)
    weights = folded(backbone, made)
    assert {n.rpartition(".")[2] for n in weights} == ({"weight", "bias"} if bias else {"weight"})
    for name, delta in made.deltas.items():
        linear = backbone.model.get_submodule(name)
        x = torch.randn(4, linear.in_features)
        added = x
        for factor in delta.factors:
            added = added @ factor.T
        wanted = linear(x) + added + (delta.bias if delta.bias is not None else 0)
        found = torch.nn.functional.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias", linear.bias))
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def test_what_no_weight_can_hold_is_refused(backbone: Backbone) -> None:
    plain = edit(backbone, "decoder.1")
    ((name, delta),) = plain.deltas.items()
    out = torch.zeros(1, delta.factors[1].shape[0])
    for other in (replace(delta, bias=out), Delta((), out, replaces=True)):  # the decoder's layers have no bias
        with pytest.raises(EditError, match="no weight of it can hold"):
            folded(backbone, replace(plain, deltas={name: other}))
    connector = edit(backbone, CONNECTOR, bias=True)
    by_position = {n: replace(d, bias=torch.zeros(2, 7)) for n, d in connector.deltas.items()}
    with pytest.raises(EditError, match="no weight of it can hold"):
        folded(backbone, replace(connector, deltas=by_position))
    for other_edit in (replace(plain, context="Told."), replace(plain, deltas={}, blind=True)):
        with pytest.raises(EditError, match="changes no weights"):
            folded(backbone, other_edit)


def test_a_layer_that_is_no_plain_linear_map_is_refused(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    made = edit(backbone, "decoder.1")
    ((name, slot),) = backbone.sites["decoder.1"].slots.items()
    monkeypatch.setitem(backbone.sites["decoder.1"].slots, name, replace(slot, after=True))
    with pytest.raises(EditError, match="takes no product of matrices"):
        folded(backbone, made)
