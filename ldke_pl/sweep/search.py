"""The search of a sweep file: what is tried, run by run, and what did best. Optuna chooses."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from rich.console import Console

from ldke_pl.config import CONF_DIR
from ldke_pl.errors import ConfigError
from ldke_pl.metrics.summary import flat_figures
from ldke_pl.sweep.plot import plot_sweep

USAGE = "python -m ldke_pl.sweep FILE [folder=DIR] [count=N] [key=value ...]"
"""How the command is called."""

ROOT = CONF_DIR.parent

DEFAULT_RUNS = 20
"""Runs of a random or bayes search whose file and command name no number."""


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Args:
        program: the command of a run, a file of the repository.
        method: "grid", "random" or "bayes".
        metric: name of the figure to judge by, as in :func:`~ldke_pl.metrics.summary.flat_figures`.
        maximize: whether more of it is better.
        fixed: values that every run has, as the command line takes them.
        choices: texts to choose from, per key.
        ranges: rule with ``min``, ``max`` and perhaps ``distribution``, per key.
        cap: most runs, or None.
    """

    program: str
    method: str
    metric: str
    maximize: bool
    fixed: dict[str, str]
    choices: dict[str, list[str]]
    ranges: dict[str, dict[str, Any]]
    cap: int | None


def read_sweep(path: Path) -> Sweep:
    """Read a W&B sweep file.

    Raises:
        ConfigError: it cannot be read, or lacks something.
    """
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not all(isinstance(text, str) for text in (told["program"], told["metric"]["name"])):
            raise TypeError("program or metric.name is no text")
        parameters: Mapping[str, Mapping[str, Any]] = told["parameters"]
        sweep = Sweep(
            program=told["program"],
            method=told["method"],
            metric=told["metric"]["name"],
            maximize=told["metric"].get("goal", "minimize") == "maximize",
            fixed={k: _text(rule["value"]) for k, rule in parameters.items() if "value" in rule},
            choices={k: [_text(v) for v in rule["values"]] for k, rule in parameters.items() if "values" in rule},
            ranges={k: dict(rule) for k, rule in parameters.items() if "min" in rule and "max" in rule},
            cap=told.get("run_cap"),
        )
    except OSError as fault:
        raise ConfigError(f"The sweep file {path} cannot be read: {fault}", f"usage: {USAGE}") from fault
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as fault:
        hint = "it needs program, method, metric.name and parameters, as conf/sweep/threshold.yaml has them"
        raise ConfigError(f"{path} is no sweep file: {type(fault).__name__} {fault}", hint) from fault
    left = [k for k in parameters if k not in {**sweep.fixed, **sweep.choices, **sweep.ranges}]
    if left:
        raise ConfigError(f"{path} does not say what {', '.join(left)} may be.", "give value, values, or min and max")
    if sweep.method not in ("grid", "random", "bayes") or (sweep.method == "grid" and sweep.ranges):
        raise ConfigError(f"{path} has method {sweep.method!r}.", "use grid with values alone, random or bayes")
    return sweep


def run_sweep(sweep: Sweep, arguments: Mapping[str, str], folder: Path, count: int | None) -> None:
    """Make every run that is still to be made, and write down which did best.

    Raises:
        ConfigError: no run was finished, or the file has another search than the one that the folder was begun with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    study = _study(sweep, folder)
    points = _grid(sweep)
    total = count or sweep.cap or (len(points) if sweep.method == "grid" else DEFAULT_RUNS)
    for stale in study.get_trials(states=(TrialState.RUNNING,)):
        # The run was killed: it is made again. A trial of another process cannot be finished, so that a copy is.
        study.tell(stale.number, state=TrialState.FAIL)
        value = _run(sweep, _chosen(sweep, stale), arguments, folder / _name(stale), console)
        if value is not None:
            known, attrs = stale.distributions, stale.user_attrs
            study.add_trial(create_trial(value=value, params=stale.params, distributions=known, user_attrs=attrs))
    if sweep.method == "grid":
        tried = [trial.params or trial.system_attrs.get("fixed_params") for trial in study.trials]
        for point in points:
            if point not in tried:
                study.enqueue_trial(point)
    while len({_name(t) for t in study.trials if t.state.is_finished()}) < total:
        trial = study.ask()
        trial.set_user_attr("run", f"{trial.number:03d}")
        value = _run(sweep, _chosen(sweep, trial), arguments, folder / f"{trial.number:03d}", console)
        study.tell(trial, value, state=None if value is not None else TrialState.FAIL)
    _report(sweep, study, folder, console)


def _name(trial: FrozenTrial) -> str:
    """Folder of a trial's run."""
    return str(trial.user_attrs["run"])


