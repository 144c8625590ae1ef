"""Which sites do validation edits belong at, and which localizer finds them?

    python -m ldke_pl.calibrate [key=value ...]      # the keys of edit.py

Every validation edit is made at every site alone and judged by its routed quality (mean score over the averaged probe
kinds): the exhaustive truth. Each localizer is then credited with the quality of the sites it would have chosen.
Writes ``localizers.json`` into the run folder, and ``localizer.json`` beside the model's router, or into the run folder
where it has none: how each score is standardised, the readout, and the best fixed site of every kind.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import lightning as L
import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from ldke_pl.config import EditConfig
from ldke_pl.data import EditRequest
from ldke_pl.localize import build_localizer
from ldke_pl.localize.calibration import calibrate_standard
from ldke_pl.localize.controls import CONTROLS
from ldke_pl.localize.gradients import SCORES, gradient_scores
from ldke_pl.localize.readout import fit_readout
from ldke_pl.runtime import main
from ldke_pl.runtime.exhaustive import exhaustive
from ldke_pl.runtime.session import Session, prepare, router_folder

SPLIT = "router-val"


def run_calibrate(config: EditConfig) -> None:
    """Run the whole comparison and write its results."""
    config = replace(config, data=replace(config.data, split=SPLIT))
    L.seed_everything(config.run.seeds[0], verbose=False)
    session = prepare(config, Console())
    session.calibration = calibrate_standard(session.backbone, session.requests)
    # A site that some edit cannot be made at has no mean to compare.
    quality = {site: values for site, values in exhaustive(session).items() if not np.isnan(values).any()}
    groups = [case.group for case in session.cases]
    table = {site: _by_group(values, groups) for site, values in quality.items()}
    kinds = sorted(set(groups))
    scores = _scores(session, [case.request for case in session.cases])
    truth = [list(values) for values in zip(*quality.values(), strict=True)]
    session.calibration.readout = fit_readout(scores, truth)
    session.calibration.best_fixed = {kind: max(table, key=lambda s: table[s].get(kind, -1.0)) for kind in kinds}
    found = {name: _by_group(v, groups) for name, v in credited(session, quality).items()}
    found["readout"] = _by_group(cross_validated(scores, truth, [case.entity for case in session.cases]), groups)
    results = {"n": len(groups), "sites": table, "best_fixed": session.calibration.best_fixed, "localizers": found}
    (session.folder / "localizers.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    session.calibration.save(router_folder(config) or session.folder)
    session.console.print_json(data=results)


def cross_validated(
    scores: Mapping[str, Tensor], truth: Sequence[Sequence[float]], entities: Sequence[str], folds: int = 4
) -> list[float]:
    """Quality of the site that the readout chooses for entities that it was not fitted on."""
    numbers = {e: i % folds for i, e in enumerate(dict.fromkeys(entities))}
    fold = torch.tensor([numbers[e] for e in entities])
    quality = torch.zeros(len(entities))
    for k in range(folds):
        inside, outside = (fold != k).nonzero()[:, 0], (fold == k).nonzero()[:, 0]
        readout = fit_readout({n: s[inside] for n, s in scores.items()}, [truth[i] for i in inside.tolist()])
        chosen = readout.predict({n: s[outside] for n, s in scores.items()}).argmax(1)
        quality[outside] = torch.tensor(truth)[outside, chosen]
    return quality.tolist()


def _scores(session: Session, requests: Sequence[EditRequest], batch_size: int = 32) -> dict[str, Tensor]:
    chunks = [requests[i : i + batch_size] for i in range(0, len(requests), batch_size)]
    found = [gradient_scores(session.backbone, chunk) for chunk in chunks]
    return {name: torch.cat([f[name] for f in found]) for name in SCORES}


def credited(session: Session, quality: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Localizer -> per case, the mean quality of the sites it chooses (an edit at several sites was not made)."""
    names = [*SCORES, *(c for c in CONTROLS if c != "all"), "best_fixed_per_kind"]
    found: dict[str, list[float]] = {}
    for name in names:
        settings = replace(session.config.localizer, name=name)
        chosen = build_localizer(session.backbone, settings, session.calibration)(session.requests)
        found[name] = [float(np.mean([quality[s][i] for s in sites])) for i, sites in enumerate(chosen)]
    found["oracle"] = [max(values) for values in zip(*quality.values(), strict=True)]
    return found


def _by_group(values: Sequence[float], groups: Sequence[str]) -> dict[str, float]:
    split: dict[str, list[float]] = defaultdict(list)
    for value, group in zip(values, groups, strict=True):
        split["all"].append(value)
        split[group].append(value)
    return {name: round(float(np.mean(v)), 4) for name, v in split.items()}


if __name__ == "__main__":
    sys.exit(main(EditConfig, "edit.yaml", run_calibrate, "-m ldke_pl.calibrate"))
