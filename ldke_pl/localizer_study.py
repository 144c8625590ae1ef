"""How well does each localizer choose an edit's site, and at what cost?

    python -m ldke_pl.localizer_study [key=value ...]      # the keys of edit.py

Every edit is made at every site alone and judged by its routed quality: the truth. Localizers are then judged by what
they rank first, with what :mod:`ldke_pl.calibrate` fitted on validation edits; beside them are sites drawn at random
(expected values), ``all`` sites at once (edits of their own) and ``oracle``, the best site of each edit. With
``localizer.site=SITE``, that site for every edit is one of them.
Writes ``study.json``, with the quality of every edit at every site, and ``results.md`` into the run folder.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import torch
from rich.console import Console

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.backbone.meter import Meter
from ldke_pl.config import EditConfig
from ldke_pl.data import EditRequest, Question
from ldke_pl.errors import ConfigError
from ldke_pl.localize import build_localizer, rank_sites, site_scores
from ldke_pl.localize.gradients import SCORES
from ldke_pl.metrics.localizers import Choice, best, figures, of_chance, of_quality, of_ranking
from ldke_pl.report.localizers import study_page
from ldke_pl.runtime import main
from ldke_pl.runtime.exhaustive import METHOD, exhaustive
from ldke_pl.runtime.session import Session, prepare

RANKING = (*SCORES, "readout")
DEFAULT = "best_fixed_per_kind"
ALL_SITES = "all"
REPEATS = 3
"""Timings are the least of so many."""

Ranking = list[tuple[str, ...]]


@dataclass(frozen=True)
class Cost:
    """What something took per edit: tokens of forward passes that would cost as much, and seconds."""

    tokens: float
    seconds: float


def run_study(config: EditConfig) -> None:
    """Run the whole study and write its results."""
    L.seed_everything(config.run.seeds[0], verbose=False)
    session = prepare(config, Console())
    if session.calibration.readout is None or not session.calibration.best_fixed:
        raise ConfigError(
            f"No localizer was calibrated for {config.model.name!r}.",
            "run ldke_pl.calibrate with model.router=FOLDER, and then this with the same",
        )
    costs = {"one forward": measured(session.backbone, session.requests, partial(_forward, session))[1]}
    rankings = {}
    for name in named(config):
        rankings[name], costs[name] = measured(session.backbone, session.requests, partial(rank, session, name))
    meters = {name: Meter(session.backbone) for name in (*session.backbone.sites, ALL_SITES)}
    quality = exhaustive(session, [ALL_SITES], lambda name: meters[name].running())
    edit_costs = {name: _per_edit(meter, len(session.cases)) for name, meter in meters.items()}
    study = _study(session, quality, rankings) | {"costs": _plain(costs), "edit_costs": _plain(edit_costs)}
    (session.folder / "study.json").write_text(json.dumps(study) + "\n", encoding="utf-8")
    page = study_page(study)
    (session.folder / "results.md").write_text(page, encoding="utf-8")
    session.console.print(page, markup=False, soft_wrap=True)


def named(config: EditConfig) -> list[str]:
    """The localizers that are compared by what they choose."""
    return [*RANKING, DEFAULT, "middle", "last", *(["fixed"] if config.localizer.site else [])]


def rank(session: Session, name: str) -> Ranking:
    """Sites of every edit, best first; one where the localizer names one only."""
    backbone, calibration = session.backbone, session.calibration
    localize = build_localizer(backbone, replace(session.config.localizer, name=name), calibration)
    ranking: Ranking = []
    for chunk in _chunks(session):
        if name in RANKING:
            ranking += rank_sites(site_scores(backbone, name, calibration, chunk), list(backbone.sites))
        else:
            ranking += localize(chunk)
    return ranking


def measured(
    backbone: Backbone, requests: Sequence[EditRequest], call: Callable[[], Ranking | None]
) -> tuple[Any, Cost]:
    """What ``call`` returns for these requests, and what it cost per edit."""
    meters = [Meter(backbone) for _ in range(REPEATS)]
    for meter in meters:
        with meter.running():
            found = call()
    return found, _per_edit(min(meters, key=lambda m: m.seconds), len(requests))


@torch.no_grad()
def _forward(session: Session) -> None:
    """One pass over every edit's question and new answer: the unit of cost."""
    for chunk in _chunks(session):
        questions, targets = [Question(r.image, r.prompt) for r in chunk], [r.target for r in chunk]
        batch, labels = session.backbone.prompts.encode_answers(questions, targets)
        answer_logits(session.backbone, batch.to(session.backbone.device), labels.to(session.backbone.device))


def _chunks(session: Session) -> list[list[EditRequest]]:
    size = session.config.editor[METHOD].batch_size
    return [session.requests[i : i + size] for i in range(0, len(session.requests), size)]


def _per_edit(meter: Meter, edits: int) -> Cost:
    return Cost(meter.cost / edits, meter.seconds / edits)


def _plain(costs: Mapping[str, Cost]) -> dict[str, dict[str, float]]:
    return {name: {"tokens": cost.tokens, "seconds": cost.seconds} for name, cost in costs.items()}


def _study(session: Session, quality: Mapping[str, Sequence[float]], rankings: Mapping[str, Ranking]) -> dict[str, Any]:
    """Everything but costs, as JSON: NaN is null."""
    config, sites = session.config, list(session.backbone.sites)
    truth = np.array([quality[site] for site in sites]).T
    references = [DEFAULT, *(["fixed"] if "fixed" in rankings else [])]
    found = figures(
        _choices(truth, sites, rankings, quality[ALL_SITES]), truth, [c.group for c in session.cases],
        [c.entity or c.case_id for c in session.cases], references, {"resamples": config.run.resamples, "seed": 0},
    )  # fmt: skip
    cases = [
        {"id": case.case_id, "group": case.group, "entity": case.entity}
        | {"quality": {name: None if np.isnan(v[i]) else round(v[i], 6) for name, v in quality.items()}}
        | {"ranked": {name: ranking[i] for name, ranking in rankings.items()}}
        for i, case in enumerate(session.cases)
    ]
    return {
        "model": config.model.name, "data": config.data.format, "split": config.data.split, "commit": session.commit,
        "seed": config.run.seeds[0], "sites": sites, "fixed": config.localizer.site,
        "best_fixed": session.calibration.best_fixed, "cases": cases, "figures": found,
    }  # fmt: skip


def _choices(
    truth: np.ndarray[Any, np.dtype[np.float64]],
    sites: Sequence[str],
    rankings: Mapping[str, Ranking],
    together: Sequence[float],
) -> dict[str, Choice]:
    columns = {site: i for i, site in enumerate(sites)}
    found = {n: of_ranking(truth, [[columns[s] for s in order] for order in r]) for n, r in rankings.items()}
    chance, oracle = of_chance(truth), of_quality(truth, best(truth))
    return found | {"random": chance, ALL_SITES: of_quality(truth, together), "oracle": oracle}


if __name__ == "__main__":
    sys.exit(main(EditConfig, "edit.yaml", run_study, "-m ldke_pl.localizer_study"))
