"""Prefix reuse: the same losses and gradients as whole passes, with and without a teacher that watches all layers."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from PIL import Image
from torch._dynamo.backends.debugging import aot_eager

from ldke_pl.backbone import CONNECTOR, Backbone, prefix
from ldke_pl.backbone.hooks import forward_hooks
from ldke_pl.backbone.prefix import Prefix, lowest_layer
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors import optimise as module
from ldke_pl.editors.optimise import Problem, optimise

CONFIG = EditorConfig(cls="ldke_pl.editors.ldke.LDKE", steps=4, views=2, eps=1e-4)


@pytest.fixture
def requests(pictures: list[Image.Image]) -> list[EditRequest]:
    asked = "Which country is this?"
    return [
        EditRequest(pictures[0], asked, "Balumo", "entity"),
        EditRequest(pictures[1], "Who leads this country?", "Ada", "attribute"),
        EditRequest(None, "Who leads Balumo?", "Zz"),
    ]


def assert_same(found: list[Problem], wanted: list[Problem]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-6)
        for name, delta in one.deltas.items():
            for a, b in zip(delta.tensors(), other.deltas[name].tensors(), strict=True):
                torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 10.0])
def test_edits_are_those_of_whole_passes(
    backbone: Backbone, requests: list[EditRequest], weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = len(backbone.layers) - 1
    sites = [(f"decoder.{last}",), (f"decoder.{last - 1}",), (f"decoder.{last}", f"decoder.{last - 1}")]
    config = replace(CONFIG, propagation_weight=weight)
    found = optimise(backbone, requests, sites, config, seed=0)
    monkeypatch.setattr(module, "lowest_layer", lambda *_: 0)
    wanted = optimise(backbone, requests, sites, config, seed=0)
    for one, other in zip(found, wanted, strict=True):
        assert one.steps == other.steps
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
        for name, delta in one.deltas.items():
            for a, b in zip(delta.tensors(), other.deltas[name].tensors(), strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("site", [CONNECTOR, "decoder.1"])
def test_activations_that_are_computed_again_change_no_edit(
    backbone: Backbone, requests: list[EditRequest], site: str
) -> None:
    config = replace(CONFIG, propagation_weight=10.0)
    wanted = optimise(backbone, requests[:2], [(site,)] * 2, config, seed=0)
    linear = backbone.layers[-1].mlp.gate_proj
    passes: list[int] = []
    with forward_hooks([(linear, lambda *_: passes.append(1))]):
        found = optimise(backbone, requests[:2], [(site,)] * 2, replace(config, checkpointing=True), seed=0)
    assert len(passes) == 1 + 2 * CONFIG.steps, "the teachers' pass, and two for every step"
    assert_same(found, wanted)


def test_compiled_layers_change_no_edit(
    backbone: Backbone, requests: list[EditRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where activations are computed again; ``aot_eager`` has all of the compiler but the making of kernels."""
    config = replace(CONFIG, propagation_weight=10.0)
    sites = [(CONNECTOR,), ("decoder.1",)]
    wanted = optimise(backbone, requests[:2], sites, config, seed=0)
    traced: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        traced.append(len(inputs))
        return aot_eager(graph, inputs)

    compiler = partial(torch.compile, backend=backend)
    prefix._compiled.cache_clear()
    monkeypatch.setattr(torch, "compile", compiler)
    for again in (False, True):
        found = optimise(backbone, requests[:2], sites, replace(config, compile=True, checkpointing=again), seed=0)
        assert_same(found, wanted)
    assert traced
    prefix._compiled.cache_clear()


def test_the_lowest_layer_is_that_of_any_edit(backbone: Backbone) -> None:
    names = {site: list(backbone.sites[site].slots) for site in (CONNECTOR, "decoder.1", "decoder.3")}
    assert lowest_layer(backbone, [names["decoder.3"], names["decoder.1"]]) == 1
    assert lowest_layer(backbone, [names["decoder.3"]]) == 3
    assert lowest_layer(backbone, [names["decoder.3"], names[CONNECTOR]]) == 0
    assert lowest_layer(backbone, []) == 0
    assert lowest_layer(backbone, [["lm_head"]]) == 0


def test_a_failed_first_pass_leaves_nothing_to_go_on_from(backbone: Backbone) -> None:
    prefix = Prefix(backbone, 1)
    with pytest.raises(RuntimeError), prefix.reused():
        raise RuntimeError
    batch = dict(backbone.prompts.encode([Question(None, "Who?")]))
    whole = backbone(**batch).logits
    for _ in range(2):
        with prefix.reused():
            again = backbone(**batch).logits
        torch.testing.assert_close(again, whole)
