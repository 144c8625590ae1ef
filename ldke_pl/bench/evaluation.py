"""Asking probes: in batches of several edits, or one by one."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from ldke_pl.bench.subjects import atlas, atlas_cases, editor_config
from ldke_pl.bench.timing import Result, side_by_side
from ldke_pl.editors.ldke import LDKE
from ldke_pl.errors import ModelError
from ldke_pl.metrics.answers import Answers
from ldke_pl.metrics.evaluator import Evaluator

EDITS, PROBES = 100, 12


def evaluation() -> Iterator[Result]:
    """100 edits, twelve probes of each: one by one, against batches in which every row has its own edit."""
    cases = [replace(case, probes=case.probes[:PROBES]) for case in atlas_cases()[:EDITS]]
    editor = LDKE(atlas(), editor_config(steps=5), lambda requests: [("decoder.0",) for _ in requests])
    edits = editor.edit([case.request for case in cases])
    found: dict[int, Answers] = {}

    def ask(size: int) -> None:
        evaluator = Evaluator(atlas(), cases, ["generate"], size)
        found[size] = evaluator.forced(edits)

    runs = side_by_side(partial(ask, 1), partial(ask, 64))
    same = [found[1].texts[i] == text for i, text in found[64].texts.items()]
    if sum(same) < 0.995 * len(same):
        raise ModelError(f"{len(same) - sum(same)} of {len(same)} answers depend on the batch.", "report it")
    yield Result(f"{len(same)} probes of 100 edits: one by one / in batches", runs, 4.0)
