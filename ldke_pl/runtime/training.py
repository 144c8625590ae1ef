"""What ``train.py`` does: fit the Disentanglement Classifier, calibrate its threshold, report and save it."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console
from torch import Tensor

from ldke_pl.backbone import load_backbone
from ldke_pl.config import DataConfig, TrainConfig
from ldke_pl.data import EditCase, scored_together
from ldke_pl.localize import Calibration
from ldke_pl.localize.calibration import calibrate_standard
from ldke_pl.metrics.results import BASE, ProbeResult
from ldke_pl.metrics.routing import router_summary
from ldke_pl.modules.calibration import Judgements, calibrated
from ldke_pl.modules.derived import with_derived_pairs, with_second_hop_edits
from ldke_pl.modules.features import read_features
from ldke_pl.modules.pairs import PairTable, pair_table, probe_question, without_relations
from ldke_pl.modules.router import RouterModule, case_loader
from ldke_pl.report.tables import router_table
from ldke_pl.router import ClassifierRouter, FeatureReader, Features, best, save_router
from ldke_pl.router.base import stacked
from ldke_pl.router.subject import common_words
from ldke_pl.runtime.data import training_and_validation
from ldke_pl.runtime.folder import build_logger, commit, open_run, write_metrics
from ldke_pl.runtime.trainer import build_trainer
from ldke_pl.runtime.training_editors import needs_training, run_train_editors

log = logging.getLogger(__name__)

GUESSED = 250
"""Training questions, and edits, that the coarse search's guess is fitted on, all pairs of them."""


def run_train(config: TrainConfig) -> None:
    """Fit, calibrate, evaluate on validation, save to ``<run>/router``; or train what another method brings with it."""
    if needs_training(config):
        run_train_editors(config)
        return
    start = time.perf_counter()
    folder, _lock = open_run(config, "train")
    L.seed_everything(config.run.seeds[0], verbose=False)
    trainer = build_trainer(config.trainer, folder, logger=False)
    console = Console(quiet=not trainer.is_global_zero)
    backbone = load_backbone(config.model, trainer.strategy.root_device)
    held_out = set(config.router.held_out_relations)
    train, everything = training_splits(config.data, config.run.seeds[0])
    train = without_relations(train, held_out)
    train = with_second_hop_edits(train, config.run.seeds[0])
    reader = FeatureReader(backbone, config.router.layers, config.router.naming, common_words(_asked(train)))
    cases = [*train, *everything]
    questions = [probe_question(p) for c in cases for p in c.probes]
    bank = read_features(trainer, reader, [c.request for c in cases], questions, folder.parent / "cache")
    table = pair_table(train, bank)
    seconds = time.perf_counter() - start
    console.print(f"{len(train)} training edits, {len(table.owner)} probes; features in {seconds:.0f} s")
    module = fit(config, table, reader.width, len(reader.layers), folder)
    if not trainer.is_global_zero:
        return
    router = ClassifierRouter(reader, module.classifier, 0.5)
    calibrate(router, pair_table(without_relations(everything, held_out), bank), config.router.things)
    fit_guess(router, table)
    calibration = calibrate_standard(backbone, [c.request for c in everything])
    figures = evaluate(router, pair_table(everything, bank), everything, held_out)
    save(router, calibration, folder / "router", config)
    metrics = {
        "schema": 1, "model": config.model.name, "data": config.data.format, "commit": commit(),
        "seeds": config.run.seeds, "n_edits": len(train), "seconds": time.perf_counter() - start,
        "methods": {"router": figures},
    }  # fmt: skip
    write_metrics(folder, metrics)
    console.print(router_table(metrics))
    seconds = time.perf_counter() - start
    console.print(f"threshold {router.threshold:.2f}; {seconds:.0f} s in all; router in {folder / 'router'}")


def _asked(cases: Sequence[EditCase]) -> Iterator[tuple[str, str]]:
    """What each question of some cases is about, as far as the data says so, and its text."""
    for case in cases:
        thing = case.entity or case.case_id
        yield thing, case.request.prompt
        yield from ((probe.entity or thing, probe.prompt) for probe in case.probes)


def training_splits(config: DataConfig, seed: int) -> tuple[list[EditCase], list[EditCase]]:
    """Cases to train on and cases to calibrate on, about different things.

    The probes of other sets than Atlas say less, and pairs are derived from them.
    """
    train, validation = training_and_validation(config, seed)
    if config.format == "atlas":
        return train, validation
    return with_derived_pairs(train, seed), with_derived_pairs(validation, seed)


def fit(config: TrainConfig, table: PairTable, features: int, layers: int, folder: Path) -> RouterModule:
    """Train the classifier with Lightning."""
    r = config.router
    shape = {
        "features": features, "layers": layers, "width": r.width, "cohort": r.cohort, "dropout": r.dropout,
        "streams": r.streams, "kept": r.kept if features // layers > r.kept else None,
    }  # fmt: skip
    module = RouterModule(table, shape, r.lr, r.weight_decay, r.steps)
    trainer = build_trainer(
        config.trainer, folder, build_logger(config.logger, folder),
        max_steps=r.steps, gradient_clip_val=1.0, log_every_n_steps=20,
    )  # fmt: skip
    seed, cases = config.run.seeds[0], len(table.edits["seen"])
    trainer.fit(module, case_loader(cases, r.steps, r.batch_size, seed, trainer.world_size))
    module.classifier.eval()
    return module


