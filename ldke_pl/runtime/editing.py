"""What ``edit.py`` does: ask the base, make the edits, route, score, report, save."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lightning.fabric.utilities import rank_zero_only
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console
from torch import Tensor

from ldke_pl.config import EditConfig, EditorConfig
from ldke_pl.metrics.evaluator import Evaluator
from ldke_pl.metrics.results import ProbeResult, write_results
from ldke_pl.metrics.summary import SEQUENCE, flat_figures, summarise
from ldke_pl.report.html import write_report
from ldke_pl.report.tables import print_report
from ldke_pl.router.base import Key
from ldke_pl.runtime import unfinished
from ldke_pl.runtime.folder import write_metrics
from ldke_pl.runtime.localization import localization
from ldke_pl.runtime.making import make_edits, save_edits, share_edits
from ldke_pl.runtime.own import conclude
from ldke_pl.runtime.scoring import Method
from ldke_pl.runtime.session import Costs, Session, prepare

FLOOR = "no_edit"
"""The method that every table has: the model as it is."""


def run_edit(config: EditConfig) -> int:
    """Make and evaluate every edit with every method that the configuration names, and with none.

    Returns:
        The exit status: 0, or that of edits of one's own of which not all took.
    """
    console = Console(quiet=bool(getattr(rank_zero_only, "rank", 0)))
    named = [name for name in config.editor if name != FLOOR] or [FLOOR]
    config.editor.setdefault(FLOOR, EditorConfig(cls="ldke_pl.editors.no_edit.NoEdit", routing="none"))
    session = prepare(config, console, shared=True)
    if not share_edits(session):
        return 0
    evaluator = Evaluator(session.backbone, session.cases, config.run.protocols, config.run.batch_size)
    with console.status(f"asking the unedited model {len(evaluator.items)} questions"):
        evaluator.ask_base(session.folder.parent / "cache")
        agreement = evaluator.self_agreement()
        keys = session.router.keys([*session.requests, *session.distractors])
        relevance = evaluator.relevance(session.router, keys)
    rows: list[ProbeResult] = []
    for seed in config.run.seeds:
        for name in config.editor:
            part = unfinished.part(session, name, seed)
            if kept := part.read():
                console.print(f"{name}: seed {seed} was finished before")
                found, costs = kept
            else:
                found, costs = run_method(session, evaluator, name, seed, relevance, keys, part)
                part.write(found, costs)
            rows += found
            session.costs[name] = session.costs.get(name, Costs()) + costs
    metrics = finish(session, rows, agreement)
    unfinished.clear(session)
    if config.edits is not None:
        return conclude(session, rows, named)
    print_report(metrics, console)
    console.print(f"report: {session.folder / 'report.html'}")
    return 0


def run_method(
    session: Session,
    evaluator: Evaluator,
    name: str,
    seed: int,
    relevance: Tensor,
    keys: Sequence[Key],
    part: unfinished.Part,
) -> tuple[list[ProbeResult], Costs]:
    """Rows and costs of one method with one seed; saves its edits, those of the first seed.

    Args:
        relevance, keys: of the requests, then the distractors, by the run's router; (items, edits), and one per edit.
    """
    settings = session.config.editor[name]
    editor, edits, costs = make_edits(session, name, settings, seed, part.chunks)
    if settings.routing == "shared":
        edits = [replace(e, key=k) for e, k in zip(edits, keys, strict=False)]  # distractors' keys come last
        if seed == session.config.run.seeds[0]:
            save_edits(session, name, [edits[i] for i in session.joint()])
    with session.console.status(f"{name}: asking every probe under its edit"):
        return list(Method(session, evaluator, name, editor, seed, edits, relevance).rows()), costs


def finish(session: Session, rows: Sequence[ProbeResult], agreement: float) -> dict[str, Any]:
    """Write results, figures and report; returns the figures."""
    config = session.config
    together = len(session.joint())
    sizes = {"single": 1, "joint": together} | {f"{SEQUENCE}_{n}": n for n in session.sizes()}
    sizes |= {mode: together + others for mode, others in session.crowded().items()}
    held_out = frozenset(config.router.held_out_relations)
    methods: dict[str, Any] = {
        **summarise(rows, index_sizes=sizes, held_out_relations=held_out, resamples=config.run.resamples)
    }
    for name in methods:
        methods[name] |= session.costs[name].figures()
        if config.editor[name].routing == "none":
            for mode in sizes:  # it goes everywhere: there is no decision to rate
                methods[name].get(mode, {}).pop("router", None)
    metrics = {
        "schema": 1, "model": config.model.name, "data": config.data.format, "commit": session.commit,
        "seeds": config.run.seeds, "n_edits": len(session.cases), "self_agreement": agreement, "methods": methods,
    }  # fmt: skip
    if sites := localization(session):
        metrics["localization"] = sites
    write_results(session.folder / "results.csv", rows)
    write_metrics(session.folder, metrics)
    if isinstance(session.logger, WandbLogger):  # a sweep judges runs by these
        session.logger.log_metrics(flat_figures(methods))
    write_report(session.folder / "report.html", metrics, rows, title=f"Edits of {config.model.name}")
    return metrics
