"""What ``edit.py`` does: ask the base, make the edits, route, score, report, save."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import Logger
from rich.console import Console
from torch import Tensor

from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.backbone.load import ATLAS_ROUTER
from ldke_pl.config import EditConfig, EditorConfig
from ldke_pl.data import EditCase, EditRequest, Question
from ldke_pl.editors import JointEditor, Sites, build_editor
from ldke_pl.edits import Edit, n_bytes
from ldke_pl.edits.artefact import Artefact, save_artefact
from ldke_pl.errors import ConfigError, EditError, LDKEError
from ldke_pl.localize import Calibration, build_localizer
from ldke_pl.metrics.evaluator import Evaluator, Run
from ldke_pl.metrics.results import ProbeResult, write_results
from ldke_pl.metrics.summary import summarise
from ldke_pl.modules.editing import EditingModule, request_loader
from ldke_pl.report.html import write_report
from ldke_pl.report.tables import print_report
from ldke_pl.router import FeatureReader, RadiusRouter, Router, best, load_router
from ldke_pl.router.store import describe, weights
from ldke_pl.runtime.data import check_images, load_cases, sampled
from ldke_pl.runtime.folder import build_logger, commit, open_run, write_metrics
from ldke_pl.runtime.trainer import build_trainer

FLOOR = "no_edit"
"""The method that every table has: the model as it is."""


@dataclass
class Timed:
    """A choice of sites that notes how long it took."""

    sites: Sites
    seconds: float = 0.0

    def __call__(self, requests: Sequence[EditRequest]) -> list[tuple[str, ...]]:
        start = time.perf_counter()
        chosen = self.sites(requests)
        self.seconds += time.perf_counter() - start
        return chosen


@dataclass
class Costs:
    """What one method took, over all seeds."""

    edits: int = 0
    seconds: float = 0.0
    localize: float = 0.0
    stored: int = 0

    def figures(self) -> dict[str, float]:
        n = max(1, self.edits)
        return {
            "seconds_per_edit": self.seconds / n,
            "seconds_localize": self.localize / n,
            "bytes_per_edit": self.stored / n,
        }


@dataclass
class Session:
    """One run of ``edit.py``."""

    config: EditConfig
    folder: Path
    backbone: Backbone
    router: Router
    calibration: Calibration
    cases: list[EditCase]
    console: Console
    logger: Logger | bool
    commit: str = ""
    costs: dict[str, Costs] = field(default_factory=dict)

    @property
    def requests(self) -> list[EditRequest]:
        return [case.request for case in self.cases]

    def joint(self) -> list[int]:
        """Positions of the cases that are applied together: the contradiction-free ones."""
        return [i for i, case in enumerate(self.cases) if case.joint][: self.config.run.joint]


def run_edit(config: EditConfig) -> None:
    """Make and evaluate every edit with every method that the configuration names, and with none."""
    console = Console()
    config.editor.setdefault(FLOOR, EditorConfig(cls="ldke_pl.editors.no_edit.NoEdit", routed=False))
    session = prepare(config, console)
    evaluator = Evaluator(session.backbone, session.cases, config.run.protocols, config.run.batch_size)
    with console.status(f"asking the unedited model {len(evaluator.items)} questions"):
        evaluator.ask_base()
        agreement = evaluator.self_agreement()
        keys = session.router.keys(session.requests)
        relevance = evaluator.relevance(session.router, keys)
    rows: list[ProbeResult] = []
    for seed in config.run.seeds:
        for name, settings in config.editor.items():
            edits = make_edits(session, name, settings, seed)
            edits = [replace(e, key=k) for e, k in zip(edits, keys, strict=True)]
            if settings.routed and seed == config.run.seeds[0]:
                save_edits(session, name, [edits[i] for i in session.joint()])
            with console.status(f"{name}: asking every probe under its edit"):
                rows += score(session, evaluator, name, seed, edits, relevance)
    finish(session, rows, agreement)


def prepare(config: EditConfig, console: Console) -> Session:
    """Load everything and refuse what cannot work, before anything is computed."""
    if config.trainer.devices * config.trainer.num_nodes > 1:
        raise ConfigError("edit.py makes edits on one device.", "set trainer.devices=1 trainer.num_nodes=1")
    folder = open_run(config, "edit")
    logger = build_logger(config.logger, folder)
    trainer = build_trainer(config.trainer, folder, logger)
    cases = sampled(load_cases(config.data), config.run.sample)
    check_images(cases)
    backbone = load_backbone(config.model, trainer.strategy.root_device)
    check_questions(backbone, cases)
    place = router_folder(config)
    if config.router.kind == "radius" or place is None:
        if config.router.kind != "radius":
            console.print("No trained router for this model: the training-free radius router is used.", style="yellow")
        router: Router = RadiusRouter(FeatureReader(backbone, config.router.layers))
    else:
        router = load_router(backbone, place)
    if config.router.threshold is not None:
        router.threshold = config.router.threshold
    calibration = Calibration.load(place / "localizer.json") if place else Calibration()
    return Session(config, folder, backbone, router, calibration, cases, console, logger, commit())


def router_folder(config: EditConfig) -> Path | None:
    """Where the model's router and localizer calibration are; None where it has none of its own."""
    if config.model.router:
        return Path(config.model.router)
    return ATLAS_ROUTER if config.model.name == "atlas" else None