def _study(sweep: Sweep, folder: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers: dict[str, BaseSampler] = {
        "grid": RandomSampler(seed=0),  # never asked: every point is put into its queue
        "random": RandomSampler(seed=0),
        "bayes": TPESampler(seed=0),
    }
    storage = JournalStorage(JournalFileBackend(str(folder / "study.log")))
    direction = StudyDirection.MAXIMIZE if sweep.maximize else StudyDirection.MINIMIZE
    name = f"{sweep.metric}, {sweep.method}"
    known = optuna.get_all_study_names(storage)
    if known and name not in known:
        raise ConfigError(f"{folder} holds another search ({known[0]}).", "give another folder=")
    return optuna.create_study(
        storage=storage, sampler=samplers[sweep.method], study_name=name, direction=direction, load_if_exists=True
    )


def _grid(sweep: Sweep) -> list[dict[str, str]]:
    """Every combination of the choices."""
    return [dict(zip(sweep.choices, values, strict=True)) for values in product(*sweep.choices.values())]


def _chosen(sweep: Sweep, trial: Trial | FrozenTrial) -> dict[str, str]:
    """What a run is to try, as the command line takes it."""
    chosen = {key: str(trial.suggest_categorical(key, values)) for key, values in sweep.choices.items()}
    for key, rule in sweep.ranges.items():
        low, high, log = rule["min"], rule["max"], "log" in str(rule.get("distribution", ""))
        if isinstance(low, int) and isinstance(high, int):
            chosen[key] = str(trial.suggest_int(key, low, high, log=log))
        else:
            chosen[key] = f"{trial.suggest_float(key, float(low), float(high), log=log):.6g}"
    return chosen


def _run(
    sweep: Sweep, chosen: Mapping[str, str], arguments: Mapping[str, str], folder: Path, console: Console
) -> float | None:
    """Make one run; its figure, or None if it failed."""
    values = {**sweep.fixed, "logger": "none", **chosen, **arguments, "run.dir": str(folder)}
    told = [f"{key}={value}" for key, value in values.items()]
    console.print(f"{folder.name}: {' '.join(f'{k}={v}' for k, v in chosen.items())}", highlight=False)
    done = subprocess.run(
        [sys.executable, str(ROOT / sweep.program), *told], capture_output=True, text=True, check=False
    )
    if done.returncode:
        console.print(f"  failed:\n{(done.stderr or done.stdout)[-2000:]}", style="red", markup=False, highlight=False)
        return None
    found = _figures(folder)
    if sweep.metric not in found:
        some = ", ".join(list(found)[:8])
        raise ConfigError(f"A run has no figure {sweep.metric!r}.", f"name one of its figures, such as {some}")
    console.print(f"  {sweep.metric} {found[sweep.metric]:.4f}", highlight=False)
    return found[sweep.metric]


def _figures(folder: Path) -> dict[str, float]:
    """All figures of a finished run."""
    return flat_figures(json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["methods"])


def _report(sweep: Sweep, study: optuna.Study, folder: Path, console: Console) -> None:
    finished = study.get_trials(states=(TrialState.COMPLETE,))
    if not finished:
        raise ConfigError("No run of the sweep was finished.", "mend what the runs complained of, and start it again")
    keys = [*sweep.choices, *sweep.ranges]
    with (folder / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["run", *keys, sweep.metric])
        for trial in finished:
            writer.writerow([_name(trial), *(trial.params[k] for k in keys), f"{trial.value:.6f}"])
    tried = [({k: str(t.params[k]) for k in keys}, _figures(folder / _name(t))) for t in finished]
    plot_sweep(folder / "sweep.png", tried, keys, sweep.metric)
    best = study.best_trial
    shutil.copy(folder / _name(best) / "config.yaml", folder / "best.yaml")
    told = " ".join(f"{k}={v}" for k, v in best.params.items())
    console.print(f"best of {len(finished)}: {told}, {sweep.metric} {best.value:.4f}; see {folder / 'sweep.csv'}")


def _text(value: object) -> str:
    """A value as ``key=value`` takes it."""
    return value if isinstance(value, str) else json.dumps(value)
