"""Ten thousand edits in one model: what they take up, and whether questions still find their own."""

import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from ldke_pl.backbone.load import ATLAS_ROUTER
from ldke_pl.bench.keys import made_up
from ldke_pl.bench.subjects import atlas, atlas_cases, editor_config
from ldke_pl.bench.timing import Result
from ldke_pl.data import Question
from ldke_pl.edited import EditedModel
from ldke_pl.editors.ldke import LDKE
from ldke_pl.edits import Delta, Edit
from ldke_pl.router import load_router

REAL, SIZES = 64, (2_500, 5_000, 10_000)


def lifelong() -> Iterator[Result]:
    """Memory of 10 000 edits, how it grows, and the share of questions that are routed as with 64 edits."""
    # In a process of its own: memory that other benchmarks have freed would be taken again and not be seen to grow.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        taken, same = pool.submit(_measured).result()
    yield Result("10000 edits, GB", [taken[-1] / 1e9], 2.0, at_most=True)
    # Differences, since what was free before the first edit came is taken up first and not seen.
    growth = (taken[2] - taken[1]) / (taken[1] - taken[0])
    yield Result("memory of edits 5001 to 10000 / of 2501 to 5000", [growth])
    yield Result(f"share of {len(same)} questions routed among 10000 edits as among {REAL}", [sum(same) / len(same)])


def _measured() -> tuple[list[int], list[bool]]:
    """Bytes taken by ever more edits, and whether each question goes where it went among few."""
    editor = LDKE(atlas(), editor_config(steps=1), lambda requests: [("connector",) for _ in requests])
    edited = EditedModel(atlas(), load_router(atlas(), ATLAS_ROUTER), editor)
    cases = atlas_cases()[:REAL]
    names = edited.edit([case.request for case in cases])
    questions = [[Question(p.image, p.prompt) for p in case.probes] for case in cases]
    few = [_routes(edited, asked) for asked in questions]
    before, taken = _resident(), []
    for size in SIZES:
        _grow(edited, edited.edits[names[0]], size)
        taken.append(_resident() - before)
    many = [_routes(edited, asked) for asked in questions]
    return taken, [a == b for one, other in zip(few, many, strict=True) for a, b in zip(one, other, strict=True)]


def _grow(edited: EditedModel, real: Edit, size: int) -> None:
    """Made-up edits with the deltas of a real one, until there are so many."""
    for keys in made_up(edited.router, len(edited.edits), size):
        edited.put([_copied(real, name, key) for name, key in keys.items()])


def _routes(edited: EditedModel, questions: list[Question]) -> list[str]:
    return edited.route(dict(edited.backbone.prompts.encode(questions))).rows


def _copied(edit: Edit, name: str, key: object) -> Edit:
    """An edit of its own: nothing that it stores is shared."""
    deltas = {n: Delta(tuple(f.clone() for f in d.factors)) for n, d in edit.deltas.items()}
    return replace(edit, edit_id=name, key=key, deltas=deltas, supersedes="")  # type: ignore[arg-type]


def _resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