def check_questions(backbone: Backbone, cases: Sequence[EditCase]) -> None:
    """Encode every request, and every probe that is long enough to exceed the context, before the first edit.

    Raises:
        EditError: a prompt or target is empty or too long; names the case.
    """
    prompts = backbone.prompts
    for case in cases:
        question = Question(case.request.image, case.request.prompt)
        try:
            prompts.encode_answers([question], [case.request.target])
            for probe in case.probes:
                told = probe.expected or "?"
                # A token is at least a byte: what is shorter fits, unless pictures take most of the context.
                if len((probe.prompt + told).encode()) > prompts.context // 8:
                    prompts.encode_answers([Question(probe.image, probe.prompt)], [told])
        except LDKEError as fault:
            raise EditError(f"{case.case_id}: {fault.message}", fault.hint) from fault


def make_edits(session: Session, name: str, settings: EditorConfig, seed: int) -> list[Edit]:
    """All edits of one method and seed, through Lightning's predict loop."""
    config = session.config
    sites = Timed(choose_sites(session, settings, seed))
    module = EditingModule(build_editor(session.backbone, settings, sites), seed)
    trainer = build_trainer(
        config.trainer, session.folder, session.logger, inference_mode=False, callbacks=[RichProgressBar()]
    )
    session.console.print(f"{name}: {len(session.cases)} edits, seed {seed}")
    try:
        trainer.predict(module, request_loader(session.requests, settings.batch_size), return_predictions=False)
    except LDKEError:
        # What is finished is kept: with keys, so that the artefact can be used as it is.
        keyed = zip(module.edits, session.router.keys(session.requests[: len(module.edits)]), strict=True)
        save_edits(session, name, [replace(e, key=k) for e, k in keyed])
        raise
    costs = session.costs.setdefault(name, Costs())
    costs.edits += len(module.edits)
    costs.seconds += module.seconds
    costs.localize += sites.seconds
    costs.stored += sum(n_bytes(e.deltas) for e in module.edits)
    return module.edits


def choose_sites(session: Session, settings: EditorConfig, seed: int) -> Sites:
    """The localizer, or the fixed site that the method's settings name."""
    localizer = session.config.localizer
    if settings.sites == "localized":
        return build_localizer(session.backbone, localizer, session.calibration, seed)
    if settings.sites in ("last", "middle", "all", "random"):
        return build_localizer(session.backbone, replace(localizer, name=settings.sites), session.calibration, seed)
    fixed = replace(localizer, name="fixed", site=settings.sites)
    return build_localizer(session.backbone, fixed, session.calibration, seed)


def save_edits(session: Session, name: str, edits: Sequence[Edit]) -> None:
    """Write the artefact of one method: ``edits/`` for the first, ``edits-<method>/`` for others."""
    first = next((n for n, e in session.config.editor.items() if e.routed), name)
    folder = session.folder / ("edits" if name == first else f"edits-{name}")
    artefact = Artefact(list(edits), describe(session.router), weights(session.router))
    save_artefact(folder, session.backbone, artefact)


def score(
    session: Session, evaluator: Evaluator, name: str, seed: int, edits: Sequence[Edit], relevance: Tensor
) -> list[ProbeResult]:
    """Rows of one method and seed in every mode."""
    routed, modes = session.config.editor[name].routed, session.config.run.modes
    unrouted = evaluator.forced(edits)
    threshold = session.router.threshold
    rows: list[ProbeResult] = []
    if "single" in modes:
        routes = evaluator.single_routes(relevance, threshold) if routed else evaluator.own_routes()
        rows += evaluator.rows(Run(name, "single", seed), edits, unrouted, routes)
    together = session.joint()
    if "joint" not in modes or not together:
        return rows
    routes = joint_routes(relevance, together, threshold) if routed else evaluator.own_routes()
    if not routed and any(edit.deltas for edit in edits):
        settings = session.config.editor[name]
        editor = build_editor(session.backbone, settings, choose_sites(session, settings, seed))
        if not isinstance(editor, JointEditor):
            return rows
        shared = editor.edit_together([session.requests[i] for i in together], seed=seed)
        edits = [shared] * len(edits)
        unrouted = evaluator.forced(edits, together)
    return rows + list(evaluator.rows(Run(name, "joint", seed), edits, unrouted, routes, together))


def joint_routes(relevance: Tensor, together: Sequence[int], threshold: float) -> list[int]:
    """Routes with the edits at positions ``together`` in one index."""
    members = torch.tensor(together)
    chosen = best(relevance[:, members], threshold)
    routes: list[int] = torch.where(chosen >= 0, members[chosen.clamp_min(0)], -1).tolist()
    return routes


def finish(session: Session, rows: Sequence[ProbeResult], agreement: float) -> None:
    """Write results, figures and report, and print the tables."""
    config = session.config
    sizes = {"single": 1, "joint": len(session.joint())}
    held_out = frozenset(config.router.held_out_relations)
    methods: dict[str, Any] = {
        **summarise(rows, index_sizes=sizes, held_out_relations=held_out, resamples=config.run.resamples)
    }
    for name in methods:
        methods[name] |= session.costs[name].figures()
        if not config.editor[name].routed:
            for mode in config.run.modes:  # it goes everywhere: there is no decision to rate
                methods[name].get(mode, {}).pop("router", None)
    metrics = {
        "schema": 1, "model": config.model.name, "data": config.data.format, "commit": session.commit,
        "seeds": config.run.seeds, "n_edits": len(session.cases), "self_agreement": agreement, "methods": methods,
    }  # fmt: skip
    write_results(session.folder / "results.csv", rows)
    write_metrics(session.folder, metrics)
    write_report(session.folder / "report.html", metrics, rows, title=f"Edits of {config.model.name}")
    print_report(metrics, session.console)
    session.console.print(f"report: {session.folder / 'report.html'}")