def calibrate(router: ClassifierRouter, table: PairTable, things: int) -> None:
    """Set the router's threshold and trust by validation probes, for an index of so many other things' edits."""
    entities = (table.edit_entity, table.probe_entity)
    judgements = Judgements(*judged(router, table), table.owner, table.relevant, table.kinds, *entities)
    router.threshold, router.classifier.trust = calibrated(judgements, things)


@torch.no_grad()
def fit_guess(router: ClassifierRouter, table: PairTable) -> None:
    """Fit what the coarse search guesses of questions to what the question stream says of some pairs of training."""
    queries = _spread({name: value[table.places] for name, value in table.queries.items()}, GUESSED)
    device, classifier = router.reader.backbone.device, router.classifier
    asked = router.asked({name: value.to(device) for name, value in queries.items()})
    embedded = stacked(router.embedded(_spread(table.edits, GUESSED)))
    keys = {name: value.to(device).float() for name, value in embedded.items()}
    logits = torch.cat([classifier.judged(part, keys)[1] for part in _split(asked, 100)])
    # On the CPU: directions are drawn at random, and only its random state is set and put back.
    asked, keys = ({name: value.cpu() for name, value in features.items()} for features in (asked, keys))
    classifier.guess.fit(asked, keys, (logits + classifier.trust).cpu())


def _spread(features: Features, count: int) -> Features:
    """So many rows, evenly spread."""
    return {name: value[:: max(1, len(value) // count)] for name, value in features.items()}


def _split(features: Features, size: int) -> Iterator[Features]:
    parts = {name: torch.split(value, size) for name, value in features.items()}
    return (dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True))


@torch.no_grad()
def judged(router: ClassifierRouter, table: PairTable) -> tuple[Tensor, Tensor]:
    """Both streams' logits of every probe against every edit of a table, (probes, edits) each, on the CPU."""
    device = router.reader.backbone.device
    keys = {name: value.to(device).float() for name, value in stacked(router.embedded(table.edits)).items()}
    parts = []
    for places in table.places.split(512):  # type: ignore[no-untyped-call]
        asked = router.asked({name: value[places].to(device) for name, value in table.queries.items()})
        parts.append([logits.cpu() for logits in router.classifier.judged(asked, keys)])
    thing, question = (torch.cat(part) for part in zip(*parts, strict=True))
    return thing, question


def evaluate(
    router: ClassifierRouter, table: PairTable, cases: Sequence[EditCase], held_out: set[str]
) -> dict[str, Any]:
    """Router figures per query and probe kind, with each edit alone and with the contradiction-free set."""
    probes = torch.arange(len(table.owner))
    relevance = router.classifier.combined(*judged(router, table)).sigmoid()
    alone = relevance[probes, table.owner]
    single = torch.where(alone >= router.threshold, table.owner, -1).tolist()
    together = [i for i, c in enumerate(cases) if c.joint]
    members = torch.tensor(together)
    chosen = best(relevance[:, members], router.threshold)
    joint = torch.where(chosen >= 0, members[chosen.clamp_min(0)], -1).tolist()
    all_scored = {i: [True] * len(c.probes) for i, c in enumerate(cases)}
    joint_scored = dict(zip(together, scored_together([cases[i] for i in together]), strict=True))
    figures: dict[str, Any] = {}
    for mode, routes, scored, size in (("single", single, all_scored, 1), ("joint", joint, joint_scored, len(members))):
        rows = list(_rows(mode, cases, routes, scored))
        figures[mode] = {"router": router_summary(rows, held_out) | {"index_size": size}}
    return figures


def _rows(
    mode: str, cases: Sequence[EditCase], routes: Sequence[int], scored: Mapping[int, Sequence[bool]]
) -> list[ProbeResult]:
    """Routing decisions as result rows, whose scores say whether the decision was right.

    Args:
        routes: the case that each probe of ``cases`` is routed to, -1 for the base.
        scored: which probes of which cases count.
    """
    rows, place = [], -1
    for number, case in enumerate(cases):
        counted = scored.get(number, [False] * len(case.probes))
        for probe, kept in zip(case.probes, counted, strict=True):
            place += 1
            if not kept:
                continue
            route, relevant = routes[place], not probe.kind.is_locality
            score = float((route == number) == relevant and (relevant or route < 0))
            rows.append(
                ProbeResult(
                    method="router",
                    mode=mode,
                    protocol="generate",
                    seed=0,
                    case_id=case.case_id,
                    group=case.group,
                    entity=case.entity,
                    edit_relation=case.relation,
                    kind=probe.kind.value,
                    relation=probe.relation,
                    image=str(probe.image or ""),
                    prompt=probe.prompt,
                    expected="",
                    before="",
                    after="",
                    after_unrouted="",
                    score=score,
                    score_unrouted=score,
                    score_no_edit=score,
                    ceiling=None,
                    relevant=relevant,
                    route=BASE if route < 0 else cases[route].case_id,
                    edit_id=case.case_id,
                    sites="",
                )
            )
    return rows


def save(router: ClassifierRouter, calibration: Calibration, folder: Path, config: TrainConfig) -> None:
    """Write the router and the localizer's calibration, which belong to the same base."""
    fingerprint = router.reader.backbone.fingerprint(router.reader.layers[-1], rounded=True)
    facts: dict[str, Any] = {"base": config.model.name, "fingerprint": fingerprint}
    facts["held_out_relations"] = config.router.held_out_relations
    save_router(router, folder, facts)
    calibration.save(folder)
