"""Making edits: in batches or one by one, with or without what need not be computed again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.prefix import Prefix
from ldke_pl.backbone.vision import encoded_once
from ldke_pl.bench.peer_loop import peer_loop
from ldke_pl.bench.subjects import atlas, atlas_cases, editor_config, half_atlas
from ldke_pl.bench.timing import Result, side_by_side
from ldke_pl.data import EditRequest
from ldke_pl.editors import Sites
from ldke_pl.editors.ldke import LDKE
from ldke_pl.editors.optimise import Turn, begun
from ldke_pl.edits import Edit
from ldke_pl.errors import ModelError

CLOSE = 1e-4

EARLY = 10
"""Steps after which deltas are compared in double precision: what rounding differs by grows from step to step."""


def batched() -> Iterator[Result]:
    """64 edits in one batch, against the same code with one at a time; the deltas are the same but for rounding."""
    requests = [case.request for case in atlas_cases()[:64]]
    found: dict[int, list[Edit]] = {}

    def edit(size: int, backbone: Backbone, **settings: int) -> None:
        found[size] = LDKE(backbone, editor_config(batch_size=size, **settings), _by_kind(backbone)).edit(requests)

    atlas().model.double()
    edit(1, atlas(), steps=EARLY)
    edit(64, atlas(), steps=EARLY)
    atlas().model.float()
    far = max(_distances(found))
    if far > CLOSE:
        raise ModelError(f"Edits of a batch differ by {far:.1e} from single ones.", "report it with the machine's kind")
    runs = side_by_side(partial(edit, 1, atlas()), partial(edit, 64, atlas()))
    yield Result("64 edits: one by one / in a batch", runs, 3.5)
    same = [d <= CLOSE and a.steps == b.steps for d, a, b in zip(_distances(found), found[1], found[64], strict=True)]
    yield Result("share of the 64 whose deltas are equal when they are done", [sum(same) / len(same)])
    runs = side_by_side(partial(edit, 1, half_atlas()), partial(edit, 64, half_atlas()))
    yield Result("64 edits, bfloat16: one by one / in a batch", runs)
    runs = side_by_side(partial(edit, 64, half_atlas()), partial(edit, 64, half_atlas(), compile=True))
    yield Result("64 edits in a batch, bfloat16: as it is / compiled", runs)


def against_peer_loop() -> Iterator[Result]:
    """Edits in one batch, against the loop that published editors have; both stop at the same loss.

    Published loops run in single precision. Ours runs in either; bfloat16 pays where the processor multiplies it, and
    compiling where there are many edits.
    """
    requests = [case.request for case in atlas_cases()[:64]]
    config = editor_config(views=1, propagation_weight=0.0, batch_size=64, stop_loss=0.01, steps=60)
    sites = _by_kind(atlas())(requests)
    for peer, backbone, compiled, target in (
        (atlas(), atlas(), False, 8),
        (half_atlas(), half_atlas(), False, None),
        (atlas(), half_atlas(), False, 8),
        (atlas(), half_atlas(), True, 8),
    ):
        ours = LDKE(backbone, replace(config, compile=compiled), _by_kind(backbone))
        runs = side_by_side(partial(peer_loop, peer, requests, sites, config), partial(ours.edit, requests))
        name = f"64 edits: a peer's loop, {_dtype(peer)} / ours, {_dtype(backbone)}"
        yield Result(f"{name}, compiled" if compiled else name, runs, target)


def prefix() -> Iterator[Result]:
    """One optimisation step at the middle decoder site: from the tokens on, against from below that site on."""
    backbone = atlas()
    middle = len(backbone.layers) // 2
    requests, config = [case.request for case in atlas_cases()[:32]], editor_config(propagation_weight=0.0)
    with torch.enable_grad(), encoded_once(backbone.model):
        problems = [begun(backbone, r, (f"decoder.{middle}",), config, 0, False) for r in requests]
        whole, reusing = (Turn(backbone, problems, config, 0) for _ in range(2))
        whole.prefix = Prefix(backbone, 0)

        def step(turn: Turn) -> None:
            torch.stack(turn.losses()).sum().backward()  # type: ignore[no-untyped-call]

        runs = side_by_side(partial(step, whole), partial(step, reusing), runs=40)  # a step is over in an instant
    yield Result("a step at the middle site: whole / above it", runs, 1.4)


def _dtype(backbone: Backbone) -> str:
    return str(next(backbone.model.parameters()).dtype).removeprefix("torch.")


def _by_kind(backbone: Backbone) -> Sites:
    """The sites that edits of Atlas are written to by default, without looking for them."""

    def sites(requests: Sequence[EditRequest]) -> list[tuple[str, ...]]:
        return [(CONNECTOR if r.group == "entity" else "decoder.0",) for r in requests]

    return sites


def _distances(found: Mapping[int, Sequence[Edit]]) -> list[float]:
    """How far edits made alone are from those made in a batch."""
    return [_distance(a, b) for a, b in zip(found[1], found[64], strict=True)]


def _distance(one: Edit, other: Edit) -> float:
    pairs: list[tuple[Tensor, Tensor]] = []
    for name, delta in one.deltas.items():
        pairs += zip(delta.tensors(), other.deltas[name].tensors(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)
