"""Rows of one method: each edit alone, all of them together, and one after another."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ldke_pl.editors import JointEditor, build_editor
from ldke_pl.edits import Edit
from ldke_pl.metrics.evaluator import Evaluator, Run
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.metrics.summary import SEQUENCE
from ldke_pl.router import best
from ldke_pl.runtime.session import Session, choose_sites


def score(
    session: Session, evaluator: Evaluator, name: str, seed: int, edits: Sequence[Edit], relevance: Tensor
) -> list[ProbeResult]:
    """Rows of one method and seed in every mode."""
    routed, threshold = session.config.editor[name].routed, session.router.threshold
    unrouted = evaluator.forced(edits)
    rows: list[ProbeResult] = []
    if "single" in session.config.run.modes:
        routes = evaluator.single_routes(relevance, threshold) if routed else evaluator.own_routes()
        rows += evaluator.rows(Run(name, "single", seed), edits, unrouted, routes)
    for mode, together, change in _together(session, name, seed, edits):
        routes = joint_routes(relevance, together, threshold) if routed else evaluator.own_routes()
        state, answers = edits, unrouted
        if change is not None:
            state = [change] * len(edits)
            answers = evaluator.forced(state, together)
        rows += evaluator.rows(Run(name, mode, seed), state, answers, routes, together)
    return rows


def _together(
    session: Session, name: str, seed: int, edits: Sequence[Edit]
) -> Iterator[tuple[str, list[int], Edit | None]]:
    """Modes in which several edits are in force: their name, positions of the edits, and the change of the model.

    The change is None where the edits stay apart, because they are routed or empty.
    """
    members, sizes, settings = session.joint(), session.sizes(), session.config.editor[name]
    joint = bool(members) and "joint" in session.config.run.modes
    names = [f"{SEQUENCE}_{size}" for size in sizes]
    if settings.routed or not any(edit.deltas for edit in edits):
        yield from [("joint", members, None)] if joint else []
        yield from ((mode, members[:size], None) for mode, size in zip(names, sizes, strict=True))
        return
    editor = build_editor(session.backbone, settings, choose_sites(session, settings, seed))
    if not isinstance(editor, JointEditor):
        return
    requests = [session.requests[i] for i in members]
    if joint:
        yield "joint", members, editor.edit_together(requests, seed=seed)
    if sizes:
        changes = editor.edit_in_sequence(requests, sizes, seed=seed)
        for mode, size, change in zip(names, sizes, changes, strict=True):
            yield mode, members[:size], change


def joint_routes(relevance: Tensor, together: Sequence[int], threshold: float) -> list[int]:
    """Routes with the edits at positions ``together`` in one index."""
    members = torch.tensor(together)
    chosen = best(relevance[:, members], threshold)
    routes: list[int] = torch.where(chosen >= 0, members[chosen.clamp_min(0)], -1).tolist()
    return routes
