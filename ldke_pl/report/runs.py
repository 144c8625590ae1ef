"""Run folders of ``edit.py``, and several of them as one: other methods, or other seeds, on the same cases."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ldke_pl.errors import ConfigError
from ldke_pl.metrics.results import ProbeResult, read_results
from ldke_pl.metrics.summary import summarise
from ldke_pl.report.figures import COSTS, NO_EDIT

FACTS = ("model", "data", "commit", "seeds", "n_edits", "methods")
"""What ``metrics.json`` of any finished run has."""


@dataclass(frozen=True)
class FinishedRun:
    """What one run left: ``metrics.json``, the rows of ``results.csv``, and relations its router never trained on."""

    metrics: Mapping[str, Any]
    rows: Sequence[ProbeResult]
    held_out: frozenset[str] = frozenset()


def read_run(folder: Path) -> FinishedRun:
    """Read a run folder.

    Raises:
        ConfigError: it is none, or the run did not finish.
    """
    try:
        metrics = _read_metrics(folder / "metrics.json")
        rows = list(read_results(folder / "results.csv"))
        held_out = OmegaConf.select(OmegaConf.load(folder / "config.yaml"), "router.held_out_relations") or []
        return FinishedRun(metrics, rows, frozenset(held_out))
    except (OSError, ValueError, TypeError, csv.Error, YAMLError, OmegaConfBaseException) as fault:
        raise ConfigError(f"{folder} is no finished run: {fault}", "give a run folder of edit.py") from fault


def _read_metrics(path: Path) -> dict[str, Any]:
    metrics = json.loads(path.read_text(encoding="utf-8"))
    facts = metrics if isinstance(metrics, dict) else {}
    missing = [name for name in FACTS if name not in facts]
    methods = facts.get("methods")
    if missing or not isinstance(methods, dict) or not all(isinstance(figures, dict) for figures in methods.values()):
        raise ValueError(f"{path.name} lacks {', '.join(missing) or 'figures of methods'}")
    return facts


def merged(runs: Sequence[FinishedRun]) -> FinishedRun:
    """Several runs as one; of the floor, which is the same in all, each seed counts once.

    Raises:
        ConfigError: they are of different models, data, edits or pictures, or two have a method with the same seed.
    """
    if len(runs) == 1:
        return runs[0]
    for key in ("model", "data", "n_edits"):
        if len(found := {str(run.metrics[key]) for run in runs}) > 1:
            raise ConfigError(f"These runs differ in {key}: {', '.join(found)}.", "give runs on the same edits")
    runs = comparable(runs)
    rows: dict[str, dict[int, list[ProbeResult]]] = defaultdict(dict)
    sources: dict[str, list[FinishedRun]] = defaultdict(list)
    for run in runs:
        for method, by_seed in _by_seed(run.rows).items():
            new = {seed: kept for seed, kept in by_seed.items() if seed not in rows[method]}
            if len(new) < len(by_seed) and method != NO_EDIT:
                raise ConfigError(f"Two runs have {method} with the same seed.", "leave one of them out")
            rows[method] |= new
            sources[method] += [run] if new else []
    of_method = {method: [row for kept in by_seed.values() for row in kept] for method, by_seed in rows.items()}
    methods = {method: _figures(method, sources[method], kept) for method, kept in of_method.items()}
    metrics = {
        **runs[0].metrics, "methods": methods,
        "commit": ", ".join(dict.fromkeys(run.metrics["commit"] for run in runs)),
        "seeds": sorted({seed for by_seed in rows.values() for seed in by_seed}),
    }  # fmt: skip
    return FinishedRun(metrics, [row for kept in of_method.values() for row in kept], runs[0].held_out)


def comparable(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Runs whose probes can be paired, made in one place or in several.

    Returns:
        The runs, with pictures named from the folder that holds all of a run's.

    Raises:
        ConfigError: a run has no picture in common with the first.
    """
    found = [_within_one_folder(run) for run in runs]
    shown = [{row.image for row in run.rows if row.image} for run in found]
    if any(pictures and shown[0] and not pictures & shown[0] for pictures in shown):
        raise ConfigError(
            "These runs have no picture in common, so that their probes cannot be paired.",
            "give runs whose pictures have the same names",
        )
    return found


def _within_one_folder(run: FinishedRun) -> FinishedRun:
    """The run with paths of pictures less what they share, if all of them share a folder."""
    folders = {os.path.dirname(row.image) for row in run.rows if row.image}
    try:
        shared = os.path.commonpath(folders)
    except ValueError:  # no pictures, or some that are no files
        return run
    names = {row.image: os.path.relpath(row.image, shared) for row in run.rows if row.image}
    return replace(run, rows=[replace(row, image=names.get(row.image, "")) for row in run.rows])


def _by_seed(rows: Sequence[ProbeResult]) -> dict[str, dict[int, list[ProbeResult]]]:
    found: dict[str, dict[int, list[ProbeResult]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row.method][row.seed].append(row)
    return found


def _figures(method: str, sources: Sequence[FinishedRun], rows: Sequence[ProbeResult]) -> dict[str, Any]:
    """A method's figures: those of its one run; else new ones of all its rows, and the mean of its costs."""
    every = [run.metrics["methods"][method] for run in sources]
    first: dict[str, Any] = every[0]
    if len(sources) == 1:
        return first
    sizes = {mode: f["router"]["index_size"] for mode, f in first.items() if isinstance(f, Mapping) and "router" in f}
    held_out = sources[0].held_out
    figures: dict[str, Any] = {
        **summarise(rows, index_sizes=defaultdict(int, sizes), held_out_relations=held_out)[method]
    }
    for mode in figures.keys() - sizes.keys():  # there is no decision to rate
        figures[mode].pop("router", None)
    return figures | {cost: sum(f[cost] for f in every) / len(every) for cost in COSTS if all(cost in f for f in every)}
